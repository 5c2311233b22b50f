"""One arm of the benchmark in a process of its own: builds the model and measures what it is asked to."""

import contextlib
import ctypes
import gc
import logging
import os
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_config import REMOVED, Arm, BenchmarkConfig
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.experiments.costs import SavedBytes, find_cpu_name, saved_size
from espnet_wsm.frames import SAMPLE_RATE, count_encoder_frames
from espnet_wsm.upstream.families.contract import FamilyContract

WARM_UP_SECONDS = 1.0
LEARNING_RATE = 1e-5
USABLE = 0.9  # of the memory that is free: the rest is for what the estimate does not know of

# Modules that every worker needs and that take seconds to import: a fork server imports them once. All are
# installed ones: the server of Python 3.12 does not look beside the script.
PRELOAD = [
    "torch",
    "transformers.models.wav2vec2.modeling_wav2vec2",
    "s3prl.hub",
    "s3prl.nn",
    "espnet2.asr.ctc",
    "espnet2.asr.frontend.s3prl",
    "espnet_wsm.plugin.encoder",
]

# Arguments of transformers' Wav2Vec2Config beside its defaults, which are those of wav2vec2-base. LayerDrop
# is off: with it S3PRL gets fewer hidden states than layers and stops.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "wav2vec2_base": {"layerdrop": 0.0},
    "xls_r_300m": {
        "layerdrop": 0.0,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    },
    "tiny": {
        "layerdrop": 0.0,
        "hidden_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "conv_dim": (32,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    },
}


@dataclass(frozen=True)
class UpstreamPaths:
    """The same architecture twice on disk: for ``hf_wav2vec2_custom`` and for ``wav2vec2_local``."""

    hf: Path
    native: Path


def write_upstreams(folder: Path, architecture: str, seed: int, with_native: bool) -> UpstreamPaths:
    """Write an upstream with random weights as transformers and as S3PRL's converter do.

    Args:
        folder: is made; what is there already is kept and used again.
        architecture: a key of :data:`ARCHITECTURES`.
        seed: of the weights.
        with_native: whether S3PRL's own form is needed too.
    """
    paths = UpstreamPaths(folder / f"{architecture}_{seed}", folder / f"{architecture}_{seed}.pt")
    torch.manual_seed(seed)
    if not (paths.hf / "preprocessor_config.json").exists():
        _write_hf(paths.hf, architecture)
    if with_native and not paths.native.exists():
        _write_native(paths.native, architecture)
    return paths


def _write_hf(folder: Path, architecture: str) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    config = Wav2Vec2Config(**ARCHITECTURES[architecture])
    Wav2Vec2Model(config).save_pretrained(folder)
    # Last, as the sign that the folder is whole.
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)


def _write_native(file: Path, architecture: str) -> None:
    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig, Wav2Vec2Config, Wav2Vec2Model
    from transformers import Wav2Vec2Config as HfConfig

    hf = HfConfig(**ARCHITECTURES[architecture])
    convolutions = list(zip(hf.conv_dim, hf.conv_kernel, hf.conv_stride, strict=True))
    model_cfg = Wav2Vec2Config(
        encoder_layers=hf.num_hidden_layers,
        encoder_embed_dim=hf.hidden_size,
        encoder_ffn_embed_dim=hf.intermediate_size,
        encoder_attention_heads=hf.num_attention_heads,
        dropout=hf.hidden_dropout,
        attention_dropout=hf.attention_dropout,
        activation_dropout=hf.activation_dropout,
        conv_feature_layers=str(convolutions),
        conv_bias=hf.conv_bias,
        conv_pos=hf.num_conv_pos_embeddings,
        conv_pos_groups=hf.num_conv_pos_embedding_groups,
        extractor_mode="layer_norm" if hf.feat_extract_norm == "layer" else "default",
        layer_norm_first=hf.do_stable_layer_norm,
        final_dim=hf.codevector_dim,
        quantize_targets=True,
    )
    task_cfg = AudioPretrainingConfig()
    task_cfg.normalize = True
    state = {
        "task_cfg": asdict(task_cfg),
        "model_cfg": asdict(model_cfg),
        "model_weight": Wav2Vec2Model(model_cfg).state_dict(),
    }
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, file)


