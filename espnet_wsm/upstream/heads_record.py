"""The file that says where the heads of an upstream's attention look: ``windows: attention`` reads it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

if TYPE_CHECKING:
    from espnet_wsm.upstream.config import WsmConfig

HEADS_FILE = "heads.json"
# As ``windows`` of a configuration: those that the heads of the pretrained attention show.
READ_OFF = "attention"
# Of a head's weight within reach, the part above its smallest, below which it looks at every frame alike.
PEAKED = 0.1
# How to get the file of an upstream again.
ANEW = "delete it and run stage 2 again, or make it with `espnet-wsm layers`"
EVEN = "all heads look at all frames nearly alike: this attention has learnt no places to look at"


@dataclass(frozen=True)
class LayerHeads:
    """Where the heads of one layer look.

    Args:
        layer: its number in the upstream, 1 = the lowest.
        windows: first and last frame of each head's window, relative to the frame.
        left: what a mean of the attention's values over that window leaves of each head's output: squared
            error, normalised by the output's variance.
        mass: of each head, the mean weight at each offset within reach.
        left_in_all: what head windows with the attention's values and output leave of the attention's output
            before they have learnt anything, normalised likewise; None in older files.
        left_after: what such a block leaves on held-out speech after a transfer; None without one.
    """

    layer: int
    windows: tuple[tuple[int, int], ...]
    left: tuple[float, ...]
    mass: tuple[tuple[float, ...], ...]
    left_in_all: float | None = None
    left_after: float | None = None

    @property
    def peaks(self) -> tuple[float, ...]:
        """Of each head: the share of its weight within reach that is above its smallest, 0 = even."""
        return tuple(1 - len(mass) * min(mass) / max(sum(mass), 1e-30) for mass in self.mass)


@dataclass(frozen=True)
class HeadWindowsRecord:
    """The windows of an upstream's heads, from the lowest of the layers that were looked at.

    Args:
        share: of a head's weight that its window leaves out on either side.
        reach: frames on either side within which a window can lie.
        frames: of the speech that was looked at.
        layers: from the lowest.
        upstream: digest of the upstream.
    """

    share: float
    reach: int
    frames: int
    layers: tuple[LayerHeads, ...]
    upstream: str = ""

    @property
    def minutes(self) -> float:
        """Of the speech that was looked at."""
        return self.frames / 3000

    @property
    def is_even(self) -> bool:
        """Whether no head looks at one place more than at others: there is nothing to read."""
        return max(peak for layer in self.layers for peak in layer.peaks) < PEAKED

    @property
    def mean_left(self) -> float:
        """The mean over the layers of what their blocks leave before the first step."""
        return fmean(layer.left_in_all for layer in self.layers)

    @property
    def ranking(self) -> tuple[int, ...]:
        """The numbers of the layers, from the cheapest to replace; empty if the file does not tell.

        Cheapest is the one of whose attention the block leaves least, after a transfer if all had one.
        """
        for cost in ("left_after", "left_in_all"):
            costs = {layer.layer: getattr(layer, cost) for layer in self.layers}
            if None not in costs.values():
                return tuple(sorted(costs, key=lambda layer: (costs[layer], layer)))
        return ()

    def describe(self) -> str:
        """For people: a line for each layer, or that there is nothing to read."""
        lines = [f"where the heads look, in frames of 20 ms, from {self.minutes:.1f} minutes of speech:"]
        for layer in self.layers:
            windows = ", ".join(f"{first}..{last}" for first, last in layer.windows)
            lines.append(f"  layer {layer.layer}: {windows}")
        if self.is_even:
            lines.append(f"  {EVEN}")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_text(path, [json.dumps(asdict(self))])


def read_record(path: Path) -> HeadWindowsRecord:
    """Read the file.

    Raises:
        UserError: it does not exist or is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        layers = tuple(
            LayerHeads(
                layer=layer["layer"],
                windows=tuple((first, last) for first, last in layer["windows"]),
                left=tuple(layer["left"]),
                mass=tuple(map(tuple, layer["mass"])),
                left_in_all=layer.get("left_in_all"),
                left_after=layer.get("left_after"),
            )
            for layer in content.pop("layers")
        )
        return HeadWindowsRecord(layers=layers, **content)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: stage 2 with --mixer wsm_heads writes it, and espnet-wsm layers"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged or of another version ({error}): delete it and make it anew"
        ) from error


def check_upstream(record: HeadWindowsRecord, path: Path, digest: str) -> None:
    """Raise UserError if the record in the file ``path`` is of another upstream than that of ``digest``."""
    if record.upstream != digest:
        raise UserError(
            f"{path} was read off another upstream ({record.upstream[:12]} instead of {digest[:12]}): {ANEW}"
        )


def with_windows(config: "WsmConfig", path: Path, digest: str, layers: Sequence[int]) -> "WsmConfig":
    """``config`` with the windows in a file in place of ``windows: attention``; others come back as they are.

    Args:
        config: may have another mixer, or windows of its own.
        path: the file.
        digest: of the upstream.
        layers: numbers of the replaced layers, from the lowest.

    Raises:
        UserError: there is no file, or it is of another upstream or lacks a layer.
    """
    if not config.reads_heads or not layers:
        return config
    record = read_record(path)
    check_upstream(record, path, digest)
    known = {layer.layer: layer.windows for layer in record.layers}
    if missing := [layer for layer in layers if layer not in known]:
        raise UserError(f"{path} has no windows of layer {missing[0]}: {ANEW}")
    return replace(config, windows=[[list(window) for window in known[layer]] for layer in layers])
