"""The record of a benchmark (result.json), its page (table.md) and its figures."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espnet_wsm.arms import ARMS
from espnet_wsm.benchmark.charts import plot_lengths
from espnet_wsm.benchmark.config import REMOVED
from espnet_wsm.benchmark.ratios import RATIOS
from espnet_wsm.benchmark.summary import GROWTH_FROM, GROWTH_TO, Row, Summary, complete_result
from espnet_wsm.files import write_text
from espnet_wsm.tables import render_table

BUSY = 0.1  # cores used by others from which on times are called disturbed
MIB = 2.0**20
WAY_NAMES = {
    "today": "today (S3prlFrontend)",
    "today_native": "today, S3PRL's own upstream",
    "transformers": "transformers' model with a CTC head",
    "cut": "ours, cut",
    "cached": "ours, cached features",
}
VALUES = {
    "saved_bytes": "Bytes kept by autograd, MiB",
    "block_saved_bytes": "Of these, kept inside one mixing block, MiB",
    "above_baseline_bytes": "Peak memory of a step above the resident model, MiB",
    "peak_bytes": "Peak memory of a step in all, MiB",
    "step_s": "Training step, s (in brackets the range; x how many, if more than one)",
    "forward_s": "Forward pass of a training step, loss included, s",
    "suffix_s": "Forward and backward above the cut, without head, s",
    "real_time_factor": "Decoding, seconds per second of audio",
}
RULES = """## How it was measured

