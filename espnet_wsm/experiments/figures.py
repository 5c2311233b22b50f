"""The figures of a report. Every arm has the same colour and marker in all of them."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_wsm.arms import ARMS
from espnet_wsm.experiments.runs import rank_arm
from espnet_wsm.figures import COLOURS, import_pyplot, write_figure
from espnet_wsm.scoring.seeds import SeedSummary

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
    write_figure(figure, file)


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
    write_figure(figure, file)


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
        axis.margins(y=0.08)
        axis.set_xlim(0, 1.1 * axis.dataLim.xmax)
        axis.yaxis.set_tick_params(labelleft=True)
        axis.grid(True, alpha=0.35)
    axes[0].set_ylabel(value)
    _add_legend(figure, handles)
    write_figure(figure, file)


def plot_curves(file: Path, curves: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]) -> None:
    """Values over epochs: one row per value, one column per corpus, one line with a band per arm.

    The line is the mean over the seeds; the band reaches from minimum to maximum.

    Args:
        file: PNG to write.
        curves: label of the vertical axis -> corpus -> arm -> (seeds, epochs).
    """
    columns = list(dict.fromkeys(corpus for row in curves.values() for corpus in row))
    plt = import_pyplot()
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
    write_figure(figure, file)


def _make_axes(number: int, size: tuple[float, float], sharey: bool) -> tuple[Any, list[Any]]:
    """A figure and ``number`` axes in rows of at most three, or two by two, each of ``size`` inches."""
    columns = 2 if number == 4 else min(3, number)
    rows = math.ceil(number / columns)
    figure, axes = import_pyplot().subplots(
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
    style |= {"color": COLOURS[arm], "marker": ARMS[arm].marker, "markersize": 5.5}
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
        extent = legend.get_window_extent()
        if columns == 1 or extent.width <= figure.bbox.width:
            if (
                extent.height > figure.bbox.height / 2
            ):  # of a single panel with all arms: nothing would be left
                figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
            return
        legend.remove()
