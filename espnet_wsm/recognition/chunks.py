"""Audio in overlapping chunks, cut while it comes, and what is found in them put together again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from espnet_wsm.frames import HOP
from espnet_wsm.upstream.pieces import Pieces


@dataclass(frozen=True)
class Chunk:
    """(N,) samples of a recording from the frame ``start``, of which no earlier chunk stands for ``new``."""

    recording: "ChunkedRecording"
    start: int
    samples: Tensor
    new: int

    def __len__(self) -> int:
        return len(self.samples)


@dataclass
class ChunkedRecording:
    """A recording that is being read, and what is found in its chunks.

    A chunk is cut off as soon as it is known not to be the last one; that ends where the recording does. So
    the borders are those of ``Pieces.plan``, and no more than two chunks and a block are held.

    Args:
        size: frames of a chunk.
        receptive_field: samples that a frame sees.
        samples: that have come.
        is_whole: whether the last chunk has been cut.
    """

    size: int
    receptive_field: int
    samples: int = 0
    is_whole: bool = False
    _frames: int = 0
    _found: list[Tensor] = field(default_factory=list)

    def __post_init__(self):
        self._plan = Pieces.plan([], self.size, self.receptive_field)

    def cut(self, blocks: Iterable[np.ndarray]) -> Iterator[Chunk]:
        """The chunks of (N,) float32 samples in blocks, each a copy; none of no samples."""
        step, length = self.size - 2 * self._plan.context, self._plan.samples
        held, at = np.zeros(0, np.float32), 0  # the next chunk begins at that frame, the one before it at 0
        start = 0  # of the next chunk
        for block in blocks:
            self.samples += len(block)
            held = np.concatenate([held, block]) if len(held) else block
            while len(held) - at * HOP >= length + HOP:
                yield self._copy(start, held[at * HOP :][:length], step * HOP)
                held, at, start = held[at * HOP :], step, start + step
        self.is_whole = True
        if start:
            last = (len(held) - self.receptive_field) // HOP + 1 - self.size
            yield self._copy(start - step + last, held[last * HOP :][:length], len(held) - at * HOP)
        elif len(held):
            yield self._copy(0, held, len(held))

    def _copy(self, start: int, samples: np.ndarray, new: int) -> Chunk:
        return Chunk(self, start, torch.from_numpy(samples.copy()), new)

    def put(self, start: int, rows: Sequence[Tensor]) -> None:
        """Keep tensors (T, ...) of the frames of the next chunk.

        Of what it has in common with the one before, it gives all but the first frames (its context). The
        room for that is doubled now and then: many small tensors would break up the memory that batches use.
        """
        if not start:
            self._found, self._frames = [row.clone() for row in rows], len(rows[0])
            return
        begin, self._frames = start + self._plan.context, start + self.size
        for place, row in enumerate(rows):
            room = self._found[place]
            if len(room) < self._frames:
                self._found[place] = room.new_empty(max(self._frames, 2 * len(room)), *room.shape[1:])
                self._found[place][: len(room)] = room
            self._found[place][begin : self._frames] = row[self._plan.context : self.size]

    def take(self) -> list[Tensor]:
        """Tensors (T, ...) of all frames; none of no samples."""
        return [room[: self._frames] for room in self._found]
