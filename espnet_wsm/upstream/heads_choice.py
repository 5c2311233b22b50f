"""What a configuration says by naming a ``heads.json``: ``layers: auto:K:PATH`` and ``windows: PATH``."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.checkpoint import find_checkpoint
from espnet_wsm.upstream.heads_record import HeadWindowsRecord, check_upstream, read_record, with_windows

if TYPE_CHECKING:
    from espnet_wsm.upstream.config import WsmConfig

AUTO = re.compile(r"auto:([1-9][0-9]*):(.+)")


def parse_auto(layers: Any) -> tuple[int, Path] | None:
    """``auto:2:x/heads.json`` -> (2, x/heads.json); None for anything else."""
    match = AUTO.fullmatch(layers) if isinstance(layers, str) else None
    return None if match is None else (int(match[1]), Path(match[2]))


def parse_file(windows: Any) -> Path | None:
    """The path of a ``.json``; None for anything else."""
    return Path(windows) if isinstance(windows, str) and windows.endswith(".json") else None


def with_cheapest_layers(config: "WsmConfig", count: int, path: Path) -> "WsmConfig":
    """``config`` with the numbers of the ``count`` layers that a file ranks as the cheapest to replace.

    Raises:
        UserError: there is no file, it is of another upstream or has no ranking, or ranks fewer layers.
    """
    record = _read_of_upstream(config, path)
    if not record.ranking:
        raise UserError(
            f"{path} does not rank its layers, so layers: auto:{count} cannot choose any: make it anew with "
            "`espnet-wsm layers`"
        )
    if count > len(record.ranking):
        raise UserError(
            f"layers: auto:{count} asks for {count} layers, but {path} ranks only {len(record.ranking)}"
        )
    return replace(config, layers=sorted(record.ranking[:count]))


def with_windows_of(config: "WsmConfig", path: Path) -> "WsmConfig":
    """``config`` with the windows in a file; those with another mixer come back as they are.

    Args:
        config: has ``windows: attention``.
        path: the file.

    Raises:
        UserError: there is no file, or it is of another upstream or lacks a layer.
    """
    if config.mixer != "wsm_heads":
        return config
    record = _read_of_upstream(config, path)
    below, places = config.place_cut(record.layers[-1].layer)  # a file goes up to the last layer
    return with_windows(config, path, record.upstream, [below + place + 1 for place in places])


def _read_of_upstream(config: "WsmConfig", path: Path) -> HeadWindowsRecord:
    record = read_record(path)
    check_upstream(record, path, find_checkpoint(config.upstream, config.trust).digest)
    return record
