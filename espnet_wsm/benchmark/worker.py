"""One arm of a benchmark in a process of its own: builds the model and measures what it is asked to."""

import contextlib
import gc
import logging
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet_wsm.benchmark.config import Arm, BenchmarkConfig
from espnet_wsm.benchmark.memory import MEMORY_INFO, CpuMemory, CudaMemory, OtherCpu, read_bytes
from espnet_wsm.benchmark.models import build_model, find_block, write_upstream
from espnet_wsm.benchmark.running_sums import compare_windowed_means
from espnet_wsm.benchmark.team import send_output
from espnet_wsm.errors import UserError
from espnet_wsm.frames import SAMPLE_RATE, count_encoder_frames
from espnet_wsm.meters import SavedBytes, draw_texts, find_cpu_name, saved_size, take_step

WARM_UP_SECONDS = 1.0
LEARNING_RATE = 1e-5
USABLE = 0.9  # of the memory that is free: the rest is for what the estimate does not know of

Answer = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Utterances of equal length, and their transcripts, each with lengths."""

    inputs: Tensor
    lengths: Tensor
    texts: tuple[Tensor, Tensor]


class ArmBench:
    """Measures one arm.

    Args:
        arm: what to build.
        config: sizes and seed.
        upstream: as :func:`write_upstream` returns it.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, arm: Arm, config: BenchmarkConfig, upstream: Path, device: str):
        self.arm, self.config = arm, config
        self.device = torch.device(device)
        self.memory = CudaMemory() if device == "cuda" else CpuMemory()
        self.model = build_model(arm, config, upstream).to(self.device)
        self.prefix = getattr(self.model.body, "prefix", None)
        self.block = find_block(arm, self.model)
        self.dim = self.model.ctc.ctc_lo.in_features
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=LEARNING_RATE, fused=self.device.type == "cpu" or None
        )
        self._marks: dict[str, float] = {}
        if self.prefix is not None:
            self.prefix.register_forward_hook(lambda *_: self._mark("prefix_done"))
        self._step(self._make_batch(WARM_UP_SECONDS, 1), "float32", None)
        gc.collect()
        gc.freeze()  # the collections between measurements would look through all imported modules each time

    def describe(self) -> Answer:
        """Sizes of the arm: parameters, bytes of its checkpoints, bytes resident."""
        state = self.model.state_dict()  # what ESPnet writes into Nepoch.pth
        if self.arm.trainable == "lora":  # what PEFT writes
            state = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        seconds = self.config.reference.seconds
        frames = count_encoder_frames(round(seconds * SAMPLE_RATE))
        features = frames * self.dim * torch.float16.itemsize * 3600 / seconds
        checkpoint = {"model": state, "optimizers": [self.optimizer.state_dict()]}
        return {
            "trained_parameters": sum(p.numel() for p in self.trained),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "checkpoint_bytes": saved_size(state),
            "training_checkpoint_bytes": saved_size(checkpoint),
            "cache_bytes_per_hour": round(features) if self.arm.way == "cached" else None,
            "resident_bytes": self.memory.reset(),
            "peak_resets": self.memory.resets,
        }

    def measure(
        self, kind: str, seconds: float, batch: int, dtype: str, count_saved: bool, need: float
    ) -> Answer:
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
        if need > USABLE * (free := self.memory.available()):
            sizes = f"about {need / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free"
            return {"skipped": f"would not fit: {sizes}"}
        busy = OtherCpu()
        try:
            if kind == "step":
                values = self._step(data, dtype, SavedBytes(self.model) if count_saved else None)
                if count_saved and self.block is not None and self._is_reference(seconds, batch):
                    values |= self._count_block(data, dtype)
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
        wanted = None if dtype == "float32" else torch.bfloat16
        if self.prefix is not None and self.prefix.dtype != wanted:
            self.prefix.dtype = wanted
            self.prefix.expert.to(wanted or torch.float32)

    def _make_batch(self, seconds: float, batch: int) -> Batch:
        generator = torch.Generator().manual_seed(self.config.seed)
        samples = round(seconds * SAMPLE_RATE)
        if self.arm.way == "cached":
            frames = count_encoder_frames(samples)
            inputs = torch.randn(batch, frames, self.dim, generator=generator).half().float()
        else:
            inputs = 0.1 * torch.randn(batch, samples, generator=generator)
        num_tokens = max(1, round(seconds * self.config.tokens_per_second))
        texts = draw_texts(generator, batch, num_tokens, self.config.vocab_size)
        lengths = torch.full((batch,), inputs.size(1))
        inputs, lengths, *texts = (tensor.to(self.device) for tensor in (inputs, lengths, *texts))
        return Batch(inputs, lengths, tuple(texts))

    def _step(self, data: Batch, dtype: str, saved: SavedBytes | None) -> Answer:
        """Forward, loss, backward, AdamW; seconds of the step and of its parts."""
        self.model.train()  # as ESPnet's trainer does each epoch
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(self.config.seed)  # the same dropout and SpecAugment of transformers (numpy) in every step
        self._marks = marks = {}
        self._mark("start")
        counted = take_step(
            lambda: self.model.encode(data.inputs, data.lengths),
            self.model.ctc,
            data.texts,
            self.optimizer,
            saved,
            self._autocast(dtype),
            self._mark,
        )
        suffix = None
        if self.arm.is_ours and "head_done" in marks:
            forward = marks["encoded"] - marks.get("prefix_done", marks["start"])
            suffix = round(forward + marks["backward"] - marks["head_done"], 6)
        return counted | {
            "step_s": round(marks["updated"] - marks["start"], 6),
            "forward_s": round(marks["loss"] - marks["start"], 6),
            "suffix_s": suffix,
            "update_s": round(marks["updated"] - marks["backward"], 6),
        }

    def _is_reference(self, seconds: float, batch: int) -> bool:
        return (seconds, batch) == (self.config.reference.seconds, self.config.reference.batch)

    def _count_block(self, data: Batch, dtype: str) -> Answer:
        """What the highest mixing block keeps by itself, in a step of its own."""
        saved, counted = SavedBytes(self.block), {}
        with saved.only(self.block):
            take_step(
                lambda: self.model.encode(data.inputs, data.lengths),
                self.model.ctc,
                data.texts,
                self.optimizer,
                precision=self._autocast(dtype),
                mark=lambda name: counted.update(saved.count() if name == "loss" else {}),
            )
        return {"block_saved_bytes": counted["saved_bytes"]}

    def _decode(self, data: Batch, dtype: str) -> Answer:
        """Forward in eval mode and the best path of CTC, duplicates and blanks still in it."""
        self.model.eval()
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


