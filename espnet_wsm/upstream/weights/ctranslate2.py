"""Read CTranslate2's ``model.bin``, and give the Whisper encoder in it the names of transformers."""

import math
import re
import struct
from pathlib import Path

import numpy as np

from espnet_wsm.errors import UserError

BINARY_VERSION = 6
# The type that each number in the file stands for. numpy has no bfloat16: 5 is the upper half of a float32.
TYPES = ("<f4", "<i1", "<i2", "<i4", "<f2", "<u2")
BFLOAT16 = 5
MAX_RANK = 8  # more dimensions than any weight has
HEAD_DIM = 64  # of every Whisper; older files do not say how many heads there are


class _Reader:
    """Takes one thing after the other from a mapped file, and raises UserError at its end."""

    def __init__(self, path: Path):
        self.path = path
        try:
            # Mapped, so that the decoder, the larger half, is never read. Copy on write: arrays can be
            # changed, the file cannot.
            empty = path.stat().st_size == 0
            self.content = np.empty(0, np.uint8) if empty else np.asarray(np.memmap(path, np.uint8, mode="c"))
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
        self.place = 0

    def take(self, size: int) -> np.ndarray:
        """The next ``size`` bytes."""
        end = self.place + size
        if end > len(self.content):
            raise UserError(
                f"{self.path} is cut short or damaged: byte {end} is expected, it has {len(self.content)}; "
                "get it again"
            )
        taken = self.content[self.place : end]
        self.place = end
        return taken

    def number(self, form: str) -> int:
        """The next little-endian number, ``form`` being B, H or I as in :mod:`struct`."""
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")).tobytes())[0]

    def string(self) -> str:
        """The next string; its length counts a NUL at the end."""
        data = self.take(self.number("H")).tobytes()
        try:
            if data[-1:] == b"\0":
                return data[:-1].decode("utf-8")
        except UnicodeDecodeError:
            pass
        raise UserError(f"{self.path} is damaged before byte {self.place}: no name there; get it again")


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """Read the variables of a CTranslate2 model, which is numbers alone: nothing in it can run.

    The arrays are views of the file, possibly not aligned, and read when they are used; but bfloat16 comes
    back as float32. Quantised weights are integers, with a variable of their name and ``_scale`` beside them.

    Args:
        path: a ``model.bin`` of binary version 6.

    Returns:
        The variables and aliases by their names in the file, e.g. ``encoder/conv1/weight``.

    Raises:
        UserError: the file cannot be read, is of another version or none of CTranslate2's, or is cut short.
    """
    path = Path(path)
    reader = _Reader(path)
    version = reader.number("I")
    if version != BINARY_VERSION:
        raise UserError(
            f"{path} begins with {version}, so it is not a CTranslate2 model of binary version "
            f"{BINARY_VERSION}, the one that is read: convert the model again with a current CTranslate2"
        )
    reader.string()  # the kind of model
    reader.number("I")  # its revision: a change of names, which shows where they are looked up
    variables = {}
    for _ in range(reader.number("I")):
        name = reader.string()
        shape = tuple(reader.number("I") for _ in range(reader.number("B")))
        kind, size = reader.number("B"), reader.number("I")
        fits = kind < len(TYPES) and size == math.prod(shape) * np.dtype(TYPES[kind]).itemsize
        if not fits or len(shape) > MAX_RANK:
            raise UserError(
                f"{path} is damaged: {name} has {size} bytes for shape {shape} and type {kind}; get it again"
            )
        value = reader.take(size).view(TYPES[kind]).reshape(shape)
        if kind == BFLOAT16:
            value = (value.astype("<u4") << 16).view("<f4")
        variables[name] = value
    for _ in range(reader.number("I")):
        alias, name = reader.string(), reader.string()
        if name not in variables:
            raise UserError(f"{path} is damaged: {alias} stands for {name}, which it lacks; get it again")
        variables[alias] = variables[name]
    return variables


def describe_whisper(variables: dict[str, np.ndarray], path: Path) -> dict[str, int]:
    """The sizes of a Whisper model under the keys of transformers' ``WhisperConfig``.

    Those of the decoder are there if the file has a decoder.

    Args:
        variables: what :func:`read_ctranslate2` returned.
        path: for messages.

    Raises:
        UserError: the variables hold no Whisper encoder.
    """

    def find_shape(name: str, rank: int) -> tuple[int, ...]:
        value = variables.get(name)
        if value is None or value.ndim != rank:
            raise UserError(f"{path} holds no Whisper encoder: {name} is missing or has another shape")
        return value.shape

    def describe_layers(part: str) -> dict[str, int]:
        heads = int(variables[f"{part}/num_heads"]) if f"{part}/num_heads" in variables else dim // HEAD_DIM
        if heads < 1 or dim % heads:
            raise UserError(f"{path} is damaged: {heads} heads cannot share {dim} channels; get it again")
        layers = {found[1] for name in variables if (found := re.match(rf"{part}/layer_(\d+)/", name))}
        return {
            f"{part}_layers": len(layers),
            f"{part}_attention_heads": heads,
            f"{part}_ffn_dim": find_shape(f"{part}/layer_0/ffn/linear_0/weight", 2)[0],
        }

    dim, mels, _ = find_shape("encoder/conv1/weight", 3)
    positions, _ = find_shape("encoder/position_encodings/encodings", 2)
    sizes = {"d_model": dim, "num_mel_bins": mels, "max_source_positions": positions}
    sizes |= describe_layers("encoder")
    if "decoder/embeddings/weight" in variables:
        vocabulary, _ = find_shape("decoder/embeddings/weight", 2)
        positions, _ = find_shape("decoder/position_encodings/encodings", 2)
        sizes |= {"vocab_size": vocabulary, "max_target_positions": positions}
        sizes |= describe_layers("decoder")
    return sizes


