"""What a conversion leaves, by the duration of the utterance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from espnet_wsm.transfer.audio_pool import AudioPool, Piece
from espnet_wsm.transfer.learning import Spread
from espnet_wsm.transfer.together import Comparison

# Of utterances, in seconds, whose errors are told apart.
DURATIONS = (10.0, 20.0)

# The states (B, T, D) below the layers, and their padding mask (B, T), True = padded, or None.
Hidden = tuple[Tensor, Tensor | None]
Encode = Callable[[Sequence[Piece]], Hidden]


@dataclass(frozen=True)
class DurationErrors:
    """Errors on held-out utterances of some duration.

    Args:
        durations: e.g. ``10 to 20 s``.
        seconds: of audio.
        errors: of each converted layer's output, then of the encoder's.
    """

    durations: str
    seconds: float
    errors: tuple[float, ...]


@torch.no_grad()
def measure_by_duration(compared: Comparison, encode: Encode, pool: AudioPool) -> tuple[DurationErrors, ...]:
    """The errors on held-out utterances of each class of durations, and on all of them, by one variance."""
    ends = (*DURATIONS, float("inf"))
    totals: dict[int, list[Any]] = {}
    spread = Spread()
    for piece in (piece for batch in pool.held_out for piece in batch):
        hidden, _ = encode([piece])
        targets = compared.find_targets(hidden, None)
        spread.add(targets, None)
        squares = compared.sum_squares(hidden, None, targets).double()
        place = next(place for place, end in enumerate(ends) if piece.seconds < end)
        for key in (place, len(ends)):
            total = totals.setdefault(key, [0.0, 0, 0.0])
            total[0] = total[0] + squares
            total[1] += hidden.size(1)
            total[2] += piece.seconds
    names = [f"below {ends[0]:g} s", f"{ends[0]:g} to {ends[1]:g} s", f"{ends[1]:g} s and more", "all"]
    return tuple(
        DurationErrors(
            names[place],
            seconds,
            tuple(
                square / frames / variance
                for square, variance in zip(squares.tolist(), spread.variances, strict=True)
            ),
        )
        for place, (squares, frames, seconds) in sorted(totals.items())
    )