class AsrModel(nn.Module):
    """What encodes, and ESPnet's CTC head on it.

    Args:
        body: ``(input, lengths) -> (encoded (B, T, D), lengths, ...)``: S3prlFrontend or WsmS3prlEncoder.
        dim: D.
        vocab_size: outputs of the head.
    """

    def __init__(self, body: nn.Module, dim: int, vocab_size: int):
        super().__init__()
        from espnet2.asr.ctc import CTC

        self.body = body
        self.ctc = CTC(vocab_size, dim)

    def encode(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) waveforms or (B, T, D) features with their lengths to (B, T, D) and lengths."""
        encoded, encoded_lengths = self.body(x, lengths)[:2]
        return encoded, encoded_lengths


def freeze_as_espnet(model: nn.Module, freeze_param: list[str]) -> None:
    """ESPnet's rule for ``freeze_param``: exact names or dotted prefixes."""
    for pattern in freeze_param:
        for name, parameter in model.named_parameters():
            if name == pattern or name.startswith(pattern + "."):
                parameter.requires_grad = False


def list_freeze_params(model: nn.Module, trained: list[nn.Module]) -> list[str]:
    """The fewest dotted prefixes that freeze all of ``model`` but the modules ``trained``."""
    kept = {id(p) for module in trained for p in module.parameters()}

    def visit(module: nn.Module, prefix: str) -> Iterator[str]:
        own = list(module.parameters())
        if own and not any(id(p) in kept for p in own):
            yield prefix
            return
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in kept:
                yield f"{prefix}.{name}"
        for name, child in module.named_children():
            if id(child) not in whole:
                yield from visit(child, f"{prefix}.{name}")

    whole = {id(module) for module in trained}
    return [pattern for name, child in model.named_children() for pattern in visit(child, name)]


def build_model(arm: Arm, config: BenchmarkConfig, paths: UpstreamPaths) -> AsrModel:
    """The arm's model, with what does not train frozen in its way.

    Raises:
        UserError: from the upstream, the surgery or the encoder.
    """
    torch.manual_seed(config.seed)
    return {
        "today": _build_today,
        "today_native": _build_today,
        "cut": _build_ours,
        "cached": _build_ours,
    }[arm.way](arm, config, paths)


def _wsm_conf(arm: Arm, config: BenchmarkConfig, paths: UpstreamPaths) -> dict[str, Any]:
    native = arm.way == "today_native"
    return {
        "upstream": str(paths.native if native else paths.hf),
        "num_replaced": config.num_replaced,
        "mixer": arm.mixer,
        "trainable": arm.trainable,
        **config.mixer_conf,
    }


def _build_today(arm: Arm, config: BenchmarkConfig, paths: UpstreamPaths) -> AsrModel:
    from espnet2.asr.frontend.s3prl import S3prlFrontend

    from espnet_wsm.upstream import WsmConfig, find_checkpoint, replace_attention

    conf = _wsm_conf(arm, config, paths)
    checkpoint = find_checkpoint(conf["upstream"])
    frontend = S3prlFrontend(16000, {"upstream": checkpoint.name, "path_or_url": conf["upstream"]})
    frontend.pretrained_params = None  # a second copy of all weights, held for ESPnet's `init:` alone
    expert, family = frontend.upstream.upstream, checkpoint.family
    _set_attention(expert, family, arm)
    layers = family.encoder(expert).layers[-config.num_replaced :]
    model = AsrModel(frontend, family.dim(expert), config.vocab_size)
    trained: list[nn.Module] = [model.ctc]
    if arm.trainable in ("layer", "mixer"):
        replace_attention(layers, family, family.dim(expert), WsmConfig.from_dict(conf))
        blocks = [getattr(layer, family.attention) for layer in layers]
        trained += list(layers) if arm.trainable == "layer" else blocks
        if arm.trainable == "layer" and family.has_final_norm(expert):
            trained.append(family.encoder(expert).layer_norm)
    model.requires_grad_(True)  # what ESPnet starts from
    if arm.trainable != "all":
        freeze_as_espnet(model, list_freeze_params(model, trained))
    return model


