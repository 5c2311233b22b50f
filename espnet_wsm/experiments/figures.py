"""The figures of a report. Every arm has the same colour and marker in all of them."""

import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_wsm.experiments.grid import ARMS, rank_arm
from espnet_wsm.files import write_atomically
from espnet_wsm.scoring.seeds import SeedSummary

# Okabe and Ito's palette and four colours of Tol's, which are safe for colour-blind readers; the markers
# distinguish arms in greyscale.
COLOURS = {
    "wsm": "#D55E00",
    "sm": "#009E73",
    "sm_authors": "#117733",
    "local": "#CC79A7",
    "attention": "#0072B2",
    "random_attention": "#56B4E9",
    "reset": "#332288",
    "drop": "#999999",
    "lora": "#000000",
    "gc_lora": "#999933",
    "kv_pool": "#882255",
    "frozen": "#E69F00",
}
MARKERS = dict(zip(ARMS, "oshvD^<XPp>*", strict=True))
MOST_PANELS = 6
INTERVAL = "95 % interval"


@dataclass(frozen=True)
class Panel:
    """One pair of axes: lines by arm, as rates by their place, and horizontal levels by their names."""

    title: str
    lines: Mapping[str, Mapping[float, SeedSummary]]
    levels: Mapping[str, float]


def plot_arms(file: Path, panels: Mapping[str, Mapping[str, SeedSummary]], label: str) -> None:
    """Arms in rows with error bars, the best on top; one panel per corpus.

    The order is that of the mean over the panels, so that an arm is in the same row in all of them.

    Args:
        file: PNG to write.
        panels: title -> arm -> rate; at most MOST_PANELS.
        label: label of the horizontal axis.
    """
    means: dict[str, list[float]] = {}
    for arms in panels.values():
        for arm, rate in arms.items():
            means.setdefault(arm, []).append(rate.mean)
    order = sorted(means, key=lambda arm: -sum(means[arm]) / len(means[arm]))
    figure, axes = _make_axes(len(panels), (4.0, 0.36 * len(order) + 0.9), sharey=True)
    for axis, (title, arms) in zip(axes, panels.items(), strict=True):
        for arm, rate in arms.items():
            _draw_rates(axis, arm, [order.index(arm)], [rate], upright=False, linestyle="none", capsize=3)
        axis.set_yticks(range(len(order)), order)
        axis.set_ylim(-0.6, len(order) - 0.4)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(label)
        axis.grid(True, axis="x", alpha=0.35)
    _write(figure, file)


def plot_lines(
    file: Path, panels: Sequence[Panel], ticks: Mapping[float, str], label: str, value: str
) -> None:
    """Estimates with error bars along an axis with one place per value; one panel per corpus.

    Args:
        file: PNG to write.
        panels: at most MOST_PANELS.
        ticks: place -> label, for all values.
        label: label of the horizontal axis.
        value: label of the vertical axis.
    """
    figure, axes = _make_axes(len(panels), (4.2, 3.2), sharey=False)
    handles: dict[str, Any] = {}
    for axis, panel in zip(axes, panels, strict=True):
        for number, (arm, points) in enumerate(panel.lines.items()):
            # Shifted, so that error bars do not hide each other.
            shift = 0.07 * (number - (len(panel.lines) - 1) / 2)
            style = {"linewidth": 1.3, "capsize": 2, "elinewidth": 0.9}
            handles[arm] = _draw_rates(axis, arm, [x + shift for x in points], points.values(), **style)
        for name, level in panel.levels.items():
            style = {"color": COLOURS[name.split(" ")[0].rstrip(",")], "linestyle": "--", "linewidth": 1.2}
            handles[name] = axis.axhline(level, **style)
        axis.set_xticks(list(ticks), list(ticks.values()))
        axis.set_xlim(min(ticks) - 0.5, max(ticks) + 0.5)
        axis.set_title(panel.title, fontsize=10)
        axis.set_xlabel(label)
        axis.set_ylabel(value)
        axis.grid(True, axis="y", alpha=0.35)
    _add_legend(figure, handles)
    _write(figure, file)


def plot_trade_off(
    file: Path, panels: Mapping[str, Mapping[str, Mapping[int, tuple[float, SeedSummary]]]], value: str
) -> None:
    """Rates against a cost, one point per arm and k, with k beside it.

    Args:
        file: PNG to write.
        panels: label of the horizontal axis -> arm -> k -> cost and rate.
        value: label of the vertical axis.
    """
    figure, axes = _make_axes(len(panels), (5.0, 3.8), sharey=True)
    handles: dict[str, Any] = {}
    for axis, (label, arms) in zip(axes, panels.items(), strict=True):
        for arm, points in arms.items():
            style = {"linewidth": 0.8, "elinewidth": 1.2, "capsize": 3}
            handles[arm] = _draw_rates(axis, arm, *zip(*points.values(), strict=True), **style)
            for k, (cost, rate) in points.items():
                style = {"textcoords": "offset points", "fontsize": 8, "color": COLOURS[arm]}
                axis.annotate(str(k), (cost, rate.mean), (5, 4), **style)
        axis.set_xlabel(label)
        axis.margins(x=0.1, y=0.08)
        axis.set_xlim(left=0)
        axis.yaxis.set_tick_params(labelleft=True)
        axis.grid(True, alpha=0.35)
    axes[0].set_ylabel(value)
    _add_legend(figure, handles)
    _write(figure, file)


