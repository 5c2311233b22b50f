"""How many bytes of samples a header claims and how many there are: wav, rf64, w64, aiff, au and sphere."""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from espnet_wsm.frames import HOP, SAMPLE_RATE

# Audio that may be missing from the end: the encoder drops an incomplete last frame of this length anyway,
# and a header that counts itself is off by less. A copy that broke off lacks more.
MOST_MISSING = HOP / SAMPLE_RATE  # seconds


@dataclass(frozen=True)
class Extent:
    """Bytes of samples: ``claimed`` by the header, and ``actual`` in the file. The header holds the former
    plus ``overhead`` at byte ``at``, in the format ``field`` of struct (empty: as text, never changed)."""

    claimed: int
    actual: int
    at: int = 0
    field: str = ""
    overhead: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the size is what those leave who cannot return to the header (they write to a pipe): 0, a
        little below 2 or 4 GiB, or the largest numbers of 64 bits."""
        size = self.claimed
        return size == 0 or 0x7FFF0000 <= size <= 0x80000024 or 0xFFFF0000 <= size <= 2**32 or size >= 2**62

    def find_correction(self) -> tuple[int, bytes] | None:
        """(position, bytes) of the size as it should be; None if the header needs or allows no change."""
        if not self.field or not (self.claimed > self.actual or self.is_open):
            return None
        largest = 2 ** (8 * struct.calcsize(self.field)) - 1
        return self.at, struct.pack(self.field, min(self.actual + self.overhead, largest))


class CorrectedFile(io.FileIO):
    """A file to be read as if ``correction``, (position, bytes), were in it."""

    def __init__(self, path: Path, correction: tuple[int, bytes]):
        super().__init__(path)
        self.at, self.right = correction

    def readinto(self, buffer) -> int:
        """As of any file."""
        begin, number = self.tell(), super().readinto(buffer)
        first, last = max(begin, self.at), min(begin + number, self.at + len(self.right))
        if first < last:
            memoryview(buffer).cast("B")[first - begin : last - begin] = self.right[
                first - self.at : last - self.at
            ]
        return number


@dataclass(frozen=True)
class Layout:
    """A container of chunks. ``head`` is the format of a chunk's name and size, of which ``counted`` bytes
    are the head itself; chunks begin at multiples of ``align``. In the chunk ``name``, ``skipped`` bytes come
    before the samples."""

    head: str
    begin: int
    name: bytes
    skipped: int = 0
    counted: int = 0
    align: int = 2


W64_GUID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"
LAYOUTS = {
    b"RIFF": Layout("<4sI", 12, b"data"),
    b"RIFX": Layout(">4sI", 12, b"data"),
    b"RF64": Layout("<4sI", 12, b"data"),
    b"FORM": Layout(">4sI", 12, b"SSND", skipped=8),
    b"riff": Layout("<16sQ", 40, b"data" + W64_GUID, counted=24, align=8),
}


def _walk_chunks(file: BinaryIO, layout: Layout, at: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, size, position behind the head) of the chunks from ``at``, and last an empty name at the end."""
    length = struct.calcsize(layout.head)
    while True:
        file.seek(at)
        head = file.read(length)
        if len(head) < length:
            yield b"", 0, at
            return
        name, size = struct.unpack(layout.head, head)
        size = max(0, size - layout.counted)
        yield name, size, at + length
        at += length + size
        at += -at % layout.align


def _is_chunks(file: BinaryIO, layout: Layout, at: int, end: int) -> bool:
    """Whether all that follows ``at`` is chunks, not samples."""
    for name, _, position in _walk_chunks(file, layout, at):
        if not name:
            return end <= position <= end + 1
        if not re.match(rb"[ -~]{4}", name):
            return False
    return False


def _find_in_chunks(file: BinaryIO, layout: Layout, end: int) -> Extent | None:
    long_size, size_format = None, layout.head[0] + layout.head[-1]
    for name, size, at in _walk_chunks(file, layout, layout.begin):
        if name == b"ds64":
            file.seek(at + 8)
            long_size = struct.unpack("<Q", file.read(8))[0], at + 8
        elif name == layout.name:
            overhead, first = layout.skipped + layout.counted, at + layout.skipped
            claimed, actual = max(0, size - layout.skipped), max(0, end - first)
            position = at - struct.calcsize(size_format)
            if long_size and size == 2**32 - 1:
                (claimed, position), size_format = long_size, "<Q"
            if not claimed and _is_chunks(file, layout, first, end):
                actual = 0
            return Extent(claimed, actual, position, size_format, overhead)
    return None


def _find_in_sphere(file: BinaryIO, end: int) -> Extent | None:
    """A NIST sphere header: lines of text, of which the second is the header's length."""
    file.seek(8)
    length = int(file.read(8))
    file.seek(0)
    header = file.read(length).decode("latin-1")
    fields = dict(re.findall(r"^(\w+) -\S+ (\S+)", header, re.MULTILINE))
    claimed = int(fields["sample_count"]) * int(fields["channel_count"]) * int(fields["sample_n_bytes"])
    return Extent(claimed, max(0, end - length))


def find_extent(path: Path) -> Extent | None:
    """Bytes of samples in a file, None if its format does not claim any or is not understood."""
    with path.open("rb") as file:
        end = path.stat().st_size
        magic = file.read(12)
        try:
            if magic[:4] in LAYOUTS and (magic[:4] != b"FORM" or magic[8:11] == b"AIF"):
                return _find_in_chunks(file, LAYOUTS[magic[:4]], end)
            if magic[:4] in (b".snd", b"dns."):
                order = ">" if magic[:4] == b".snd" else "<"
                first, claimed = struct.unpack(f"{order}II", magic[4:])
                return Extent(claimed, max(0, end - first), 8, f"{order}I")
            if magic.startswith(b"NIST_1A\n"):
                return _find_in_sphere(file, end)
        except (
            struct.error,
            ValueError,
            KeyError,
            OverflowError,
        ):  # libsndfile will say what it thinks of it
            return None
    return None