def _build_ours(arm: Arm, config: BenchmarkConfig, paths: UpstreamPaths) -> AsrModel:
    from espnet_wsm.plugin.encoder import WsmS3prlEncoder

    conf = _wsm_conf(arm, config, paths)
    if arm.trainable == "head":
        removed = {"mixer": "drop", "num_replaced": config.num_replaced}
        conf |= {"trainable": "mixer"} | (removed if arm.mixer == REMOVED else {"num_replaced": 0})
    encoder = WsmS3prlEncoder(1, **conf)
    _set_attention(encoder.prefix.expert, encoder.prefix.family, arm, encoder.suffix.layers)
    if arm.way == "cached":
        encoder.prefix = None
    return AsrModel(encoder, encoder.output_size(), config.vocab_size)


def _set_attention(
    expert: nn.Module, family: FamilyContract, arm: Arm, more_layers: nn.ModuleList | None = None
) -> None:
    """Implementation and dropout of the attention of all layers, also of those that were cut off."""
    if arm.attention != "sdpa":
        expert.model.set_attn_implementation(arm.attention)
    for layer in [*family.encoder(expert).layers, *(more_layers or ())]:
        attention = getattr(layer, family.attention)
        if hasattr(attention, "config"):  # transformers' own: blocks of this project have none
            assert attention.config._attn_implementation == arm.attention
            if arm.attention_dropout is not None:
                attention.dropout = arm.attention_dropout


class CpuMemory:
    """Resident memory of this process; its peak can be reset on Linux."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self.resets = True

    def reset(self) -> int:
        """Give back what is free, forget the peak; returns the bytes resident now."""
        gc.collect()
        if self._trim is not None:
            self._trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self.resets = False
        return self._status("VmRSS")

    def peak(self) -> int:
        """Bytes; since the last reset where the system can do that, otherwise since the process began."""
        if self.resets:
            return self._status("VmHWM")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def available(self) -> int:
        """Bytes that this machine can still give."""
        return _read_kib(Path("/proc/meminfo"), "MemAvailable")

    @staticmethod
    def _status(field: str) -> int:
        return _read_kib(Path("/proc/self/status"), field)


class CudaMemory:
    """Memory of the GPU that torch has given to tensors of this process."""

    resets = True

    def reset(self) -> int:
        """Give back what is free, forget the peak; returns the bytes in use now."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def peak(self) -> int:
        """Bytes since the last reset."""
        return torch.cuda.max_memory_allocated()

    def available(self) -> int:
        """Bytes that the GPU can still give."""
        return torch.cuda.mem_get_info()[0]


class OtherCpu:
    """How many cores processes other than this one have used since the object was made."""

    def __init__(self) -> None:
        self._start = self._read()

    def read(self) -> float | None:
        """Cores, 0 or more; None where the system does not tell."""
        now = self._read()
        if now is None or self._start is None:
            return None
        elapsed, everything, own = (b - a for a, b in zip(self._start, now, strict=True))
        return round(max(0.0, (everything - own) / elapsed), 2) if elapsed > 0 else None

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Seconds: the clock, processor time of all processes, of this one."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:
            return None
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
        ticks = user + nice + system + irq + softirq + steal
        return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()


