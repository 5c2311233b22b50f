"""The shards of a cache: what their headers say of the features in them."""

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from espnet_wsm.data.features.key import AudioStamp, Settings
from espnet_wsm.errors import UserError

if TYPE_CHECKING:
    # Tensors rather than arrays, because numpy knows no bfloat16. Imported where features are written or
    # read: planning, closing and checking a cache start without it.
    import torch

# Run, job and number. Together they are unique, and a later run has greater names.
SHARD_NAME = re.compile(r"features\.(\d+)\.(\d+)\.(\d+)\.safetensors")
METADATA = "espnet_wsm_cache"


@dataclass(frozen=True)
class Shard:
    """The header of a shard: ``frames`` and ``audio`` stamps by id, ``order`` as in `SHARD_NAME`."""

    path: Path
    order: tuple[int, int, int]
    settings: Settings
    frames: dict[str, int]
    audio: dict[str, AudioStamp]


def _read_shard(path: Path, order: tuple[int, int, int]) -> Shard | None:
    """The header of ``path``, None if the file is truncated, damaged or not a shard."""
    try:
        with safe_open(path, framework="numpy") as shard:  # compares the size of the file with the header
            metadata = json.loads(shard.metadata()[METADATA])
            shapes = {id: shard.get_slice(id).get_shape() for id in shard.keys()}
        settings = Settings.of(metadata)
        audio = {id: AudioStamp(*metadata["audio"][id]) for id in shapes if id in metadata["crc32"]}
        frames = {id: shape[0] for id, shape in shapes.items() if shape[1:] == [settings.dim]}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: check its permissions") from None
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None
    return (
        Shard(path, order, settings, frames, audio)
        if frames.keys() == audio.keys() == shapes.keys()
        else None
    )


def checksum(features: "torch.Tensor") -> int:
    import torch

    return zlib.crc32(features.view(torch.uint8).numpy())


def scan_shards(out: Path) -> tuple[list[Shard], list[Path]]:
    """All shards in ``out``, earliest first, and the files that should be shards but cannot be read."""
    shards, damaged = [], []
    for path in sorted(out.iterdir()):
        if match := SHARD_NAME.fullmatch(path.name):
            shard = _read_shard(path, tuple(map(int, match.groups())))
            if shard:
                shards.append(shard)
            else:
                damaged.append(path)
    return sorted(shards, key=lambda shard: shard.order), damaged