def plot_curves(file: Path, curves: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]) -> None:
    """Values over epochs: one row per value, one column per corpus, one line with a band per arm.

    The line is the mean over the seeds; the band reaches from minimum to maximum.

    Args:
        file: PNG to write.
        curves: label of the vertical axis -> corpus -> arm -> (seeds, epochs).
    """
    columns = list(dict.fromkeys(corpus for row in curves.values() for corpus in row))
    plt = _import_pyplot()
    figure, axes = plt.subplots(
        len(curves), len(columns), figsize=(3.9 * len(columns) + 0.3, 2.5 * len(curves) + 0.6),
        sharex="col", squeeze=False, layout="constrained",
    )  # fmt: skip
    handles: dict[str, Any] = {}
    for row, (label, by_corpus) in zip(axes, curves.items(), strict=True):
        row[0].set_ylabel(label)
        for axis, corpus in zip(row, columns, strict=True):
            for arm, values in by_corpus.get(corpus, {}).items():
                epochs = np.arange(1, values.shape[1] + 1)
                (handles[arm],) = axis.plot(epochs, values.mean(0), color=COLOURS[arm], linewidth=1.3)
                if len(values) > 1:
                    axis.fill_between(
                        epochs, values.min(0), values.max(0), color=COLOURS[arm], alpha=0.15, linewidth=0
                    )
            axis.grid(True, alpha=0.35)
    for axis, corpus in zip(axes[0], columns, strict=True):
        axis.set_title(corpus, fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    _add_legend(figure, handles)
    _write(figure, file)


def save_picture(figure: Any, file: Path) -> None:
    """Save a PNG with 256 colours, which is a third of the size of one with all.

    The palette has the most frequent colours and, exactly, white and the colours of the arms. Otherwise a
    line that is hidden by others, and visible only in the legend, would get the colour of another arm.
    """
    from PIL import Image

    whole = io.BytesIO()
    figure.savefig(whole, dpi=110, format="png")
    with Image.open(whole) as opened:
        picture = opened.convert("RGB")
    kept = [tuple(bytes.fromhex(colour.removeprefix("#"))) for colour in ("#FFFFFF", *COLOURS.values())]
    reduced = picture.quantize(colors=256 - len(kept))
    places, colours = np.array(reduced), np.asarray(picture)
    found = reduced.getpalette()
    for place, colour in enumerate(kept, len(found) // 3):
        places[(colours == colour).all(-1)] = place
    final = Image.fromarray(places)
    final.putpalette([*found, *(part for colour in kept for part in colour)])
    final.save(file, format="png", optimize=True)


def _import_pyplot() -> Any:
    """Import matplotlib for use without a display; takes a second."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _make_axes(number: int, size: tuple[float, float], sharey: bool) -> tuple[Any, list[Any]]:
    """A figure and ``number`` axes in rows of at most three, or two by two, each of ``size`` inches."""
    columns = 2 if number == 4 else min(3, number)
    rows = math.ceil(number / columns)
    figure, axes = _import_pyplot().subplots(
        rows, columns, figsize=(size[0] * columns, size[1] * rows + 0.5),
        sharey=sharey, squeeze=False, layout="constrained",
    )  # fmt: skip
    cells = list(axes.flat)
    for unused in cells[number:]:
        unused.remove()
    return figure, cells[:number]


def _draw_rates(
    axis: Any,
    arm: str,
    places: Sequence[float],
    rates: Collection[SeedSummary],
    upright: bool = True,
    **style: Any,
) -> Any:
    """Draw means with their intervals as bars, upright or lying; returns the handle for the legend."""
    means = [rate.mean for rate in rates]
    below = [max(0.0, rate.mean - rate.low) for rate in rates]
    above = [max(0.0, rate.high - rate.mean) for rate in rates]
    style |= {"color": COLOURS[arm], "marker": MARKERS[arm], "markersize": 5.5}
    if upright:
        return axis.errorbar(places, means, yerr=(below, above), **style)
    return axis.errorbar(means, places, xerr=(below, above), **style)


def _add_legend(figure: Any, handles: Mapping[str, Any]) -> None:
    """Add one legend below all panels, no wider than they are: arms in their order, then the levels."""
    names = sorted(handles, key=lambda name: rank_arm(name) if name in ARMS else len(ARMS))
    for columns in range(min(5, len(names)), 0, -1):
        legend = figure.legend(
            [handles[name] for name in names], names, loc="outside lower center", ncols=columns,
            fontsize=9, frameon=False,
        )  # fmt: skip
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def _write(figure: Any, file: Path) -> None:
    write_atomically(file, lambda temporary: save_picture(figure, temporary))
    _import_pyplot().close(figure)
