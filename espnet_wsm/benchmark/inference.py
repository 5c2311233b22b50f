"""How fast trained models transcribe: real-time factors before and after, and where the time goes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from torch import nn

import espnet_wsm
from espnet_wsm.allocator import keep_memory
from espnet_wsm.benchmark.memory import OtherCpu
from espnet_wsm.benchmark.models import write_upstream
from espnet_wsm.files import write_text
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.meters import find_cpu_name
from espnet_wsm.plugin.acoustic_model import build_model
from espnet_wsm.tables import render_table

TOKENS = ["<blank>", "<unk>", "<space>", *"abcdefghijklmnopqrstuvwxyz", "<sos/eos>"]
CHECKPOINT = "valid.loss.ave.pth"
# Seconds of the recordings: those of a test set of prompts.
RECORDINGS = (0.7, 0.9, 1.1, 1.3, 1.6, 1.9, 2.2, 2.6, 3.1, 3.7, 4.4, 5.2, 12.0)
SHORT = 3  # recordings whose transcription is timed from the start of the program
PARTS = ("in front of the layers", "layers below the cut", "layers above it")


@dataclass(frozen=True)
class Way:
    """A way to transcribe.

    Args:
        title: in the table.
        dtype: as in ``espnet_wsm.load``.
        together: whether short recordings share batches.
        keeps_memory: whether the process keeps what it frees.
    """

    title: str
    dtype: str
    together: bool
    keeps_memory: bool


# The first one is what transcribe did before it had the others' means.
WAYS = {
    "before": Way("float32, one recording at a time", "trained", False, False),
    "float32": Way("float32, channels last, batches, memory kept", "float32", True, True),
    "bfloat16": Way("the same in bfloat16", "bfloat16", True, True),
}


class Stopwatch:
    """Seconds spent in the parts of a model, on a CPU."""

    def __init__(self, encoder: nn.Module):
        self.seconds: dict[str, float] = defaultdict(float)
        self._begun: dict[str, float] = {}
        layers = encoder.prefix.family.encoder(encoder.prefix.expert).layers
        for part, modules in (("prefix", [encoder.prefix]), ("below", layers), ("above", [encoder.suffix])):
            for module in modules:
                module.register_forward_pre_hook(lambda *_, part=part: self._begin(part))
                module.register_forward_hook(lambda *_, part=part: self._end(part))

    def _begin(self, part: str) -> None:
        self._begun[part] = time.perf_counter()

    def _end(self, part: str) -> None:
        self.seconds[part] += time.perf_counter() - self._begun[part]

    def share(self, total: float) -> dict[str, float]:
        """The share of each of ``PARTS`` in ``total`` seconds."""
        prefix, below, above = (self.seconds[part] for part in ("prefix", "below", "above"))
        return dict(
            zip(PARTS, (round(each / total, 3) for each in (prefix - below, below, above)), strict=True)
        )


def write_experiment(folder: Path, upstream: Path, seed: int = 0) -> Path:
    """An experiment as a training with WSM in the last two layers leaves it, untrained."""
    conf = {
        "encoder": "wsm_s3prl",
        "encoder_conf": {"upstream": str(upstream.resolve()), "mixer": "wsm", "num_replaced": 2},
        "input_size": 1,
        "token_list": TOKENS,
        "token_type": "char",
        "bpemodel": None,
        "ctc_conf": {},
        "model_conf": {"ctc_weight": 1.0},
        "best_model_criterion": [["valid", "loss", "min"]],
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    torch.save(build_model(conf).state_dict(), folder / CHECKPOINT)
    (folder / "config.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    return folder


def draw_recordings(seconds: tuple[float, ...] = RECORDINGS) -> list[np.ndarray]:
    """Noise, each (N,) at 16 kHz."""
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal(round(each * SAMPLE_RATE)).astype(np.float32) for each in seconds]


def measure(
    experiment: Path, name: str, rounds: int, seconds: tuple[float, ...] = RECORDINGS
) -> dict[str, Any]:
    """Time of a way per second of audio, the least of all rounds; call it in a process of its own.

    Beside the clock's there is the processor's time, of all threads, which other processes disturb less.

    Args:
        experiment: of :func:`write_experiment`.
        name: key of ``WAYS``.
        rounds: how often all recordings are transcribed, after a first time that is not counted.
        seconds: of the recordings.
    """
    way = WAYS[name]
    if way.keeps_memory:
        keep_memory()
    transcriber = espnet_wsm.load(experiment, device="cpu", dtype=way.dtype)
    recordings = draw_recordings(seconds)
    whole = sum(map(len, recordings)) / SAMPLE_RATE

    def run() -> None:
        if way.together:
            list(transcriber.transcribe_all(recordings))
        else:
            for each in recordings:
                transcriber.transcribe(each)

    run()
    watch, busy = Stopwatch(transcriber.decoder.model.encoder), OtherCpu()
    taken, processor = [], []
    for _ in range(rounds):
        start, used = time.perf_counter(), time.process_time()
        run()
        taken.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return {
        "real_time_factor": round(min(taken) / whole, 5),
        "processor_factor": round(min(processor) / whole, 5),
        "rounds_s": [round(each, 3) for each in taken],
        "shares": watch.share(sum(taken)),
        "other_cpu": busy.read(),
    }


def time_start(experiment: Path, folder: Path) -> dict[str, float]:
    """Seconds of ``espnet-wsm transcribe`` of three short files, by the clock and of the processor."""
    files = []
    for place, samples in enumerate(draw_recordings(RECORDINGS[:SHORT])):
        files.append(str(folder / f"{place}.wav"))
        soundfile.write(files[-1], samples, SAMPLE_RATE)
    command = [sys.executable, "-m", "espnet_wsm", "transcribe", "--model", str(experiment), *files]
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"start_s": round(time.perf_counter() - start, 2), "start_processor_s": round(used, 2)}


def measure_upstream(upstream: Path, rounds: int, run: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """All ways of one upstream; ``run`` calls :func:`measure` in another process."""
    with tempfile.TemporaryDirectory(prefix="inference_") as scratch:
        experiment = write_experiment(Path(scratch) / "asr", upstream)
        start = time_start(experiment, Path(scratch))
        return start | {"ways": {name: run(experiment, name, rounds) for name in WAYS}}


def find_upstream(name: str, given: Mapping[str, Path], work: Path) -> Path | str:
    """The folder of an upstream, made with random weights if need be; or why there is none."""
    if name not in given:
        return write_upstream(work, name, 0, with_native=False)
    place = given[name]
    return place if place.exists() else f"{place} is not there"


def read_result(out: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What ``out`` holds of earlier calls, to add upstreams to."""
    file = out / "result.json"
    result = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"upstreams": {}}
    machine = {"cpu": find_cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return result | {**facts, **machine, "recordings_s": list(RECORDINGS)}


def write_result(result: Mapping[str, Any], out: Path) -> None:
    """Write ``result.json`` and ``table.md``."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    write_text(out / "result.json", text.split("\n"))
    write_text(out / "table.md", render(result).split("\n"))


def render(result: Mapping[str, Any]) -> str:
    """The table, in Markdown."""
    rows = []
    for name, found in result["upstreams"].items():
        if "skipped" in found:
            rows.append([name, f"skipped: {found['skipped']}", *[""] * 8])
            continue
        before = found["ways"]["before"]["processor_factor"]
        for key, measured in found["ways"].items():
            factor = measured["processor_factor"]
            shares = [f"{100 * measured['shares'][part]:.0f} %" for part in PARTS]
            others = measured["other_cpu"]
            cells = [
                f"{measured['real_time_factor']:.4f}",
                "-" if others is None else f"{others:.1f}",
                f"{factor:.4f}",
                f"{before / factor:.2f}",
            ]
            rows.append([name, WAYS[key].title, *cells, *shares, f"{found['start_processor_s']:.1f}"])
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    times = ["real-time factor", "cores of others", "processor time / audio", "times as fast"]
    header = ["upstream", "way", *times, *PARTS, "three files (s)"]
    return "\n".join(
        [
            "# Inference",
            "",
            f"{result['date']}, commit {result['git']}, {result['cpu']}, {result['threads']} threads on "
            f"{result['cores']} cores; {versions}.",
            "",
            f"WSM in the last two layers, untrained, CTC over {len(TOKENS)} tokens, greedy; "
            f"{len(result['recordings_s'])} recordings, {sum(result['recordings_s']):.0f} s, the longest "
            f"{max(result['recordings_s']):.0f} s. The least of the rounds; how much faster is told by the "
            "processor's time. The last column is the processor's time of the whole command "
            "`transcribe` of three short files, with its imports.",
            "",
            render_table(header, rows, num_left=2),
        ]
    )