def _dequantise(value: np.ndarray, scale: np.ndarray | None, name: str, path: Path) -> np.ndarray:
    """Integer weights divided by their scale, float32.

    There is one scale for all, or one for each maximum over inputs: for (out, in) or a convolution's
    (out, in, kernel), that is (out,) or (out, kernel).
    """
    if scale is not None and scale.size == 1:
        return value.astype(np.float32) / scale.astype(np.float32).reshape(())
    if scale is not None and scale.shape in (value.shape[:1], value.shape[:1] + value.shape[2:]):
        ones = (1,) * (value.ndim - scale.ndim - 1)
        spread = scale.astype(np.float32).reshape(*scale.shape[:1], 1, *scale.shape[1:], *ones)
        return value.astype(np.float32) / spread
    found = "no scale" if scale is None else f"a scale of another shape, {scale.shape} for {value.shape}"
    raise UserError(
        f"{path}: {name} holds integers and has {found}: convert the model with --quantization float16"
    )


def map_whisper_encoder(variables: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The state of transformers' ``WhisperEncoder`` from the variables of a CTranslate2 model.

    Args:
        variables: what :func:`read_ctranslate2` returned.
        path: for messages.

    Returns:
        Arrays in memory by names such as ``layers.0.self_attn.q_proj.weight``, as precise as in the file, or
        float32 where that has quantised weights.

    Raises:
        UserError: a variable is missing, has another shape, holds integers without a scale that fits, or has
            no place in transformers' encoder.
    """
    sizes = describe_whisper(variables, path)
    dim, inner = sizes["d_model"], sizes["encoder_ffn_dim"]
    used = set()

    def take(name: str, *shape: int) -> np.ndarray:
        name = f"encoder/{name}"
        value = variables.get(name)
        if value is None:
            raise UserError(f"{path} lacks {name} of a Whisper encoder")
        if value.shape != shape:
            raise UserError(f"{path}: {name} has shape {value.shape}, a Whisper encoder of its size {shape}")
        used.update((name, f"{name}_scale"))
        if value.dtype.kind == "i":
            return _dequantise(value, variables.get(f"{name}_scale"), name, path)
        return np.array(value)

    def take_norm(name: str) -> dict[str, np.ndarray]:
        return {"weight": take(f"{name}/gamma", dim), "bias": take(f"{name}/beta", dim)}

    def take_linear(name: str, outputs: int, inputs: int) -> dict[str, np.ndarray]:
        return {"weight": take(f"{name}/weight", outputs, inputs), "bias": take(f"{name}/bias", outputs)}

    modules = {
        name: {"weight": take(f"{name}/weight", dim, inputs, 3), "bias": take(f"{name}/bias", dim)}
        for name, inputs in (("conv1", sizes["num_mel_bins"]), ("conv2", dim))
    }
    positions = take("position_encodings/encodings", sizes["max_source_positions"], dim)
    modules["embed_positions"] = {"weight": positions}
    for index in range(sizes["encoder_layers"]):
        attention, ffn = f"layer_{index}/self_attention", f"layer_{index}/ffn"
        stacked = take_linear(f"{attention}/linear_0", 3 * dim, dim)
        layer = f"layers.{index}"
        for place, name in enumerate(("q_proj", "k_proj", "v_proj")):
            part = slice(place * dim, (place + 1) * dim)
            modules[f"{layer}.self_attn.{name}"] = {key: value[part] for key, value in stacked.items()}
        if modules[f"{layer}.self_attn.k_proj"].pop("bias").any():
            raise UserError(
                f"{path}: the keys of layer {index} have a bias, which transformers' Whisper has not"
            )
        modules |= {
            f"{layer}.self_attn.out_proj": take_linear(f"{attention}/linear_1", dim, dim),
            f"{layer}.self_attn_layer_norm": take_norm(f"{attention}/layer_norm"),
            f"{layer}.fc1": take_linear(f"{ffn}/linear_0", inner, dim),
            f"{layer}.fc2": take_linear(f"{ffn}/linear_1", dim, inner),
            f"{layer}.final_layer_norm": take_norm(f"{ffn}/layer_norm"),
        }
    modules["layer_norm"] = take_norm("layer_norm")
    rest = [name for name in sorted(variables) if name.startswith("encoder/") and name not in used]
    if unknown := [name for name in rest if variables[name].ndim]:  # scalars are settings
        raise UserError(f"{path} is another encoder than transformers' Whisper, which has no {unknown[0]}")
    return {f"{module}.{key}": value for module, values in modules.items() for key, value in values.items()}
