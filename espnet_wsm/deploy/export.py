"""Write a trained model as ONNX, and compare what a runtime makes of it with PyTorch."""

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor
from torch.export import Dim

from espnet_wsm.data.kaldi.lists import replace_directory
from espnet_wsm.deploy.card import describe, find_licence
from espnet_wsm.deploy.graph import NEVER, OneRecording, ignores_level
from espnet_wsm.deploy.names import CARD, INT8, MODEL, PLAIN, SHERPA, TARGETS, TOKENS
from espnet_wsm.deploy.tokens import find_silent, format_tokens, rename_tokens
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file, write_text
from espnet_wsm.frames import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from espnet_wsm.plugin.acoustic_model import AcousticModel
from espnet_wsm.recognition.trained_model import load_decoder

OPSET = 18  # the lowest that PyTorch's exporter writes without converting: runtimes of 2023 read it
LIMIT = 2 * 10**9  # bytes of one protobuf message: beyond it, weights go into a file beside the graph
TOLERANCE = 1e-3  # of probabilities, between PyTorch and onnxruntime
SECONDS = (0.5, 3.21, 7.77)  # of the recordings on which they are compared
TRACED_SECONDS = 1.02


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: where.
        difference: the largest of log probabilities between PyTorch and the runtime.
        sizes: bytes of each file, with those of its weights if these are in a file of their own.
        most_seconds: of a recording; None for any.
    """

    folder: Path
    difference: float
    most_seconds: float | None
    sizes: dict[str, int]


def export_onnx(
    model: Path | str,
    out: Path,
    target: str = PLAIN,
    int8: bool = False,
    upstream: Path | str | None = None,
    model_file: Path | str | None = None,
    trust: bool = False,
) -> Exported:
    """Write ``model.onnx``, ``tokens.txt`` and a README to a new folder.

    Prefix, suffix and CTC head are one graph: (1, N) samples at 16 kHz, N from 400 on, to (1, T, V) log
    probabilities. PyTorch's exporter from ``torch.export`` writes it; the older one, from TorchScript,
    fixes the length in attention's masks.

    Args:
        model: experiment folder or archive, as for ``espnet_wsm.load``.
        out: folder to make; it must not be there, or be empty.
        target: one of ``TARGETS``. For sherpa-onnx, tokens that are no text never come out.
        int8: write ``model.int8.onnx`` too, with the weights of matrix products in 8 bits.
        upstream: the upstream's checkpoint, if it is not where training read it.
        model_file: checkpoint (default: the average of the best epochs).
        trust: open an upstream's file even if that runs code from it.

    Raises:
        UserError: the model cannot be exported, or not for this target; the runtime computes something else.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already: name another folder, or remove it")
    decoder = load_decoder(model, upstream, "cpu", model_file, trust)
    acoustic = decoder.model
    _check(acoustic, target)
    tokens, silent = list(acoustic.token_list), ()
    if target == SHERPA:
        silent, tokens = find_silent(tokens), rename_tokens(tokens)
    graph = OneRecording(acoustic, silent)
    checkpoint = acoustic.encoder.checkpoint
    limit = checkpoint.family.limit_frames(graph.encoder.prefix.expert)
    most_seconds = None if limit is None else limit * HOP / SAMPLE_RATE
    difference, sizes = 0.0, {}

    def fill(folder: Path) -> None:
        nonlocal difference
        write_graph(graph, folder / MODEL)
        difference = _compare(graph, folder / MODEL, most_seconds)
        if int8:
            _quantise(folder / MODEL, folder / INT8)
        write_text(folder / TOKENS, format_tokens(tokens))
        if (licence := find_licence(checkpoint)) is not None:
            shutil.copy(licence, folder)
        sizes.update((file.name, file.stat().st_size) for file in sorted(folder.iterdir()))
        digests = {name: digest_file(folder / name) for name in sizes}
        trained = digest_file(decoder.model_file)
        write_text(
            folder / CARD, describe(Path(model).name, checkpoint, trained, target, digests, most_seconds)
        )

    replace_directory(out, fill)
    return Exported(out, difference, most_seconds, sizes)


