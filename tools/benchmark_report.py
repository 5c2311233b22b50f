"""What the measurements come to: medians, ratios, growth exponents, a table and two figures."""

import json
import math
import statistics
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark_config import RATIOS

from espnet_wsm.experiments.figures import save_picture
from espnet_wsm.files import write_atomically, write_text

GROWTH_FROM, GROWTH_TO, GROWTH_POINTS = 10.0, 160.0, 3  # seconds of audio, and how many lengths it takes
BUSY = 0.1  # cores used by others from which on times are called disturbed
TIMES = ("step_s", "forward_s", "suffix_s", "update_s", "decode_s", "real_time_factor")
DECODING = ("decode_s", "real_time_factor")
PEAKS = ("peak_bytes", "above_baseline_bytes")
COUNTS = ("saved_bytes", "saved_with_parameters_bytes")
PLACE = ("arm", "kind", "seconds", "batch", "dtype")
MEANINGS = {
    "saved_bytes_cut": "bytes autograd keeps, ours with the cut / today",
    "saved_bytes_wsm_vs_attention_cut": "bytes autograd keeps, WSM / attention, both with the cut",
    "step_cut": "time of a training step, ours with the cut / today",
    "step_cached": "time of a training step, ours on cached features / today",
    "checkpoint_bytes": "Nepoch.pth, ours / today",
    "growth_exponent": "slope of log time over log length of ours above the cut, forward and backward",
}
WAY_NAMES = {
    "today": "today (S3prlFrontend)",
    "today_native": "today, S3PRL's own upstream",
    "cut": "ours, cut",
    "cached": "ours, cached features",
}
MIXER_NAMES = {
    "attention": "pretrained attention",
    "random_attention": "random attention",
    "wsm": "WSM",
    "sm": "SM",
    "local": "local mean only",
    "reset": "random attention and feed-forward",
    "kv_pool": "pretrained attention to pooled keys",
    "lora": "LoRA on attention",
    "gc_lora": "LoRA with a gated convolution on attention",
}
Row = dict[str, Any]


def fit_exponent(times: Mapping[float, float]) -> float | None:
    """Least-squares slope of log(time) over log(length).

    Args:
        times: length in seconds of audio -> seconds; only lengths from 10 to 160 s count.

    Returns:
        the slope, None with fewer than three lengths.
    """
    used = {x: y for x, y in times.items() if GROWTH_FROM <= x <= GROWTH_TO and y > 0}
    if len(used) < GROWTH_POINTS:
        return None
    line = statistics.linear_regression([math.log(x) for x in used], [math.log(y) for y in used.values()])
    return line.slope


def summarise(measurements: Iterable[Row]) -> list[Row]:
    """One row per arm, point and kind: how many rounds, and median, least and greatest of each value.

    The first measurement is a warm-up that also counts saved bytes; its times count only where no other was
    made.
    """
    groups: dict[tuple, list[Row]] = {}
    for m in measurements:
        groups.setdefault(tuple(m[name] for name in PLACE), []).append(m)
    rows = []
    for key, group in groups.items():
        timed = [m for m in group if m["round"] > 0] or group
        row: Row = dict(zip(PLACE, key, strict=True)) | {"rounds": len(timed)}
        row |= {name: _spread(timed, name) for name in TIMES if name in group[0]}
        row |= {name: _spread(group, name) for name in PEAKS if name in group[0]}
        row |= {name: group[0][name] for name in COUNTS if name in group[0]}
        rows.append(row)
    return rows


