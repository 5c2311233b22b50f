"""What a block keeps of frames that come in pieces."""

import torch
from torch import Tensor

from espnet_wsm.mixing.means import running_mean


class StreamMemory:
    """A frame of a stream needs those before it, which are gone; keeping all would grow without end.

    Windows reach back so many frames, and a running mean is a sum and a count: that is all that is kept,
    whatever the length of the stream. The last ``open`` frames of a piece are seen but not taken in: they
    come again at the head of the next piece, with more frames ahead of them.

    Args:
        reach: frames before a frame that its windows hold.
    """

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self.open = 0
        self._count = 0  # frames averaged
        self._near: tuple[Tensor, ...] | None = None  # the last of them, (B, up to reach, C) each
        self._total: Tensor | None = None  # (B, 1, D), float64

    def put_before(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The values of a piece behind those of the frames that its windows hold.

        Args:
            values: (B, T, C) each, what is averaged over windows. They are taken in.

        Returns:
            (B, P + T, C) each, P up to ``reach``.
        """
        if self._near is not None:
            values = tuple(torch.cat(pair, dim=1) for pair in zip(self._near, values, strict=True))
        end = values[0].size(1) - self.open
        begin = max(0, end - self.reach)
        # Copies: a view would keep the whole piece.
        self._near = tuple(value[:, begin:end].clone() for value in values)
        return values

    def average(self, x: Tensor) -> Tensor:
        """Means of a piece (B, T, D) over each frame and all before it in the stream. It is taken in."""
        mean = running_mean(x, None, self._total, self._count)
        end = x.size(1) - self.open
        total = x[:, :end].sum(dim=1, keepdim=True, dtype=torch.float64)
        self._total = total if self._total is None else self._total + total
        self._count += end
        return mean