def _check(model: torch.nn.Module, target: str) -> None:
    """Say what cannot be exported before anything is traced."""
    if target not in TARGETS:
        raise UserError(f"target is {target!r}: give one of {', '.join(TARGETS)}")
    if not isinstance(model, AcousticModel):
        raise UserError("only a model that CTC alone decodes can be exported, with no other ESPnet parts")
    checkpoint, prefix = model.encoder.checkpoint, model.encoder.prefix
    if not checkpoint.family.in_torch:
        raise UserError(
            f"{checkpoint} cannot be exported: what it makes of the waveform in front of its layers is not "
            "computed in PyTorch"
        )
    if target == SHERPA and not ignores_level(checkpoint.family, prefix.expert):
        raise UserError(
            f"{checkpoint} cannot be exported for sherpa-onnx, which brings every recording to zero mean and "
            "unit variance: this upstream was trained without, and hears a difference; use --target plain"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of what does not concern the result, and of its own deprecations."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _make_noise(seconds: float) -> Tensor:
    """(1, N) noise whose loudness changes."""
    samples = int(seconds * SAMPLE_RATE)
    noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    return 0.1 * noise * (0.6 + 0.4 * torch.sin(torch.arange(samples) / 3000))


def write_graph(graph: OneRecording, file: Path) -> None:
    """Trace a model, write it to ``file`` and, above 2 GB, its weights beside it."""
    # A graph that is traced with bounds on the length takes those beyond as well: they only say which
    # questions about the length have one answer.
    length = Dim("samples", min=10 * RECEPTIVE_FIELD, max=30 * SAMPLE_RATE)
    with _quiet():
        program = torch.export.export(
            graph,
            (_make_noise(TRACED_SECONDS),),
            dynamic_shapes=({1: length},),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=["samples"],
            output_names=["log_probs"],
            verify=False,
            verbose=False,
        )
        weights = sum(p.numel() * p.element_size() for p in graph.parameters())
        exported.save(str(file), external_data=weights > LIMIT)
    if weights <= LIMIT:
        _name_axes(file)


def _name_axes(file: Path) -> None:
    """Give the axes names that people read, instead of formulas."""
    model = onnx.load(file)
    for value, name in ((model.graph.input[0], "num_samples"), (model.graph.output[0], "num_frames")):
        value.type.tensor_type.shape.dim[1].dim_param = name
    model.producer_name = "espnet_wsm"
    onnx.save(model, file)


def open_session(file: Path) -> onnxruntime.InferenceSession:
    """A session on the CPU that warns of nothing."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _compare(graph: OneRecording, file: Path, most_seconds: float | None) -> float:
    """The largest difference of log probabilities on noise, between onnxruntime and PyTorch."""
    session, worst = open_session(file), 0.0
    longest = min(most_seconds or 45.0, 45.0)  # longer than what was traced
    for seconds in (RECEPTIVE_FIELD / SAMPLE_RATE, *SECONDS, longest):
        samples = _make_noise(seconds)
        with torch.inference_mode():
            expected = graph(samples).numpy()
        (found,) = session.run(None, {"samples": samples.numpy()})
        if found.shape != expected.shape:
            raise UserError(
                f"onnxruntime makes {found.shape} of {seconds:g} s, PyTorch {expected.shape}: "
                "please report it"
            )
        # Of what is all but impossible, the logarithms may differ more.
        off = float(np.abs(np.exp(found) - np.exp(expected)).max())
        if not off <= TOLERANCE:
            raise UserError(
                f"onnxruntime's probabilities differ from PyTorch's by {off:.1e}: please report it"
            )
        worst = max(worst, float(np.abs(found - expected)[expected > NEVER / 2].max()))
    return worst


def _quantise(file: Path, quantised: Path) -> None:
    with _quiet():
        quantize_dynamic(
            file,
            quantised,
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # 7 bits: sums of products of 8 saturate on x86 processors without VNNI
            use_external_data_format=file.with_name(f"{file.name}.data").exists(),
        )