def _spread(group: list[Row], name: str) -> dict[str, float] | None:
    values = [m[name] for m in group if m[name] is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


class Summary:
    """Looks up what :func:`summarise` made of a result, and derives ratios from it.

    Args:
        result: as in result.json.
    """

    def __init__(self, result: Row):
        self.result, self.config = result, result["config"]
        self._index = {tuple(row[name] for name in PLACE): row for row in summarise(result["measurements"])}
        self.dtypes: tuple[str, ...] = tuple(self.config["dtypes"][result["machine"]["device"]])
        reference = self.config["reference"]
        self.reference: tuple[float, int] = (reference["seconds"], reference["batch"])
        sizes = {(s, 1) for s in self.config["lengths_s"]} | {self.reference}
        self.sizes = sorted(sizes, key=lambda size: (size != self.reference, size))

    def value(self, arm: str, name: str, size: tuple[float, int], dtype: str) -> Any:
        """A value of an arm at (seconds, batch), None when it was not measured."""
        kind = "decode" if name in DECODING else "step"
        if name in TIMES and kind not in self.config["arms"][arm]["measure"]:
            return None  # timed once, by the way, while its saved bytes were counted
        row = self._index.get((arm, kind, *size, dtype))
        return None if row is None else row.get(name)

    def rounds(self, arm: str, size: tuple[float, int], dtype: str) -> int:
        """How many steps the median is of."""
        row = self._index.get((arm, "step", *size, dtype))
        return 0 if row is None else row["rounds"]

    def exponent(self, arm: str, name: str, dtype: str) -> float | None:
        """Growth with length of ``step_s`` or ``suffix_s``."""
        times = {}
        for seconds in self.config["lengths_s"]:
            found = self.value(arm, name, (seconds, 1), dtype)
            if found is not None:
                times[seconds] = found["median"]
        return fit_exponent(times)

    def ratios(self, arms: Mapping[str, str], dtype: str) -> dict[str, float | None]:
        """The six ratios for the arms named by part; None where a measurement is missing."""

        def saved(part: str) -> float | None:
            return self.value(arms[part], "saved_bytes", self.reference, dtype)

        def step(part: str) -> float | None:
            found = self.value(arms[part], "step_s", self.reference, dtype)
            return None if found is None else found["median"]

        def checkpoint(part: str) -> float | None:
            return self.result["arms"][arms[part]]["checkpoint_bytes"]

        of: dict[str, Callable[[str], float | None]] = {
            "saved_bytes_cut": saved,
            "saved_bytes_wsm_vs_attention_cut": saved,
            "step_cut": step,
            "step_cached": step,
            "checkpoint_bytes": checkpoint,
        }
        ratios = {name: _divide(*(of[name](part) for part in RATIOS[name])) for name in of}
        return ratios | {"growth_exponent": self.exponent(arms["cached"], "suffix_s", dtype)}


def _divide(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or not lower else upper / lower


def complete_result(result: Row) -> Row:
    """``result`` with growth exponents and ratios.

    ``ratios`` are those of the arms that the configuration names, in the first precision; ``ratios_other``
    those of its other readings, ``ratios_by_dtype`` those of the other precisions.
    """
    summary = Summary(result)
    first, *others = summary.dtypes
    named = result["config"]["ratio_arms"]
    readings = result["config"]["ratio_arms_other"]
    return result | {
        "growth": {
            arm: {name: summary.exponent(arm, name, first) for name in ("step_s", "suffix_s")}
            for arm in result["arms"]
        },
        "ratios": summary.ratios(named, first),
        "ratios_other": {reading: summary.ratios(arms, first) for reading, arms in readings.items()},
        "ratios_by_dtype": {dtype: summary.ratios(named, dtype) for dtype in others},
    }


def group_rounds(measurements: Iterable[Row]) -> list[Row]:
    """One row per arm, kind and point, in which a value that changes from round to round is a list."""
    groups: dict[tuple, Row] = {}
    for m in measurements:
        row = groups.setdefault(tuple(m[name] for name in PLACE), {name: m[name] for name in PLACE})
        for name, value in m.items():
            if name in COUNTS:
                row[name] = value
            elif name not in PLACE:
                row.setdefault(name, []).append(value)
    return list(groups.values())


def write_result(result: Row, out: Path) -> None:
    """Write result.json, whole or not at all; a line per arm, kind and point."""
    whole = complete_result(result)
    rows = [json.dumps(row, allow_nan=False) for row in group_rounds(whole.pop("measurements"))]
    head = json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False).removesuffix("\n}")
    write_text(out / "result.json", [f'{head},\n "measurements": [', ",\n".join(rows), " ]", "}"])


def write_report(result: Row, out: Path) -> None:
    """Write result.json, table.md, memory.png and time.png."""
    write_result(result, out)
    write_text(out / "table.md", list_table(complete_result(result)))
    summary = Summary(result)
    mib, seconds = 2.0**20, 1.0
    plot_lengths(
        summary,
        out / "memory.png",
        {
            "saved_bytes": ("kept by autograd (MiB)", mib),
            "above_baseline_bytes": ("peak above resident (MiB)", mib),
        },
    )
    plot_lengths(
        summary,
        out / "time.png",
        {"step_s": ("training step (s)", seconds), "decode_s": ("decoding (s)", seconds)},
    )


def describe_arm(arm: Row, num_replaced: int) -> str:
    """One sentence on what an arm is."""
    parts = [WAY_NAMES[arm["way"]]]
    layers = f"the last {num_replaced} layers"
    if arm["mixer"] == "none":
        parts.append(f"{layers} removed, the CTC head alone trains")
    elif arm["trainable"] == "head":
        parts.append("all layers frozen, the CTC head alone trains")
    elif arm["trainable"] == "all":
        parts.append("everything trains")
    else:
        what = layers if arm["trainable"] == "layer" else f"the mixing blocks of {layers}"
        parts.append(f"{MIXER_NAMES[arm['mixer']]} in {layers}, {what} and the head train")
    if arm["attention"] != "sdpa":
        parts.append(f"{arm['attention']} attention instead of SDPA")
    if arm["attention_dropout"] is not None:
        parts.append(f"attention dropout {arm['attention_dropout']:g}")
    if arm["longest_s"] is not None:
        parts.append(f"only up to {arm['longest_s']:g} s")
    return ": ".join([parts[0], ", ".join(parts[1:])]) + "."


def list_table(result: Row) -> list[str]:
    """The lines of table.md; ``result`` as :func:`complete_result` returns it."""
    summary = Summary(result)
    lines = [*_list_header(result), *_list_ratios(result, summary), *_list_arms(result)]
    for dtype in summary.dtypes:
        lines += _list_values(result, summary, dtype)
    lines += _list_growth(result)
    lines += _list_skipped(result)
    return [*lines, *_list_rules(result)]


def _list_header(result: Row) -> list[str]:
    machine, config = result["machine"], result["config"]
    where = machine["gpu"] or f"{machine['cpu']}, {machine['threads']} threads on {machine['cores']} cores"
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        f"# Benchmark {result['config_name']}: {config['architecture']}",
        "",
        f"{result['date']}, commit {result['git']}, {where}, {machine['memory_bytes'] / 2**30:.0f} GiB of "
        f"memory; {versions}. {result['seconds'] / 60:.0f} min. Random weights, k = "
        f"{config['num_replaced']}, block {json.dumps(config['mixer_conf'])}, CTC over "
        f"{config['vocab_size']} tokens, {config['tokens_per_second']:g} a second.",
        "",
    ]
    if not result["complete"]:
        lines += ["**Incomplete: it was stopped before its end.**", ""]
    others = mean_other_cpu(result["measurements"])
    if others > BUSY:
        lines += [
            f"**Other processes used {others:.1f} of {machine['cores']} cores meanwhile: times are longer "
            "than on an idle machine, and those of short steps most.** Bytes are not affected.",
            "",
        ]
    return lines


