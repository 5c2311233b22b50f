"""The figures of a benchmark: memory and time against the length of an utterance."""

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet_wsm.benchmark.config import REMOVED
from espnet_wsm.benchmark.summary import DECODING, Row, Summary
from espnet_wsm.figures import COLOURS, import_pyplot, write_figure

# By what trains.
MARKERS = {"layer": "o", "mixer": "^", "head": "s", "all": "D", "transformer": "d", "lora": "P"}
SIGNS = (
    "dashed: today (dash-dotted: S3PRL's own upstream; dotted: transformers), solid: ours; circle: the last "
    "layers train, triangle: their mixing blocks, square: the head, diamond: everything (thin: without the "
    "convolutions), plus: LoRA; cross: eager attention, hollow: without attention dropout"
)


def plot_lengths(summary: Summary, file: Path, values: Mapping[str, str], unit: float) -> None:
    """Values against length, log-log: a row of panels per value, a column per way, a line per arm.

    Args:
        summary: what was measured; values and ways of which nothing was get no panels.
        file: PNG to write.
        values: name -> label of the axis with its unit.
        unit: what one unit is.
    """
    dtype = summary.dtypes[0]
    drawn = {
        name: [arm for arm in summary.config["arms"] if summary.curve(arm, name, dtype)] for name in values
    }
    drawn = {name: arms for name, arms in drawn.items() if arms}
    columns = _list_columns(summary.config["arms"], {arm for arms in drawn.values() for arm in arms})
    figure, axes = import_pyplot().subplots(
        max(1, len(drawn)), max(1, len(columns)), figsize=(5.2 * max(1, len(columns)), 4 * len(drawn) + 3),
        sharex=True, sharey="row", squeeze=False, layout="constrained",
    )  # fmt: skip
    for row, name in zip(axes, drawn, strict=False):
        row[0].set_ylabel(values[name])
        for axis, (title, arms) in zip(row, columns.items(), strict=True):
            axis.set_title(title)
            _plot_arms(axis, summary, [arm for arm in arms if arm in drawn[name]], arms, name, unit)
            _style_axis(axis, summary.config["lengths_s"])
    for column in axes.T:
        column[-1].set_xlabel("length of the utterance (s)")
        lines = {line.get_label(): line for axis in column for line in axis.get_lines()}
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17)}
        column[-1].legend(lines.values(), lines.keys(), fontsize=8, frameon=False, **place)
    machine = summary.result["machine"]
    device = machine["gpu"] or machine["cpu"]
    title = f"{summary.config['architecture']}, {dtype}, one utterance a batch, {device}"
    letters = int(14 * figure.get_figwidth())  # of this size in a line
    wrapped = [*textwrap.wrap(title, letters), *textwrap.wrap(SIGNS, letters)]
    figure.suptitle("\n".join(wrapped), fontsize=9)
    write_figure(figure, file)


def _list_columns(arms: Mapping[str, Row], drawn: set[str]) -> dict[str, list[str]]:
    """Title of a column -> its arms."""
    ways = {
        "today": ("today", "today_native", "transformers"),
        "ours: cut": ("cut",),
        "ours: cached features": ("cached",),
    }
    columns = {
        title: [name for name, arm in arms.items() if name in drawn and arm["way"] in own]
        for title, own in ways.items()
    }
    return {title: names for title, names in columns.items() if names}


def _plot_arms(
    axis: Any, summary: Summary, arms: list[str], column: list[str], name: str, unit: float
) -> None:
    """A line per arm, and thin in grey the one that the ratios are against, where it is not in the column."""
    if not arms:
        axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
        return

    def plot(arm: str, *form: str, **style: Any) -> None:
        points = summary.curve(arm, name, summary.dtypes[0])
        axis.plot(list(points), [value / unit for value in points.values()], *form, **style)

    reference = summary.config["ratio_arms"]["reference"]
    measured = summary.result["arms"][reference]["decodes_as"] if name in DECODING else reference
    if reference not in column and measured and summary.curve(measured, name, summary.dtypes[0]):
        plot(measured, "--", color="#666666", linewidth=1, label=f"{reference} (to compare)")
    for arm in arms:
        plot(arm, label=arm, **_style(summary.config["arms"][arm]))


def _style(arm: Row) -> dict[str, Any]:
    """Colour by what mixes, marker by what trains; a cross for eager attention, hollow without dropout."""
    special = {"head": "frozen", "all": "all", "transformer": "all", "lora": "lora"}.get(
        arm["trainable"], arm["mixer"]
    )
    colour = COLOURS["drop" if arm["mixer"] == REMOVED else special]
    usual = arm["attention_dropout"] is None
    return {
        "linestyle": {"today": "--", "today_native": "-.", "transformers": ":"}.get(arm["way"], "-"),
        "color": colour,
        "marker": "x" if arm["attention"] == "eager" else MARKERS[arm["trainable"]],
        "markerfacecolor": colour if usual else "white",
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