def _read_kib(file: Path, field: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{file} has no {field}")


@dataclass(frozen=True)
class Batch:
    """Utterances of equal length, their transcripts, and the lengths of both."""

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor


def num_frames(seconds: float) -> int:
    """Frames of 20 ms that the convolutions make of ``seconds`` of 16 kHz audio."""
    return count_encoder_frames(round(seconds * SAMPLE_RATE))


class ArmBench:
    """Measures one arm.

    Args:
        arm: what to build.
        config: sizes and seed.
        paths: the upstream on disk.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, arm: Arm, config: BenchmarkConfig, paths: UpstreamPaths, device: str):
        self.arm, self.config = arm, config
        self.device = torch.device(device)
        self.memory = CudaMemory() if device == "cuda" else CpuMemory()
        self.model = build_model(arm, config, paths).to(self.device)
        self.dim = self.model.ctc.ctc_lo.in_features
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=LEARNING_RATE)
        self._marks: dict[str, float] = {}
        self._mark_prefix()
        self._step(self._make_batch(WARM_UP_SECONDS, 1), "float32", None)
        gc.collect()
        gc.freeze()  # the collections between measurements would look through all imported modules each time

    def describe(self) -> dict[str, Any]:
        """Sizes of the arm: parameters, bytes of its checkpoints, bytes resident."""
        state = self.model.state_dict()  # what ESPnet writes into Nepoch.pth
        seconds = self.config.reference.seconds
        features = num_frames(seconds) * self.dim * torch.float16.itemsize * 3600 / seconds
        return {
            "trained_parameters": sum(p.numel() for p in self.trained),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "checkpoint_bytes": saved_size(state),
            "training_checkpoint_bytes": saved_size(
                {"model": state, "optimizers": [self.optimizer.state_dict()]}
            ),
            "cache_bytes_per_hour": round(features) if self.arm.way == "cached" else None,
            "resident_bytes": self.memory.reset(),
            "peak_resets": self.memory.resets,
        }

    def measure(
        self, kind: str, seconds: float, batch: int, dtype: str, count_saved: bool, need: float
    ) -> dict[str, Any]:
        """Measure one step or one decoding.

        Args:
            kind: ``step`` or ``decode``.
            seconds: of each utterance.
            batch: utterances.
            dtype: ``float32`` or ``bfloat16``.
            count_saved: whether autograd's bytes are counted in this step.
            need: estimated peak above the resident bytes; 0 = unknown.

        Returns:
            the measured values, or ``{"skipped": reason}``.
        """
        self._set_dtype(dtype)
        data = self._make_batch(seconds, batch)
        baseline = self.memory.reset()
        available = self.memory.available()
        if need > USABLE * available:
            return {
                "skipped": f"would not fit: about {need / 2**30:.1f} GiB needed, "
                f"{available / 2**30:.1f} GiB free"
            }
        busy = OtherCpu()
        try:
            if kind == "step":
                values = self._step(data, dtype, SavedBytes(self.model) if count_saved else None)
            else:
                values = self._decode(data, dtype)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "memory" not in str(error):
                raise
            self.optimizer.zero_grad(set_to_none=True)
            return {"skipped": f"did not fit: {str(error).splitlines()[0]}"}
        peak = self.memory.peak()
        values |= {"peak_bytes": peak, "baseline_bytes": baseline, "above_baseline_bytes": peak - baseline}
        values["other_cpu"] = busy.read()
        del data
        self.memory.reset()
        return values

    def _set_dtype(self, dtype: str) -> None:
        """Under autocast a user gives the prefix the same precision: ``prefix_dtype`` of encoder_conf."""
        prefix = getattr(self.model.body, "prefix", None)
        if prefix is None:
            return
        wanted = None if dtype == "float32" else torch.bfloat16
        if prefix.dtype != wanted:
            prefix.dtype = wanted
            prefix.expert.to(wanted or torch.float32)

    def _make_batch(self, seconds: float, batch: int) -> Batch:
        generator = torch.Generator().manual_seed(self.config.seed)
        if self.arm.way == "cached":
            frames = num_frames(seconds)
            inputs = torch.randn(batch, frames, self.dim, generator=generator).half().float()
        else:
            inputs = 0.1 * torch.randn(batch, round(seconds * SAMPLE_RATE), generator=generator)
        tokens = max(1, round(seconds * self.config.tokens_per_second))
        targets = torch.randint(1, self.config.vocab_size, (batch, tokens), generator=generator)
        return Batch(
            inputs.to(self.device),
            torch.full((batch,), inputs.size(1), device=self.device),
            targets.to(self.device),
            torch.full((batch,), tokens, device=self.device),
        )

    def _step(self, data: Batch, dtype: str, saved: SavedBytes | None) -> dict[str, Any]:
        """Forward, loss, backward, AdamW."""
        self.model.train()  # as ESPnet's trainer does each epoch
        self._seed()
        self._marks = {}
        self._mark("start")
        with saved.hooks() if saved else contextlib.nullcontext():
            with self._autocast(dtype):
                encoded, lengths = self.model.encode(data.inputs, data.lengths)
                self._mark("encoded")
                if encoded.requires_grad:
                    # Called when the head's backward is done and the encoder's begins.
                    encoded.register_hook(lambda _grad: self._mark("head_done"))
                loss = self.model.ctc(encoded, lengths, data.targets, data.target_lengths)
        self._mark("loss")
        values = {} if saved is None else saved.count()
        loss.backward()
        self._mark("backward")
        self.optimizer.step()
        self._mark("updated")
        self.optimizer.zero_grad(set_to_none=True)
        return values | self._read_marks()

    def _read_marks(self) -> dict[str, float | None]:
        """Seconds of a step and of its parts."""
        marks = self._marks
        below = marks.get("prefix_done", marks["start"])
        suffix = None
        if self.arm.is_ours and "head_done" in marks:
            suffix = marks["encoded"] - below + marks["backward"] - marks["head_done"]
        return {
            "step_s": round(marks["updated"] - marks["start"], 6),
            "forward_s": round(marks["loss"] - marks["start"], 6),
            "suffix_s": None if suffix is None else round(suffix, 6),
            "update_s": round(marks["updated"] - marks["backward"], 6),
        }

    def _decode(self, data: Batch, dtype: str) -> dict[str, float]:
        """Forward in eval mode and the best path of CTC, duplicates and blanks still in it."""
        self.model.eval()
        self._marks = {}
        self._mark("start")
        with torch.inference_mode(), self._autocast(dtype):
            encoded, _ = self.model.encode(data.inputs, data.lengths)
            self.model.ctc.argmax(encoded).cpu()
        self._mark("decoded")
        seconds = self._marks["decoded"] - self._marks["start"]
        audio = data.inputs.size(0) * data.inputs.size(1) / SAMPLE_RATE
        return {"decode_s": round(seconds, 6), "real_time_factor": round(seconds / audio, 6)}

    def _autocast(self, dtype: str) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")

    def _mark(self, name: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self._marks[name] = time.perf_counter()

    def _mark_prefix(self) -> None:
        prefix = getattr(self.model.body, "prefix", None)
        if prefix is not None:
            prefix.register_forward_hook(lambda *_: self._mark("prefix_done"))

    def _seed(self) -> None:
        """The same dropout and the same SpecAugment of transformers (numpy) in every step."""
        torch.manual_seed(self.config.seed)
        np.random.seed(self.config.seed)
        random.seed(self.config.seed)


def _enter(log: Path, threads: int | None) -> None:
    """Settle into the process: output to a file, Ctrl-C left to the parent, first to go when memory ends."""
    gc.freeze()  # a collection would write to, and so copy, every page that is shared with the fork server
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    logging.basicConfig(level=logging.WARNING)
    if threads is not None:
        torch.set_num_threads(threads)


def serve_arm(
    connection: Connection, arm: Arm, config: BenchmarkConfig, paths: UpstreamPaths, device: str, log: Path
) -> None:
    """Body of a worker: build, describe, then answer requests (keyword arguments of ``measure``) until None.

    Every answer is a mapping; ``{"failed": reason}`` when something went wrong that is no lack of memory.
    """
    _enter(log, config.threads)
    bench = None

    def answer(work: Callable[[], dict[str, Any]]) -> None:
        try:
            connection.send(work())
        except Exception as error:
            traceback.print_exc()
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            connection.send({"failed": reason})

    def build() -> dict[str, Any]:
        nonlocal bench
        bench = ArmBench(arm, config, paths, device)
        return bench.describe()

    answer(build)
    with contextlib.suppress(EOFError):  # the parent is gone
        while (request := connection.recv()) is not None:
            answer(lambda request=request: bench.measure(**request))


def serve_preparation(
    connection: Connection, config: BenchmarkConfig, folder: Path, device: str, log: Path
) -> None:
    """Body of the first process: write the upstreams and describe the machine; one answer, then the end."""
    _enter(log, config.threads)
    try:
        with_native = any(arm.way == "today_native" for arm in config.arms.values())
        paths = write_upstreams(folder, config.architecture, config.seed, with_native)
        connection.send({"paths": paths, "machine": describe_machine(device)})
    except Exception as error:
        traceback.print_exc()
        connection.send({"failed": f"{type(error).__name__}: {error}"})


def describe_machine(device: str) -> dict[str, Any]:
    """Processor, memory, threads and GPU."""
    return {
        "device": device,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "cpu": find_cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": _read_kib(Path("/proc/meminfo"), "MemTotal"),
    }