def mean_other_cpu(measurements: Iterable[Row]) -> float:
    """Cores that processes other than the one being measured used, averaged over the time of measuring."""
    rows = [m for m in measurements if m["other_cpu"] is not None]
    total = sum(m["seconds_taken"] for m in rows)
    return sum(m["other_cpu"] * m["seconds_taken"] for m in rows) / total if total else 0.0


def list_ratios(result: Row) -> list[str]:
    """A line per ratio for the terminal: value, bar, met or not."""
    ratios = complete_result(result)["ratios"]
    bars = result["config"]["bars"]
    width = max(len(name) for name in ratios)
    return [
        f"{name:<{width}}  {_judge(value, bars.get(name)).replace('**', '')}"
        + (f" (bar {bars[name]:g})" if name in bars else "")
        for name, value in ratios.items()
    ]


def _list_ratios(result: Row, summary: Summary) -> list[str]:
    config = result["config"]
    seconds, batch = summary.reference
    columns = {"": result["ratios"]} | result["ratios_other"] | result["ratios_by_dtype"]
    titles = ["ratio", "what", summary.dtypes[0], "bar", *list(columns)[1:]]
    lines = [
        "## Ratios",
        "",
        f"At {batch} x {seconds:g} s. Arms: {_name_parts(config['ratio_arms'])}.",
        *(
            f"Beside it, {reading}: {_name_parts(arms)}."
            for reading, arms in config["ratio_arms_other"].items()
        ),
        "The growth exponent is of forward and backward between the stored features and the head, from "
        f"{GROWTH_FROM:g} to {GROWTH_TO:g} s.",
        "",
        _row(titles),
        _rule(titles),
    ]
    for name, meaning in MEANINGS.items():
        value, bar = result["ratios"][name], config["bars"].get(name)
        others = [_judge(ratios[name], bar) for ratios in list(columns.values())[1:]]
        bound = "" if bar is None else f"<= {bar:g}"
        lines.append(_row([name, meaning, _judge(value, bar), bound, *others]))
    return [*lines, ""]


