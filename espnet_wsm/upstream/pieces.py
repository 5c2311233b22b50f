"""Utterances that are longer than an upstream takes, in pieces that overlap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from espnet_wsm.frames import HOP

MOST = 8  # pieces that go through at once
CONTEXT = 100  # frames (2 s) on either side of a piece that only serve as context for the others


def list_starts(frames: int, size: int, context: int = CONTEXT) -> list[int]:
    """First frames of the pieces of ``size`` frames that cover ``frames``; 0 alone if they fit into one.

    Two neighbours have ``2 * context`` frames in common, the last two more.
    """
    if frames <= size:
        return [0]
    last = frames - size
    return [*range(0, last, size - 2 * context), last]


@dataclass(frozen=True)
class Pieces:
    """How the utterances of a batch are cut up, and how the states of the pieces are joined again.

    Of what two neighbours have in common, each gives the half that is further from its edge, as far as the
    last piece allows.

    Args:
        starts: of each utterance, the first frames of its pieces.
        size: frames of a piece, where an utterance has several.
        samples: of such a piece.
        context: frames of a piece that its left neighbour gives.
    """

    starts: tuple[tuple[int, ...], ...]
    size: int
    samples: int
    context: int

    @classmethod
    def plan(cls, frames: Iterable[int], size: int, receptive_field: int) -> "Pieces":
        """Pieces of at most ``size`` frames, each of which sees ``receptive_field`` samples."""
        context = min(CONTEXT, size // 4)
        starts = tuple(tuple(list_starts(count, size, context)) for count in frames)
        return cls(starts, size, (size - 1) * HOP + receptive_field, context)

    def cut(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """The pieces of all waveforms (N,), one utterance after the other."""
        return [
            wav[start * HOP :][: self.samples] if len(starts) > 1 else wav
            for wav, starts in zip(wavs, self.starts, strict=True)
            for start in starts
        ]

    def join(self, states: Iterable[Tensor], frames: Sequence[int]) -> Tensor:
        """(B, T, D) states of the utterances, zeros behind their ends.

        Args:
            states: of the pieces, each (T', D), in the order of :meth:`cut`.
            frames: of each utterance.
        """
        pieces = list(states)
        joined = pieces[0].new_zeros(len(self.starts), max(frames), pieces[0].size(-1))
        left = iter(pieces)
        for row, starts, count in zip(joined, self.starts, frames, strict=True):
            for start in starts:  # the next piece overwrites the end of this one
                skipped = self.context if start else 0
                end = min(start + self.size, count)
                row[start + skipped : end] = next(left)[skipped : end - start]
        return joined
