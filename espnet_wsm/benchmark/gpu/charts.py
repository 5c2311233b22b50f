"""The figures of a check: a value against the length of an utterance, and the largest batches."""

from pathlib import Path
from typing import Any

from espnet_wsm.benchmark.gpu.plan import WAYS
from espnet_wsm.figures import COLOURS, import_pyplot, write_figure

STYLES = {"today": ("--", "o"), "cut": ("-", "s"), "cached": (":", "^")}  # line and marker by way
Row = dict[str, Any]


def plot_lengths(result: Row, file: Path, value: str, label: str, unit: float, device: str) -> None:
    """A value against length, log-log: a row of panels per upstream, a column per k, a line per arm.

    Args:
        result: as in result.json.
        file: PNG to write.
        value: a key of its measurements.
        label: of the axis, with its unit.
        unit: what one unit is.
        device: for the title.
    """
    dtype = result["plan"]["dtypes"][0]
    rows = [row for row in result["measurements"] if row["dtype"] == dtype and row.get(value) is not None]
    panels = list(dict.fromkeys((row["architecture"], row["k"]) for row in rows))
    uppers, ks = (list(dict.fromkeys(panel[i] for panel in panels)) for i in (0, 1))
    figure, axes = import_pyplot().subplots(
        len(uppers), len(ks), figsize=(4.6 * len(ks) + 0.6, 3.6 * len(uppers) + 1.2),
        sharex=True, sharey="row", squeeze=False, layout="constrained",
    )  # fmt: skip
    lines: dict[str, Any] = {}
    for row, architecture in zip(axes, uppers, strict=True):
        row[0].set_ylabel(f"{architecture}: {label}")
        for axis, k in zip(row, ks, strict=True):
            axis.set_title(f"k = {k}")
            own = [m for m in rows if (m["architecture"], m["k"]) == (architecture, k)]
            lines |= _plot_arms(axis, own, value, unit)
            _style_lengths(axis, sorted({m["seconds"] for m in rows}))
    for axis in axes[-1]:
        axis.set_xlabel("length of the utterance (s)")
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=8
    )
    figure.suptitle(f"{device}, {dtype}, one utterance a batch", fontsize=9)
    write_figure(figure, file)


def _plot_arms(axis: Any, rows: list[Row], value: str, unit: float) -> dict[str, Any]:
    lines = {}
    for mixer, way in dict.fromkeys((row["mixer"], row["way"]) for row in rows):
        points = {
            row["seconds"]: row[value]["median"] if isinstance(row[value], dict) else row[value]
            for row in rows
            if (row["mixer"], row["way"]) == (mixer, way)
        }
        line, marker = STYLES[way]
        name = f"{mixer}, {WAYS[way]}"
        (lines[name],) = axis.plot(
            list(points), [y / unit for y in points.values()],
            line, marker=marker, color=COLOURS[mixer], markersize=4, linewidth=1.4, label=name,
        )  # fmt: skip
    return lines


def _style_lengths(axis: Any, lengths: list[float]) -> None:
    from matplotlib.ticker import NullLocator

    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(lengths, [f"{seconds:g}" for seconds in lengths])
    axis.grid(True, which="major", alpha=0.35)


def plot_largest(result: Row, file: Path, device: str) -> None:
    """Bars of the largest batch in seconds, a panel per upstream; as :func:`plot_lengths`."""
    rows = result["largest"]
    uppers = list(dict.fromkeys(row["architecture"] for row in rows))
    height = max(sum(row["architecture"] == name for row in rows) for name in uppers)
    figure, axes = import_pyplot().subplots(
        1, len(uppers), figsize=(6.4 * len(uppers), 0.32 * height + 1.6), squeeze=False, layout="constrained"
    )
    for axis, architecture in zip(axes[0], uppers, strict=True):
        own = [row for row in rows if row["architecture"] == architecture]
        names = [f"k = {row['k']}, {row['mixer']}, {WAYS[row['way']]}" for row in own]
        bars = axis.barh(
            names, [row["batch_seconds"] for row in own], color=[COLOURS[row["mixer"]] for row in own]
        )
        axis.bar_label(bars, [f"{row['batch_seconds']:g}" for row in own], padding=2, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.tick_params(labelsize=8)
        axis.set_title(architecture)
        axis.set_xlabel("seconds of audio in the largest batch")
    card = result["plan"]["card_bytes"] / 1e9
    figure.suptitle(f"{device}, a card of {card:g} GB, {rows[0]['dtype']}", fontsize=9)
    write_figure(figure, file)