def _judge(value: float | None, bar: float | None) -> str:
    if value is None or bar is None:
        return "not measured" if value is None else _number(value)
    return f"{_number(value)} met" if value <= bar else f"**{_number(value)} not met**"


def _name_parts(arms: Mapping[str, str]) -> str:
    return ", ".join(f"{part} = {arm}" for part, arm in arms.items())


def _list_arms(result: Row) -> list[str]:
    titles = ["arm", "what it is", "trained", "all", "Nepoch.pth MB", "checkpoint.pth MB", "cache MB/h"]
    lines = ["## Arms", "", _row(titles), _rule(titles)]
    for name, sizes in result["arms"].items():
        lines.append(
            _row(
                [
                    name,
                    describe_arm(result["config"]["arms"][name], result["config"]["num_replaced"]),
                    f"{sizes['trained_parameters'] / 1e6:.2f} M",
                    f"{sizes['parameters'] / 1e6:.2f} M",
                    f"{sizes['checkpoint_bytes'] / 1e6:.1f}",
                    f"{sizes['training_checkpoint_bytes'] / 1e6:.1f}",
                    ""
                    if sizes["cache_bytes_per_hour"] is None
                    else f"{sizes['cache_bytes_per_hour'] / 1e6:.0f}",
                ]
            )
        )
    return [*lines, ""]


def _list_values(result: Row, summary: Summary, dtype: str) -> list[str]:
    tables: dict[str, tuple[str, Callable[[Any], str]]] = {
        "saved_bytes": ("Bytes kept by autograd, MiB", _mebibytes),
        "above_baseline_bytes": ("Peak memory of a step above the resident model, MiB", _spread_mebibytes),
        "peak_bytes": ("Peak memory of a step in all, MiB", _spread_mebibytes),
        "step_s": ("Training step, s (in brackets the range; x how many, if more than one)", _spread_seconds),
        "forward_s": ("Forward pass of a training step, loss included, s", _spread_seconds),
        "suffix_s": ("Forward and backward above the cut, without head, s", _spread_seconds),
        "real_time_factor": ("Decoding, seconds per second of audio", _spread_seconds),
    }
    lines = []
    for name, (title, show) in tables.items():
        titles = ["arm", *(f"{batch} x {seconds:g} s" for seconds, batch in summary.sizes)]
        body = []
        for arm in result["arms"]:
            found = [summary.value(arm, name, size, dtype) for size in summary.sizes]
            if all(value is None for value in found):
                continue
            cells = ["" if value is None else show(value) for value in found]
            if name == "step_s":
                counts = [summary.rounds(arm, size, dtype) for size in summary.sizes]
                cells = [f"{c} x{n}" if n > 1 else c for c, n in zip(cells, counts, strict=True)]
            body.append(_row([arm, *cells]))
        if body:
            lines += [f"## {title} ({dtype})", "", _row(titles), _rule(titles), *body, ""]
    same = [
        f"{arm} decodes as {sizes['decodes_as']}"
        for arm, sizes in result["arms"].items()
        if sizes["decodes_as"] not in (None, arm)
    ]
    return [*lines, *([f"Not decoded twice: {'; '.join(same)}.", ""] if same else [])]


def _list_growth(result: Row) -> list[str]:
    titles = ["arm", "whole step", "above the cut"]
    lines = [
        f"## Growth exponents, {GROWTH_FROM:g} to {GROWTH_TO:g} s (1 = linear, 2 = quadratic)",
        "",
        _row(titles),
        _rule(titles),
    ]
    found = {arm: growth for arm, growth in result["growth"].items() if any(growth.values())}
    lines += [_row([arm, _number(g["step_s"]), _number(g["suffix_s"])]) for arm, g in found.items()]
    return [*lines, ""] if found else []


