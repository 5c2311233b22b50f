"""Audio in chunks, cut where it is quiet while it comes, and what is found in them put together again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from espnet_wsm.data.audio.pauses import LONGEST_SECONDS, cut_at_pauses
from espnet_wsm.frames import HOP, SAMPLE_RATE

# Of what is too long for one pass; docs/transcription.md says what others gave.
LONGEST = LONGEST_SECONDS * SAMPLE_RATE // HOP  # frames


@dataclass(frozen=True)
class Chunk:
    """(N,) samples of a recording from the frame ``start``; the next chunk, if there is one, follows them."""

    recording: "ChunkedRecording"
    start: int
    samples: Tensor
    is_last: bool

    def __len__(self) -> int:
        return len(self.samples)


@dataclass
class ChunkedRecording:
    """A recording that is being read, and what is found in its chunks.

    It is one chunk if it is no longer than ``size`` frames, else several of up to ``LONGEST`` frames, or of
    ``size``, if that is less (``cut_at_pauses``).

    Args:
        size: frames that go through in one pass.
        receptive_field: samples that a frame sees.
        samples: that have been cut.
        is_whole: whether the last chunk has been cut.
        joints: last frames of all chunks but the last.
    """

    size: int
    receptive_field: int
    samples: int = 0
    is_whole: bool = False
    joints: list[int] = field(default_factory=list)
    _frames: int = 0
    _found: list[Tensor] = field(default_factory=list)

    def cut(self, blocks: Iterable[np.ndarray]) -> Iterator[Chunk]:
        """The chunks of (N,) float32 samples in blocks, each a copy; none of no samples."""
        longest = min(LONGEST, self.size) * HOP
        most = self.size * HOP + self.receptive_field - 1  # one more makes another frame
        for piece, is_last in cut_at_pauses(blocks, longest, most):
            start, self.is_whole = self.samples // HOP, is_last
            self.samples += len(piece)
            if not is_last:
                self.joints.append(self.samples // HOP - 1)
            yield Chunk(self, start, torch.from_numpy(piece.copy()), is_last)
        self.is_whole = True

    def put(self, chunk: Chunk, rows: Sequence[Tensor]) -> None:
        """Keep tensors (T, ...) of the frames of a chunk, whichever of them is next.

        Where a chunk has one frame less than lie between it and the next one, its last counts twice. The
        room for all is doubled now and then: many small tensors would break up the memory that batches use.
        """
        end = chunk.start + (len(rows[0]) if chunk.is_last else len(chunk) // HOP)
        self._frames = max(self._frames, end)
        for place, row in enumerate(rows):
            if place == len(self._found):
                self._found.append(row.new_empty(0, *row.shape[1:]))
            room = self._found[place]
            if len(room) < end:
                self._found[place] = room.new_empty(max(end, 2 * len(room)), *room.shape[1:])
                self._found[place][: len(room)] = room
            self._found[place][chunk.start : end] = row[-1]
            self._found[place][chunk.start : end][: len(row)] = row[: end - chunk.start]

    def take(self) -> list[Tensor]:
        """Tensors (T, ...) of all frames; none of no samples."""
        return [room[: self._frames] for room in self._found]