- today: ESPnet's S3prlFrontend; all but what trains is frozen by the rule of `freeze_param`, then \
`model.train()`. The second copy of the weights that it holds for `init:` is dropped.
- ours, cut: WsmS3prlEncoder on waveforms. Cached: its suffix alone on float16 features. All arms have \
ESPnet's CTC head, the same waveforms and transcripts, and utterances of equal length.
- Kept by autograd: storages of saved tensors when the loss is there, each once and whole, without those of \
parameters and buffers (result.json also counts them in: `saved_with_parameters_bytes`).
- Peak: {peak}, {since}; it includes gradients. Resident: the model and AdamW's state.
- A step is forward, loss, backward and AdamW. Each arm has its own process; they take turns in shuffled \
order. Numbers are the median of the rounds, in brackets the least and the greatest. The first measurement \
warms up and is left out where there are others.
- CTC costs frames times tokens, so the whole step grows faster than what is above the cut.
- In training, today's frozen layers have dropout, and transformers masks features (SpecAugment), as a user \
gets it; ours are in eval mode.
- `OMP_WAIT_POLICY` is passive unless it was set: on an idle machine that changes nothing, and other jobs \
disturb the times far less.
- LayerDrop is off in the random upstream: S3PRL stops when a layer's state is missing.
- On a CPU, SDPA with dropout computes the matrix of weights as eager attention does; without dropout, and \
on a GPU, it does not: compare the arms with attention dropout 0."""


def write_result(result: Row, out: Path) -> None:
    """Write result.json, whole or not at all; a line per arm, kind and point."""
    whole = complete_result(result)
    rows = [json.dumps(row, allow_nan=False) for row in whole.pop("measurements")]
    head = json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False).removesuffix("\n}")
    write_text(out / "result.json", [f'{head},\n "measurements": [', ",\n".join(rows), " ]", "}"])


def write_report(result: Row, out: Path) -> None:
    """Write result.json, table.md, memory.png and time.png; ``result`` may come from a result.json."""
    write_result(result, out)
    write_text(out / "table.md", render_report(complete_result(result)).split("\n"))
    summary = Summary(result)
    memory = {"saved_bytes": "kept by autograd (MiB)", "above_baseline_bytes": "peak above resident (MiB)"}
    plot_lengths(summary, out / "memory.png", memory, MIB)
    plot_lengths(summary, out / "time.png", {"step_s": "training step (s)", "decode_s": "decoding (s)"}, 1.0)


def list_ratios(result: Row) -> list[str]:
    """A line per ratio for the terminal: value, bar, met or not."""
    ratios = complete_result(result)["ratios"]
    bars = result["config"]["bars"]
    width = max(map(len, ratios))
    return [
        f"{name:<{width}}  {_judge(value, bars.get(name)).replace('**', '')}"
        + (f" (bar {bars[name]:g})" if name in bars else "")
        for name, value in ratios.items()
    ]


def render_report(result: Row) -> str:
    """The page; ``result`` as :func:`complete_result` returns it."""
    summary = Summary(result)
    parts = [*_describe_run(result, summary), *_show_ratios(result, summary), *_show_arms(result)]
    for dtype in summary.dtypes:
        parts += _show_values(result, summary, dtype)
    return "\n\n".join([*parts, *_show_growth(result), *_show_skipped(result), _state_rules(result)])


def _describe_run(result: Row, summary: Summary) -> Iterator[str]:
    machine, config = result["machine"], result["config"]
    where = machine["gpu"] or f"{machine['cpu']}, {machine['threads']} threads on {machine['cores']} cores"
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    yield f"# Benchmark {result['config_name']}: {config['architecture']}"
    yield (
        f"{result['date']}, commit {result['git']}, {where}, {machine['memory_bytes'] / 2**30:.0f} GiB of "
        f"memory; {versions}. {result['seconds'] / 60:.0f} min. Random weights, k = "
        f"{config['num_replaced']}, block {json.dumps(config['mixer_conf'])}, CTC over "
        f"{config['vocab_size']} tokens, {config['tokens_per_second']:g} a second."
    )
    if not result["complete"]:
        yield "**Incomplete: it was stopped before its end.**"
    if (others := summary.mean_other_cpu()) > BUSY:
        yield (
            f"**Other processes used {others:.1f} of {machine['cores']} cores meanwhile: times are longer "
            "than on an idle machine, and those of short steps most.** Bytes are not affected."
        )


def _show_ratios(result: Row, summary: Summary) -> Iterator[str]:
    config = result["config"]
    seconds, batch = summary.reference
    others = result["ratios_other"] | result["ratios_by_dtype"]
    lines = [f"At {batch} x {seconds:g} s. Arms: {_name_parts(config['ratio_arms'])}."]
    lines += [f"Beside it, {reading}: {_name_parts(a)}." for reading, a in config["ratio_arms_other"].items()]
    lines.append(
        "The growth exponent is of forward and backward between the stored features and the head, from "
        f"{_name_growth(config)}."
    )
    rows = []
    for name, ratio in RATIOS.items():
        bar = config["bars"].get(name)
        first, *rest = (_judge(ratios[name], bar) for ratios in (result["ratios"], *others.values()))
        rows.append([name, ratio.meaning, first, "" if bar is None else f"<= {bar:g}", *rest])
    yield from ("## Ratios", "\n".join(lines))
    yield render_table(["ratio", "what", summary.dtypes[0], "bar", *others], rows, padded=False)


def _judge(value: float | None, bar: float | None) -> str:
    if value is None or bar is None:
        return "not measured" if value is None else _number(value)
    return f"{_number(value)} met" if value <= bar else f"**{_number(value)} not met**"


def _name_parts(arms: Mapping[str, str]) -> str:
    return ", ".join(f"{part} = {arm}" for part, arm in arms.items())


def _show_arms(result: Row) -> Iterator[str]:
    rows = []
    for name, sizes in result["arms"].items():
        cached = sizes["cache_bytes_per_hour"]
        rows.append(
            [
                name,
                describe_arm(result["config"]["arms"][name], result["config"]["num_replaced"]),
                *(f"{sizes[key] / 1e6:.2f} M" for key in ("trained_parameters", "parameters")),
                *(f"{sizes[key] / 1e6:.1f}" for key in ("checkpoint_bytes", "training_checkpoint_bytes")),
                "" if cached is None else f"{cached / 1e6:.0f}",
            ]
        )
    titles = ["arm", "what it is", "trained", "all", "Nepoch.pth MB", "checkpoint.pth MB", "cache MB/h"]
    yield from ("## Arms", render_table(titles, rows, padded=False))


WHOLE = {
    "all": "everything trains",
    "transformer": "all but the convolutions trains",
    "lora": "LoRA of rank 8 on queries and values of all layers (PEFT) and the head train",
}


def describe_arm(arm: Row, num_replaced: int) -> str:
    """One sentence on what an arm is."""
    layers = f"the last {num_replaced} layers"
    if arm["mixer"] == REMOVED:
        parts = [f"{layers} removed, the CTC head alone trains"]
    elif arm["trainable"] == "head":
        parts = ["all layers frozen, the CTC head alone trains"]
    elif arm["trainable"] in WHOLE:
        parts = [WHOLE[arm["trainable"]]]
    else:
        what = layers if arm["trainable"] == "layer" else f"the mixing blocks of {layers}"
        parts = [f"{ARMS[arm['mixer']].words} in {layers}, {what} and the head train"]
    if arm["attention"] != "sdpa":
        parts.append(f"{arm['attention']} attention instead of SDPA")
    if arm["attention_dropout"] is not None:
        parts.append(f"attention dropout {arm['attention_dropout']:g}")
    if arm["mixer_conf"]:
        parts.append(", ".join(f"{key} {value}" for key, value in arm["mixer_conf"].items()))
    if arm["recompute"] != "auto":
        ours = arm["way"] != "transformers"
        parts.append(f"`recompute: {arm['recompute']}`" if ours else "gradient checkpointing")
    if arm["longest_s"] is not None:
        parts.append(f"only up to {arm['longest_s']:g} s")
    return f"{WAY_NAMES[arm['way']]}: {', '.join(parts)}."


def _show_values(result: Row, summary: Summary, dtype: str) -> Iterator[str]:
    titles = ["arm", *(f"{batch} x {seconds:g} s" for seconds, batch in summary.sizes)]
    for name, title in VALUES.items():
        rows = []
        for arm in result["arms"]:
            cells = [_show_value(name, summary.value(arm, name, size, dtype)) for size in summary.sizes]
            if name == "step_s":
                counts = [summary.rounds(arm, size, dtype) for size in summary.sizes]
                cells = [f"{c} x{n}" if c and n > 1 else c for c, n in zip(cells, counts, strict=True)]
            if any(cells):
                rows.append([arm, *cells])
        if rows:
            yield from (f"## {title} ({dtype})", render_table(titles, rows, padded=False))
    same = [
        f"{arm} decodes as {sizes['decodes_as']}"
        for arm, sizes in result["arms"].items()
        if sizes["decodes_as"] not in (None, arm)
    ]
    if same:
        yield f"Not decoded twice: {'; '.join(same)}."


def _show_value(name: str, value: Any) -> str:
    """A cell of one of VALUES, from what :meth:`Summary.value` gives."""
    if value is None:
        return ""
    if name.endswith("saved_bytes"):
        return f"{value / MIB:.1f}"
    if name.endswith("_bytes"):
        return f"{value['median'] / MIB:.0f}"
    median, least, greatest = map(_number, (value["median"], value["min"], value["max"]))
    return median if least == greatest else f"{median} [{least}-{greatest}]"


def _name_growth(config: Row) -> str:
    """The lengths over which growth was measured."""
    used = [x for x in config["lengths_s"] if GROWTH_FROM <= x <= GROWTH_TO] or [GROWTH_FROM, GROWTH_TO]
    return f"{min(used):g} to {max(used):g} s"


def _show_growth(result: Row) -> Iterator[str]:
    found = {arm: growth for arm, growth in result["growth"].items() if any(growth.values())}
    if found:
        rows = [[arm, _number(g["step_s"]), _number(g["suffix_s"])] for arm, g in found.items()]
        yield f"## Growth exponents, {_name_growth(result['config'])} (1 = linear, 2 = quadratic)"
        yield render_table(["arm", "whole step", "above the cut"], rows, padded=False)


def _show_skipped(result: Row) -> Iterator[str]:
    lines = []
    for s in result["skipped"]:
        number = f", round {s['round']}" if s["round"] else ""
        at = f"{s['batch']} x {s['seconds']:g} s, {s['dtype']}{number}"
        lines.append(f"- {s['arm']}, {s['kind']}, {at}: {s['reason']}")
    if lines:
        yield from ("## Not measured", "\n".join(lines))


def _state_rules(result: Row) -> str:
    on_gpu = result["machine"]["device"] == "cuda"
    resets = all(sizes["peak_resets"] for sizes in result["arms"].values())
    return RULES.format(
        peak="torch's peak of allocated memory" if on_gpu else "resident memory",
        since="reset before each measurement" if resets else "since the process began",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
