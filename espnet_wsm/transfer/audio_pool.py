"""Audio that a conversion learns from: stretches of up to some seconds, alone and joined, in batches."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_wsm.data.dump.batches import make_batches
from espnet_wsm.data.kaldi.excerpts import Excerpt
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE

HELD_OUT = 10  # of so many stretches one is held out,
HELD_OUT_SECONDS = 180.0  # until they have as much


@dataclass(frozen=True)
class Piece:
    """Stretches of audio, one after the other, that go through the upstream as one utterance."""

    excerpts: tuple[Excerpt, ...]

    @property
    def seconds(self) -> float:
        """Its duration."""
        return sum(excerpt.seconds for excerpt in self.excerpts)

    @property
    def frames(self) -> int:
        """About as many as the upstream makes of it."""
        return round(self.seconds * SAMPLE_RATE / HOP)

    def read(self) -> np.ndarray:
        """(N,) float32 at 16 kHz.

        Raises:
            UserError: the audio is faulty.
        """
        return np.concatenate([excerpt.read() for excerpt in self.excerpts])


@dataclass(frozen=True)
class AudioPool:
    """What is learnt from, and what is held out, in batches of pieces of similar length."""

    train: tuple[tuple[Piece, ...], ...]
    held_out: tuple[tuple[Piece, ...], ...]
    seconds: float


def make_pool(excerpts: Sequence[Excerpt], longest: float, frames: int, seed: int) -> AudioPool:
    """Each excerpt alone, and all of them once more, joined to pieces of ever other lengths.

    An encoder is to be right on short utterances and on long ones, and most sets have only the former.
    Neighbours are joined: they are of one recording, or of one speaker more often than not.

    Args:
        excerpts: in the order in which they are to be chosen from.
        longest: seconds of a piece, at most.
        frames: of 20 ms in a batch, padding included.
        seed: of the lengths.

    Raises:
        UserError: there is only one.
    """
    if len(excerpts) < 2:
        raise UserError(
            "a conversion needs two utterances, one to learn from and one to measure: give more audio"
        )
    held_out, seconds = set(), 0.0
    for place in range(0, len(excerpts), HELD_OUT):
        if held_out and seconds >= HELD_OUT_SECONDS:
            break
        held_out.add(excerpts[place])
        seconds += excerpts[place].seconds
    rest = [excerpt for excerpt in excerpts if excerpt not in held_out]
    train, measured = (
        tuple(map(tuple, make_batches(_arrange(part, longest, seed), _count, frames)))
        for part in (rest, [excerpt for excerpt in excerpts if excerpt in held_out])
    )
    return AudioPool(train, measured, sum(excerpt.seconds for excerpt in excerpts))


_count: Callable[[Piece], int] = Piece.frames.fget  # type: ignore[attr-defined]


def _arrange(excerpts: Sequence[Excerpt], longest: float, seed: int) -> list[Piece]:
    """Pieces in the order of their lengths."""
    draw, joined = random.Random(seed), []
    group: list[Excerpt] = []
    room = draw.uniform(longest / 3, longest)
    for excerpt in sorted(excerpts, key=lambda each: (str(each.audio), each.start)):
        if group and sum(each.seconds for each in group) + excerpt.seconds > room:
            joined.append(Piece(tuple(group)))
            group, room = [], draw.uniform(longest / 3, longest)
        group.append(excerpt)
    joined.append(Piece(tuple(group)))
    alone = [Piece((excerpt,)) for excerpt in excerpts]
    more = [piece for piece in joined if len(piece.excerpts) > 1]
    return sorted([*alone, *more], key=lambda piece: piece.seconds)
