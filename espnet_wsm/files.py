"""Files that are either whole or not there."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary neighbour of ``path``, then move it into place in one step.

    The content is on the disk before the name is: a power cut leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write ``lines``, each ended by a line feed, as UTF-8, atomically."""
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    write_atomically(path, lambda temporary: temporary.write_bytes(data))