def _settle(log: Path, threads: int | None) -> None:
    """Settle into the process: output to a file, Ctrl-C left to the parent, first to go when memory ends."""
    gc.freeze()  # a collection would write to, and so copy, every page that is shared with the fork server
    send_output(log)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    logging.basicConfig(level=logging.WARNING)
    if threads is not None:
        torch.set_num_threads(threads)


def serve(
    connection: Connection,
    begin: Callable[[], tuple[Answer, Callable[..., Answer] | None]],
    log: Path,
    threads: int | None,
) -> None:
    """Body of a process: begin, then answer requests until None.

    Every answer is a mapping; ``{"failed": reason}`` when something went wrong that is no lack of memory.

    Args:
        connection: to the parent.
        begin: returns the first answer, and the function whose keyword arguments the requests are.
        log: file of the process's output.
        threads: of torch; None as it is.
    """
    _settle(log, threads)
    measure = None

    def answer(work: Callable[[], Answer]) -> None:
        try:
            connection.send(work())
        except Exception as error:
            traceback.print_exc()
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            connection.send({"failed": reason})

    def start() -> Answer:
        nonlocal measure
        first, measure = begin()
        return first

    answer(start)
    with contextlib.suppress(EOFError):  # the parent is gone
        while (request := connection.recv()) is not None:
            answer(lambda request=request: measure(**request))


def build_arm(
    arm: Arm, config: BenchmarkConfig, upstream: Path, device: str
) -> tuple[Answer, Callable[..., Answer]]:
    """Sizes of an arm, and what measures it."""
    bench = ArmBench(arm, config, upstream, device)
    return bench.describe(), bench.measure


def prepare(config: BenchmarkConfig, folder: Path, device: str) -> tuple[Answer, None]:
    """Write the upstream and describe the machine."""
    with_native = any(arm.way == "today_native" for arm in config.arms.values())
    machine = {
        "device": device,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "cpu": find_cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": read_bytes(MEMORY_INFO, "MemTotal"),
        "windowed_mean": compare_windowed_means(device),
    }
    upstream = write_upstream(folder, config.architecture, config.seed, with_native)
    return {"upstream": upstream, "machine": machine}, None
