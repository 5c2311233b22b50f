"""The record of a check (result.json), its page (table.md) and its figures."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from espnet_wsm.benchmark.gpu.charts import plot_largest, plot_lengths
from espnet_wsm.benchmark.gpu.plan import WAYS
from espnet_wsm.files import write_text
from espnet_wsm.tables import render_table

Row = dict[str, Any]
MIB, GIB = 2.0**20, 2.0**30
LISTS = ("arms", "measurements", "largest", "left_out", "failures")
RULES = """## How it was measured

- Weights are random and of true size; the last k layers and the CTC head train (AdamW). WSM has width \
256 and window 10; attention is SDPA with dropout, as pretrained.
- today: ESPnet's S3prlFrontend, frozen by the rule of `freeze_param`. cut: WsmS3prlEncoder on waveforms, \
what is frozen runs without autograd. cut + cache: on stored features.
- bfloat16 is autocast, with the frozen layers in bfloat16 where there is a cut. float32 is torch's \
default: TF32 in convolutions alone. cuDNN is deterministic, as in ESPnet.
- Lengths: one utterance a batch. Step: forward, loss, backward and AdamW, timed by events of the device's \
queue; the median of up to {rounds} after two that warm up, in brackets the least and the greatest.
- Peak: {peak} It includes weights, gradients and AdamW's state.
- Largest batch: utterances of {utterance:g} s, {first_dtype}; a batch counts when a step of it has run, on \
a card of {card:g} GB{limit}. It is exact to about {tolerance:.0%}, which is how far the next batch that \
was tried and failed is away, unless another reason is named.
- The real-time factor is decoding time (greedy, batch of one) over the length of the audio."""
PEAKS = {
    "cuda": "torch's peak of allocated memory, reset after the first step.",
    "cpu": "resident memory of the process.",
}
LIMITS = {
    "cuda": " of which 0.5 GB are left to the CUDA context: torch's allocator is told to refuse more",
    "cpu": ", which stands for the bytes that autograd may keep",
}


def write_result(result: Row, out: Path) -> None:
    """Write result.json, whole or not at all; a line per arm and measurement."""
    parts = [f" {json.dumps(key)}: {_dump(key, value)}" for key, value in result.items()]
    write_text(out / "result.json", ["{", ",\n".join(parts), "}"])


def _dump(key: str, value: Any) -> str:
    if key not in LISTS or not value:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    rows = ",\n".join(f"  {json.dumps(row, allow_nan=False, ensure_ascii=False)}" for row in value)
    return f"[\n{rows}\n ]"


def write_report(result: Row, out: Path) -> None:
    """Write table.md, and the figures as far as there is something to draw."""
    write_text(out / "table.md", render_report(result).split("\n"))
    if result["measurements"]:
        device = name_device(result)
        plot_lengths(result, out / "memory.png", "peak_bytes", "peak memory of a step (MiB)", MIB, device)
        plot_lengths(result, out / "time.png", "step_s", "training step (ms)", 1e-3, device)
    if result["largest"]:
        plot_largest(result, out / "batch.png", device=name_device(result))


def name_device(result: Row) -> str:
    """The GPU, or the processor of a dry run."""
    machine = result["machine"] or {}
    return machine.get("gpu") or f"dry run on {machine.get('cpu', 'a machine that was not described')}"


def render_report(result: Row) -> str:
    """The page."""
    parts = [*_describe_run(result), *_show_failures(result), *_show_largest(result)]
    for architecture in result["plan"]["architectures"]:
        for dtype in result["plan"]["dtypes"]:
            parts += _show_lengths(result, architecture, dtype)
    return "\n\n".join([*parts, *_show_tests(result), *_show_left_out(result), _state_rules(result)])


def _describe_run(result: Row) -> Iterator[str]:
    machine = result["machine"]
    yield f"# Check of a GPU: {name_device(result)}"
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    yield (
        f"{result['date']}, commit {result['git']}; {versions}. {result['seconds'] / 60:.1f} of "
        f"{result['minutes']:g} min."
    )
    if machine and machine["gpu"]:
        yield _describe_gpu(machine)
    if result["plan"]["device"] == "cpu":
        yield "**A dry run: it shows that the command works; its figures mean nothing.**"
    if not result["complete"]:
        yield "**Incomplete: it was stopped before its end.**"
    tests = result["tests"]
    yield (
        f"Tests on the device: {tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped"
        f"{'' if tests['complete'] else '; **they did not run to their end**'}."
    )


def _describe_gpu(machine: Row) -> str:
    rates = ""
    if machine.get("matmul_flops"):  # they may have failed
        flops = {dtype: value / 1e12 for dtype, value in machine["matmul_flops"].items()}
        rates = (
            f"; it copies {machine['copy_bytes_per_s'] / 1e12:.2f} TB/s and multiplies 4096 x 4096 matrices "
            f"at {flops['float32']:.0f} TFLOP/s in float32, {flops['bfloat16']:.0f} in bfloat16"
        )
    return (
        f"{machine['gpu_memory_bytes'] / GIB:.0f} GiB, compute capability {machine['capability']}, CUDA "
        f"{machine['cuda']}, cuDNN {machine['cudnn']}{rates}. {machine['cpu']}, {machine['cores']} cores."
    )


def _show_failures(result: Row) -> Iterator[str]:
    lines = [f"- {_name(row)}: {row['reason']}" for row in result["failures"]]
    lines += [f"- {row['test']}" for row in result["tests"]["tests"] if row["outcome"] == "failed"]
    if lines:
        yield from ("## Failed", "\n".join(lines))


def _show_largest(result: Row) -> Iterator[str]:
    if not result["largest"]:
        return
    arms = {_arm(row): row for row in result["largest"]}
    rows = []
    for arm, row in arms.items():
        today = arms.get((*arm[:3], "today"))
        times = (
            "" if not today or not today["batch_seconds"] else row["batch_seconds"] / today["batch_seconds"]
        )
        fits = f"{row['batch_seconds']:g}" + (" or more" if row["too_many"] is None else "")
        said = row["stopped_by"] or ("" if row["too_many"] else "the search ended first")
        rows.append([*_titles(arm), fits, times and f"{times:.2f}", said])
    first = result["largest"][0]
    card = result["plan"]["card_bytes"] / 1e9
    yield f"## Largest batch on a card of {card:g} GB, in seconds of audio ({first['dtype']})"
    yield render_table([*TITLES, "seconds", "x today", "remark"], rows, padded=False)


TITLES = ("upstream", "k", "mixer", "way")
VALUES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "peak_bytes": ("Peak memory of a step, MiB", lambda value: f"{value / MIB:.0f}"),
    "saved_bytes": ("Bytes kept by autograd, MiB", lambda value: f"{value / MIB:.1f}"),
    "step_s": ("Training step, ms", lambda value: _show_spread(value, 1e3)),
    "suffix_s": (
        "Forward and backward above the cut, without head, ms",
        lambda value: _show_spread(value, 1e3),
    ),
    "real_time_factor": ("Real-time factor of decoding", lambda value: _show_spread(value, 1.0)),
}


def _show_lengths(result: Row, architecture: str, dtype: str) -> Iterator[str]:
    own = {"architecture": architecture, "dtype": dtype}
    measured = [row for row in result["measurements"] if own.items() <= row.items()]
    lengths = sorted({row["seconds"] for row in measured})
    for name, (title, show) in VALUES.items():
        arms: dict[tuple, dict[float, str]] = {}
        for row in measured:
            if row.get(name) is not None:
                arms.setdefault(_arm(row), {})[row["seconds"]] = show(row[name])
        if arms:
            rows = [[*_titles(arm)[1:], *(cells.get(s, "") for s in lengths)] for arm, cells in arms.items()]
            yield f"## {architecture}, {dtype}: {title}"
            yield render_table([*TITLES[1:], *(f"{s:g} s" for s in lengths)], rows, padded=False)


def _show_tests(result: Row) -> Iterator[str]:
    rows = [
        [row["test"].split("/", 1)[-1], name, f"{value:.2g}" if isinstance(value, float) else str(value)]
        for row in result["tests"]["tests"]
        for name, value in row["figures"].items()
    ]
    if rows:
        yield from ("## Figures of the tests", render_table(["test", "figure", "value"], rows, padded=False))


def _show_left_out(result: Row) -> Iterator[str]:
    lines = [f"- {_name(row)}: {row['reason']}" for row in result["left_out"]]
    if lines:
        yield from ("## Left out", "\n".join(lines))


def _state_rules(result: Row) -> str:
    plan = result["plan"]
    return RULES.format(
        rounds=plan["rounds"],
        peak=PEAKS[plan["device"]],
        utterance=plan["utterance_s"],
        first_dtype=plan["dtypes"][0],
        card=plan["card_bytes"] / 1e9,
        limit=LIMITS[plan["device"]],
        tolerance=plan["tolerance"],
    )


def _arm(row: Row) -> tuple:
    return row["architecture"], row["k"], row["mixer"], row["way"]


def _titles(arm: tuple) -> list[str]:
    architecture, k, mixer, way = arm
    return [architecture, str(k), mixer, WAYS[way]]


def _name(row: Row) -> str:
    arm = (
        [f"{row['architecture']}, k = {row['k']}, {row['mixer']}, {WAYS[row['way']]}"] if "way" in row else []
    )
    return ", ".join([*arm, row["part"]])


def _show_spread(value: Row, unit: float) -> str:
    median, least, greatest = (f"{value[name] * unit:.3g}" for name in ("median", "min", "max"))
    return median if least == greatest else f"{median} [{least}-{greatest}]"