def _list_skipped(result: Row) -> list[str]:
    if not result["skipped"]:
        return []
    lines = ["## Not measured", ""]
    lines += [
        f"- {s['arm']}, {s['kind']}, {s['batch']} x {s['seconds']:g} s, {s['dtype']}"
        f"{f', round {number}' if (number := s['round']) else ''}: {s['reason']}"
        for s in result["skipped"]
    ]
    return [*lines, ""]


def _list_rules(result: Row) -> list[str]:
    resets = all(sizes["peak_resets"] for sizes in result["arms"].values())
    peak = "torch's peak of allocated memory" if result["machine"]["device"] == "cuda" else "resident memory"
    return [
        "## How it was measured",
        "",
        "- today: ESPnet's S3prlFrontend; all but what trains is frozen by the rule of `freeze_param`, then "
        "`model.train()`. The second copy of the weights that it holds for `init:` is dropped.",
        "- ours, cut: WsmS3prlEncoder on waveforms. Cached: its suffix alone on float16 features. All arms "
        "have ESPnet's CTC head, the same waveforms and transcripts, and utterances of equal length.",
        "- Kept by autograd: storages of saved tensors when the loss is there, each once and whole, without "
        "those of parameters and buffers (result.json also counts them in: `saved_with_parameters_bytes`).",
        f"- Peak: {peak}, {'reset before each measurement' if resets else 'since the process began'}; it "
        "includes gradients. Resident: the model and AdamW's state.",
        "- A step is forward, loss, backward and AdamW. Each arm has its own process; they take turns in "
        "shuffled order. Numbers are the median of the rounds, in brackets the least and the greatest. The "
        "first measurement warms up and is left out where there are others.",
        "- CTC costs frames times tokens, so the whole step grows faster than what is above the cut.",
        "- In training, today's frozen layers have dropout, and transformers masks features (SpecAugment), "
        "as a user gets it; ours are in eval mode.",
        "- `OMP_WAIT_POLICY` is passive unless it was set: on an idle machine that changes nothing, and "
        "other jobs disturb the times far less.",
        "- LayerDrop is off in the random upstream: S3PRL stops when a layer's state is missing.",
        "- On a CPU, SDPA with dropout computes the matrix of weights as eager attention does; without "
        "dropout, and on a GPU, it does not: compare the arms with attention dropout 0.",
    ]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(titles: list[str]) -> str:
    return "|" + "---|" * len(titles)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:.1f}"


def _spread_mebibytes(spread: Mapping[str, float]) -> str:
    return f"{spread['median'] / 2**20:.0f}"


def _spread_seconds(spread: Mapping[str, float]) -> str:
    median, least, greatest = (f"{spread[name]:.3g}" for name in ("median", "min", "max"))
    return median if least == greatest else f"{median} [{least}-{greatest}]"


# Okabe and Ito's palette, told apart by people with any colour vision.
COLOURS = {
    "wsm": "#D55E00",
    "attention": "#0072B2",
    "random_attention": "#56B4E9",
    "sm": "#009E73",
    "local": "#CC79A7",
    "reset": "#332288",
    "kv_pool": "#882255",
    "lora": "#F0E442",
    "gc_lora": "#999933",
    "none": "#999999",
    "head": "#E69F00",
    "all": "#000000",
}
MARKERS = {"layer": "o", "mixer": "^", "head": "s", "all": "D"}


