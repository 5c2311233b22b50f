"""What stored features depend on: the settings of a cache, and the audio of each utterance."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file

BYTES_PER_VALUE = {"float16": 2, "bfloat16": 2, "float32": 4}
CACHE_DTYPES = tuple(BYTES_PER_VALUE)
PLAN, WHOLE = "plan.json", "cache.json"
REMEDY = "run stage 2 again, or train without the cache (--cache false)"


@dataclass(frozen=True)
class AudioStamp:
    """State of an audio file: size in bytes, modification time, and the first 32 hexadecimal digits of the
    SHA-256 of its content. Only the digest decides whether it changed."""

    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True)
class Settings:
    """What all features of a cache depend on (``key``, defined by the caller) and how they are stored."""

    key: dict[str, str]
    dtype: str
    dim: int

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Settings":
        """The settings in a plan, in the closing record or in the header of a shard."""
        return cls(record["key"], record["dtype"], record["dim"])

    def differences_from(self, old: "Settings") -> list[str]:
        """``name was A, is B`` for everything that differs."""
        before, now = (
            {**each.key, "--cache_dtype": each.dtype, "channels": str(each.dim)} for each in (old, self)
        )
        return [
            f"{name} was {before.get(name, 'not recorded')}, is {now.get(name, 'no longer recorded')}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]


def stamp_audio(path: Path | str) -> AudioStamp:
    """Read the whole file and stamp it; raises UserError if it cannot be read."""
    try:
        stat = os.stat(path)
        digest = digest_file(path)[:32]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: run stage 2 again") from None
    return AudioStamp(stat.st_size, stat.st_mtime_ns, digest)


def stamp_if_unchanged(path: str, old: AudioStamp) -> AudioStamp | None:
    """The current stamp of a file whose content is the same as in ``old``; None if it changed or is gone.

    The content is read only if the modification time differs, e.g. after the dump was made again.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return None
    if (stat.st_size, stat.st_mtime_ns) == (old.size, old.mtime_ns):
        return old
    if stat.st_size != old.size:
        return None
    stamp = stamp_audio(path)
    return stamp if stamp.digest == old.digest else None


def format_bytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
