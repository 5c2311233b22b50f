"""Where the heads of an upstream look, as a table and as a picture."""

from pathlib import Path
from typing import Any

import numpy as np

from espnet_wsm.figures import COLOURS, import_pyplot, write_figure
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.tables import render_table
from espnet_wsm.upstream.heads_record import HeadWindowsRecord, LayerHeads

PICTURE_FILE = "heads.png"
COLOUR = COLOURS["wsm_heads"]
MOST_PANELS = 100  # above that a panel for each head is too small to be read
NEAR = 10  # frames on either side that a picture shows on an even scale; further away it is logarithmic
TICKS = (-2.0, -0.2, 0.0, 0.2, 2.0)  # in seconds
MOST_SHOWN = 99  # of a head that gives the same at every frame, an error has no measure
SECONDS = HOP / SAMPLE_RATE  # of a frame


def format_record(record: HeadWindowsRecord) -> str:
    """A Markdown table of the layers, three lines for each: windows, how peaked, and what windows leave."""
    after = record.layers[0].left_after is not None
    heads = max(len(layer.windows) for layer in record.layers)
    ranks = {layer: str(place) for place, layer in enumerate(record.ranking, 1)}
    rows = []
    for layer in record.layers:
        left = [_format(layer.left_in_all), *([_format(layer.left_after)] if after else [])]
        lines = {
            "window": [f"{first}..{last}" for first, last in layer.windows],
            "peaked": map(_format, layer.peaks),
            "left": map(_format, layer.left),
        }
        for number, (name, cells) in enumerate(lines.items()):
            front = [str(layer.layer), ranks.get(layer.layer, "-"), *left]
            rows.append([*(front if number == 0 else [""] * len(front)), name, *cells])
    header = ["layer", "rank", "left", *(["after"] if after else []), "of heads"]
    return render_table([*header, *(str(head) for head in range(1, heads + 1))], rows, num_left=0)


def _format(share: float | None) -> str:
    if share is None:
        return "-"
    return f"{share:.2f}" if share < MOST_SHOWN else f">{MOST_SHOWN}"


def draw_heads(record: HeadWindowsRecord, title: str, file: Path) -> None:
    """A panel for each head, or for each layer if there are too many heads."""
    plt = import_pyplot()
    panels = sum(len(layer.windows) for layer in record.layers)
    figure = (_draw_curves if panels <= MOST_PANELS else _draw_maps)(plt, record)
    figure.suptitle(f"{title}\n(mean weight; in colour: windows, in frames of 20 ms)", fontsize="medium")
    figure.supxlabel(
        "seconds from the frame that looks (away from 0.2 s on a logarithmic scale)", fontsize="small"
    )
    write_figure(figure, file)


def _draw_curves(plt: Any, record: HeadWindowsRecord) -> Any:
    heads = max(len(layer.windows) for layer in record.layers)
    figure, grid = plt.subplots(
        len(record.layers), heads, figsize=(1.3 * heads + 1, 1.0 * len(record.layers) + 1),
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    offsets = np.arange(-record.reach, record.reach + 1)
    for row, layer in zip(grid, record.layers, strict=True):
        for axes, (first, last), mass in zip(row, layer.windows, layer.mass, strict=True):
            axes.axvspan(first - 0.5, last + 0.5, color=COLOUR, alpha=0.25, linewidth=0)
            axes.axvline(0, color="grey", linewidth=0.5)
            axes.step(offsets, mass, where="mid", color="black", linewidth=0.9)
            axes.set(ylim=(0, None), yticks=[])
            axes.set_title(f"{first}..{last}", fontsize=6, pad=2)
            _scale(axes, record.reach)
        row[0].set_ylabel(_name(record, layer), fontsize=7)
    for head, axes in enumerate(grid[-1], 1):
        axes.set_xlabel(f"head {head}", fontsize=7)
    return figure


def _draw_maps(plt: Any, record: HeadWindowsRecord) -> Any:
    columns = 4
    lines = -(-len(record.layers) // columns)
    heads = max(len(layer.windows) for layer in record.layers)
    figure, grid = plt.subplots(
        lines, columns, figsize=(3.2 * columns, lines * (0.11 * heads + 0.6) + 0.6),
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    edges = np.arange(-record.reach, record.reach + 2) - 0.5
    for axes, layer in zip(grid.flat, record.layers, strict=False):
        mass = np.array(layer.mass)
        rows = np.arange(len(mass) + 1) + 0.5
        axes.pcolormesh(edges, rows, mass / mass.max(axis=1, keepdims=True), cmap="Greys", vmin=0, vmax=1)
        for head, (first, last) in enumerate(layer.windows, 1):
            axes.plot([first - 0.5, last + 0.5], [head, head], color=COLOUR, linewidth=1.2, alpha=0.8)
        axes.set(ylim=(len(mass) + 0.5, 0.5), yticks=[1, len(mass)])
        axes.set_title(_name(record, layer).replace("\n", ", "), fontsize=7, pad=2)
        axes.tick_params(labelsize=6)
        _scale(axes, record.reach)
    for axes in grid.flat[len(record.layers) :]:
        axes.set_axis_off()
    figure.supylabel("heads", fontsize="small")
    return figure


def _scale(axes: Any, reach: int) -> None:
    axes.set_xscale("symlog", linthresh=NEAR, linscale=1.5)
    axes.set_xlim(-reach, reach)
    axes.set_xticks([tick / SECONDS for tick in TICKS], [f"{tick:g}" for tick in TICKS], fontsize=5)
    axes.minorticks_off()


def _name(record: HeadWindowsRecord, layer: LayerHeads) -> str:
    if layer.layer not in record.ranking:
        return f"layer {layer.layer}"
    return f"layer {layer.layer}\nrank {record.ranking.index(layer.layer) + 1}"
