"""Write what CTranslate2 writes, for tests: Whisper models as its converter leaves them."""

import struct
from pathlib import Path

import numpy as np
import torch
from transformers import WhisperConfig, WhisperModel

SIZES = {
    "d_model": 16,
    "num_mel_bins": 5,
    "max_source_positions": 30,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 20,
    "vocab_size": 51864,
    "max_target_positions": 7,
}
TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")


def make_whisper() -> WhisperModel:
    """A Whisper of :data:`SIZES` in half precision, all weights random, biases and norms too."""
    torch.manual_seed(0)
    model = WhisperModel(WhisperConfig(**SIZES))
    for parameter in model.parameters():
        parameter.data.normal_()
    return model.half()


def write_string(text: str) -> bytes:
    return struct.pack("<H", len(text.encode()) + 1) + text.encode() + b"\0"


def write_ctranslate2(
    file: Path,
    variables: dict[str, np.ndarray],
    aliases: dict[str, str] | None = None,
    version: int = 6,
    types: dict[str, int] | None = None,
) -> None:
    """A ``model.bin``; ``types`` overrides the number of a variable's type."""
    parts = [struct.pack("<I", version), write_string("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name, value in sorted(variables.items()):
        kind = (types or {}).get(name, TYPES.index(value.dtype.name) if value.dtype.name in TYPES else 0)
        parts += [
            write_string(name),
            struct.pack("<B", value.ndim),
            struct.pack(f"<{value.ndim}I", *value.shape),
            struct.pack("<BI", kind, value.nbytes),
            value.tobytes(),
        ]
    parts.append(struct.pack("<I", len(aliases or {})))
    parts += [write_string(text) for pair in (aliases or {}).items() for text in pair]
    file.write_bytes(b"".join(parts))


def convert_whisper(model: WhisperModel, dtype: str = "float16") -> dict[str, np.ndarray]:
    """What CTranslate2's converter makes of transformers' ``WhisperModel``; of the decoder, its sizes."""
    config = model.config
    state = {name: value.numpy().astype(dtype) for name, value in model.state_dict().items()}
    names = {
        "conv1/weight": "conv1.weight",
        "conv1/bias": "conv1.bias",
        "conv2/weight": "conv2.weight",
        "conv2/bias": "conv2.bias",
        "position_encodings/encodings": "embed_positions.weight",
        "layer_norm/gamma": "layer_norm.weight",
        "layer_norm/beta": "layer_norm.bias",
    }
    variables = {"num_heads": np.array(config.encoder_attention_heads, "int16")}
    for index in range(config.encoder_layers):
        ours, theirs = f"layer_{index}", f"layers.{index}"
        for kind, their_kind in (("weight", "weight"), ("bias", "bias")):
            names |= {
                f"{ours}/self_attention/linear_1/{kind}": f"{theirs}.self_attn.out_proj.{their_kind}",
                f"{ours}/ffn/linear_0/{kind}": f"{theirs}.fc1.{their_kind}",
                f"{ours}/ffn/linear_1/{kind}": f"{theirs}.fc2.{their_kind}",
            }
        for kind, their_kind in (("gamma", "weight"), ("beta", "bias")):
            names |= {
                f"{ours}/self_attention/layer_norm/{kind}": f"{theirs}.self_attn_layer_norm.{their_kind}",
                f"{ours}/ffn/layer_norm/{kind}": f"{theirs}.final_layer_norm.{their_kind}",
            }
        query, key, value = (f"encoder.{theirs}.self_attn.{part}_proj" for part in "qkv")
        zeros = np.zeros(config.d_model, dtype)
        variables[f"{ours}/self_attention/linear_0/weight"] = np.concatenate(
            [state[f"{each}.weight"] for each in (query, key, value)]
        )
        variables[f"{ours}/self_attention/linear_0/bias"] = np.concatenate(
            [state[f"{query}.bias"], zeros, state[f"{value}.bias"]]
        )
    variables |= {name: state[f"encoder.{theirs}"] for name, theirs in names.items()}
    decoder = {
        "decoder/embeddings/weight": state["decoder.embed_tokens.weight"],
        "decoder/position_encodings/encodings": state["decoder.embed_positions.weight"],
        "decoder/num_heads": np.array(config.decoder_attention_heads, "int16"),
    }
    for index in range(config.decoder_layers):
        decoder[f"decoder/layer_{index}/ffn/linear_0/weight"] = state[f"decoder.layers.{index}.fc1.weight"]
    return {f"encoder/{name}": value for name, value in variables.items()} | decoder


def quantise(variables: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """The matrices of the encoder and its convolutions as int8 or int16 with their scales."""
    found = {}
    for name, value in variables.items():
        if not name.startswith("encoder/") or not name.endswith("/weight"):
            found[name] = value
            continue
        value = value.astype("float32")
        if kind == "int8":
            scale = 127 / np.abs(value).max(axis=1, keepdims=True)
        else:
            scale = 2**10 / np.abs(value).max()
        found[name] = np.rint(value * scale).astype(kind)
        found[f"{name}_scale"] = np.asarray(scale.squeeze(1) if scale.ndim else scale, "float32")
    return found
