"""Read the encoder of a Whisper model, in whichever form it is there, under the names of transformers."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from espnet_wsm.errors import UserError
from espnet_wsm.rules import is_number, is_whole
from espnet_wsm.upstream.weights.ctranslate2 import describe_whisper, map_whisper_encoder, read_ctranslate2
from espnet_wsm.upstream.weights.pickles import open_pickle

# How CTranslate2 calls a model's weights; its config.json beside them is about decoding.
CTRANSLATE2_FILE = "model.bin"
# What stands before the encoder's weights: of WhisperModel, of models with a head, of the encoder alone.
PREFIXES = ("encoder.", "model.encoder.", "")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}
# OpenAI's sizes in ``dims``, and their names in transformers.
OPENAI_DIMS = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
}
OPENAI_KEYS = {"dims", "model_state_dict"}
# OpenAI's names of modules and weights; those that are not here are the same in both.
OPENAI_NAMES = {
    "positional_embedding": "embed_positions.weight",
    "ln_post": "layer_norm",
    "blocks": "layers",
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "attn_ln": "self_attn_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "mlp_ln": "final_layer_norm",
}


@dataclass(frozen=True)
class WhisperSizes:
    """What an encoder is built from: the keys and defaults of transformers' ``WhisperConfig``.

    Raises:
        ValueError: a value is none; names the field.
    """

    num_mel_bins: int = 80
    max_source_positions: int = 1500
    d_model: int = 384
    encoder_attention_heads: int = 6
    encoder_layers: int = 4
    encoder_ffn_dim: int = 1536
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    activation_function: str = "gelu"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and not is_whole(value, 1):
                raise ValueError(f"{field.name} is {value!r}, and has to be a number of 1 or more")
            if field.type is float and not (is_number(value) and 0 <= value < 1):
                raise ValueError(f"{field.name} is {value!r}, and has to be a number from 0 to below 1")
        if self.activation_function not in ACTIVATIONS:
            known = " or ".join(ACTIVATIONS)
            raise ValueError(f"activation_function is {self.activation_function!r}, and has to be {known}")
        heads = self.encoder_attention_heads
        if self.d_model % heads:
            raise ValueError(f"d_model is {self.d_model}, and has to be a multiple of the {heads} heads")


SIZES = tuple(field.name for field in fields(WhisperSizes) if field.type is int)


def read_config(files: tuple[Path, ...], trust: bool) -> WhisperSizes:
    """The sizes of a model, without its weights.

    Args:
        files: those of a directory of transformers, OpenAI's file, or that of CTranslate2.
        trust: whether a pickle may run code.

    Raises:
        UserError: the file is damaged, or describes no Whisper model.
    """
    if len(files) > 1:
        return _read_json(files)
    if files[0].name == CTRANSLATE2_FILE:
        return _describe_ctranslate2(files[0], read_ctranslate2(files[0]))
    return _read_dims(files[0], open_pickle(files[0], trust))


def read_encoder(files: tuple[Path, ...]) -> tuple[WhisperSizes, dict[str, Tensor]]:
    """The sizes of a model, and the weights of its encoder by their names in ``WhisperEncoder``.

    Pickles are loaded as ``torch.load`` does by default, so that the caller decides what may run.

    Args:
        files: as in :func:`read_config`.

    Raises:
        UserError: there is no encoder, or its weights are integers.
    """
    if len(files) > 1:
        config, weights = _read_json(files), _read_directory(files)
    elif files[0].name == CTRANSLATE2_FILE:
        variables = read_ctranslate2(files[0])
        arrays = map_whisper_encoder(variables, files[0])
        config = _describe_ctranslate2(files[0], variables)
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
    else:
        content = torch.load(files[0], map_location="cpu")
        config, weights = _read_dims(files[0], content), _rename_openai(files[0], content)
    for name, weight in weights.items():
        if not weight.is_floating_point():
            raise UserError(
                f"{name_place(files)} is quantised: {name} holds {str(weight.dtype).removeprefix('torch.')}; "
                "take the model in float16 or float32"
            )
    return config, weights


def name_place(files: tuple[Path, ...]) -> Path:
    """The file, or the directory of several, for messages."""
    return files[0] if len(files) == 1 else files[0].parent


def _read_json(files: tuple[Path, ...]) -> WhisperSizes:
    path = files[0].parent / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(WhisperSizes)}
        return WhisperSizes(**{name: value for name, value in content.items() if name in known})
    except (ValueError, AttributeError) as error:  # AttributeError: JSON, but no mapping
        reason = " ".join(str(error).split())
        raise UserError(f"{path} does not describe a Whisper model: {reason}") from error


def _read_directory(files: tuple[Path, ...]) -> dict[str, Tensor]:
    """Weights of a directory; those of a decoder are not read from safetensors."""
    _refuse_missing_shards(files)
    safe = [file for file in files if file.suffix == ".safetensors"]
    # As transformers chooses: one file before shards, safetensors before pickles.
    whole = [file for file in safe if file.name == "model.safetensors"]
    with ExitStack() as stack:
        getters = {}
        for file in whole or safe or [file for file in files if file.suffix == ".bin"]:
            if file.suffix == ".safetensors":
                try:
                    opened = stack.enter_context(safe_open(file, framework="pt"))
                except SafetensorError as error:
                    raise UserError(f"{file} is damaged ({error}): get the model again") from error
                getters |= {name: partial(opened.get_tensor, name) for name in opened.keys()}
            else:
                content = torch.load(file, map_location="cpu")
                getters |= {name: partial(content.get, name) for name in content}
        for prefix in PREFIXES:
            if f"{prefix}conv1.weight" in getters:
                return {
                    name.removeprefix(prefix): get()
                    for name, get in getters.items()
                    if name.startswith(prefix)
                }
    raise UserError(
        f"{name_place(files)} holds no Whisper encoder: of its {len(getters)} weights none is "
        "encoder.conv1.weight"
    )


def _refuse_missing_shards(files: tuple[Path, ...]) -> None:
    names = {file.name for file in files}
    for index in (file for file in files if file.name.endswith(".index.json")):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{index} is damaged ({error}): get the model again") from error
        if missing := shards - names:
            raise UserError(f"{index} names {min(missing)}, which is not beside it: get the model again")


def _describe_ctranslate2(file: Path, variables: dict[str, np.ndarray]) -> WhisperSizes:
    sizes = describe_whisper(variables, file)
    return WhisperSizes(**{name: sizes[name] for name in SIZES})


def _read_dims(file: Path, content: Mapping[str, Any]) -> WhisperSizes:
    dims = content["dims"]
    wrong = [name for name in OPENAI_DIMS if not (isinstance(dims, Mapping) and is_whole(dims.get(name), 1))]
    if wrong:
        raise UserError(f"{file} does not describe a Whisper model: its dims have no size {', '.join(wrong)}")
    sizes = {name: dims[openai] for openai, name in OPENAI_DIMS.items()}
    return WhisperSizes(**sizes, encoder_ffn_dim=4 * sizes["d_model"])


def _rename_openai(file: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """OpenAI's weights of the encoder under transformers' names."""
    weights, state = {}, content["model_state_dict"]
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in state.items()
    ):
        raise UserError(
            f"{file} holds no Whisper encoder: its model_state_dict does not hold tensors by name"
        )
    for name, weight in state.items():
        if not name.startswith("encoder."):
            continue
        name = f".{name.removeprefix('encoder.')}."
        for openai, ours in OPENAI_NAMES.items():
            name = name.replace(f".{openai}.", f".{ours}.")
        weights[name.strip(".")] = weight
    if not weights:
        raise UserError(f"{file} holds no Whisper encoder: none of its weights begins with encoder.")
    return weights