def plot_lengths(summary: Summary, file: Path, values: Mapping[str, tuple[str, float]]) -> None:
    """Values against length, log-log: a row of panels per value, a column per way, a line per arm.

    Args:
        summary: what was measured; values and ways of which nothing was get no panels.
        file: PNG to write.
        values: name -> (label of the axis with its unit, what one unit is).
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = _list_columns(summary, list(values))
    rows = [name for name in values if any(_curve(summary, a, name) for n in columns.values() for a in n)]
    figure, axes = plt.subplots(
        max(1, len(rows)), max(1, len(columns)), figsize=(5.2 * max(1, len(columns)), 4 * len(rows) + 3),
        sharex=True, sharey="row", squeeze=False, layout="constrained",
    )  # fmt: skip
    for row, name in zip(axes, rows, strict=False):
        label, unit = values[name]
        row[0].set_ylabel(label)
        for axis, (title, arms) in zip(row, columns.items(), strict=True):
            axis.set_title(title)
            _plot_arms(axis, summary, arms, name, unit)
            _style_axis(axis, summary.config["lengths_s"])
    for column in axes.T:
        column[-1].set_xlabel("length of the utterance (s)")
        lines = {line.get_label(): line for axis in column for line in axis.get_lines()}
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17)}
        column[-1].legend(lines.values(), lines.keys(), fontsize=8, frameon=False, **place)
    machine, architecture = summary.result["machine"], summary.config["architecture"]
    device = machine["gpu"] or machine["cpu"]
    title = f"{architecture}, {summary.dtypes[0]}, one utterance a batch, {device}"
    signs = (
        "dashed: today (dash-dotted: S3PRL's own upstream), solid: ours; circle: the last layers train, "
        "triangle: their mixing blocks, square: the head, diamond: everything; cross: eager attention, "
        "hollow: without attention dropout"
    )
    letters = int(14 * figure.get_figwidth())  # of this size in a line
    figure.suptitle("\n".join([*textwrap.wrap(title, letters), *textwrap.wrap(signs, letters)]), fontsize=9)
    write_atomically(file, lambda temporary: save_picture(figure, temporary))
    plt.close(figure)


def _list_columns(summary: Summary, values: list[str]) -> dict[str, list[str]]:
    """Title of a column -> its arms, those alone of which a value was measured at some length."""
    arms = {
        name: arm
        for name, arm in summary.config["arms"].items()
        if any(_curve(summary, name, value) for value in values)
    }
    columns = {
        "today": [n for n, a in arms.items() if a["way"].startswith("today")],
        "ours: cut": [n for n, a in arms.items() if a["way"] == "cut"],
        "ours: cached features": [n for n, a in arms.items() if a["way"] == "cached"],
    }
    return {title: names for title, names in columns.items() if names}


def _curve(summary: Summary, arm: str, name: str) -> dict[float, float]:
    """Length -> value."""
    points = {}
    for seconds in summary.config["lengths_s"]:
        found = summary.value(arm, name, (seconds, 1), summary.dtypes[0])
        if found is not None:
            points[seconds] = found["median"] if isinstance(found, dict) else found
    return points


def _plot_arms(axis: Any, summary: Summary, arms: list[str], name: str, unit: float) -> None:
    """A line per arm, and thin in grey the one that the ratios are against, where it is not among them."""
    curves = {arm: points for arm in arms if (points := _curve(summary, arm, name))}
    if not curves:
        axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
        return
    reference = summary.config["ratio_arms"]["reference"]
    measured = summary.result["arms"][reference]["decodes_as"] if name in DECODING else reference
    if reference not in arms and measured and (points := _curve(summary, measured, name)):
        values = [value / unit for value in points.values()]
        axis.plot(list(points), values, "--", color="#666666", linewidth=1, label=f"{reference} (to compare)")
    for arm, points in curves.items():
        values = [value / unit for value in points.values()]
        axis.plot(list(points), values, label=arm, **_style(summary.config["arms"][arm]))


def _style(arm: Row) -> dict[str, Any]:
    """Colour by what mixes, marker by what trains; a cross for eager attention, hollow without dropout."""
    kind = arm["mixer"]
    if arm["trainable"] in ("head", "all") and kind != "none":
        kind = arm["trainable"]
    usual = arm["attention_dropout"] is None
    return {
        "linestyle": {"today": "--", "today_native": "-."}.get(arm["way"], "-"),
        "color": COLOURS[kind],
        "marker": "x" if arm["attention"] == "eager" else MARKERS[arm["trainable"]],
        "markerfacecolor": COLOURS[kind] if usual else "white",
        "markersize": 5 if usual else 7,
        "linewidth": 1.5,
        "alpha": 0.9,
    }


def _style_axis(axis: Any, lengths: Iterable[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(list(lengths), [f"{s:g}" for s in lengths])
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid(True, which="major", alpha=0.35)
