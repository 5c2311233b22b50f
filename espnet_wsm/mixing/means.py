"""Means over time that ignore padding: of an utterance, up to each of its frames, and of blocks of frames."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.compiler import is_exporting


def zero_padding(x: Tensor, padding_mask: Tensor | None) -> Tensor:
    """(B, T, D) with zeros at the frames where the (B, T) ``padding_mask`` is True; None = no padding."""
    return x if padding_mask is None else x.masked_fill(padding_mask.unsqueeze(-1), 0.0)


def masked_mean(x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """Mean over the valid frames of each utterance.

    Half-precision input is accumulated in float32 and rounded once, at the end.

    Args:
        x: (B, T, D), any floating dtype.
        padding_mask: (B, T) bool, True = padded; None = no padding.

    Returns:
        (B, D) in the dtype of ``x``; zeros for an utterance that is all padding.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if padding_mask is None:
        return wide.mean(dim=1).to(x.dtype)
    total = zero_padding(wide, padding_mask).sum(dim=1)
    count = (~padding_mask).sum(dim=1, keepdim=True).clamp(min=1)
    return (total / count).to(x.dtype)


# Frames over which sums are in single precision.
CHUNK = 128


def running_mean(
    x: Tensor, padding_mask: Tensor | None = None, total: Tensor | None = None, count: int = 0
) -> Tensor:
    """Mean over each frame and all before it.

        y_t = (1/t) sum_{j <= t} x_j

    A running sum in float32, frame after frame, loses digits: over 200,000 frames far from zero up to two of
    seven. One in float64 keeps them, at two to six times the time on a CPU. Here float32 adds up at most 128
    frames, and float64 the sums of these, which are few; in a graph that is exported, float64 adds up all.
    O(T) in time and memory. Half-precision input is accumulated in the same way and rounded once, at the end.

    Args:
        x: (B, T, D), any floating dtype.
        padding_mask: (B, T) bool, True = padded; None = no padding.
        total: (B, 1, D) sum of the frames before the first one, in float64; None for a beginning.
        count: number of these frames.

    Returns:
        (B, T, D) in the dtype of ``x``; zeros at padded frames.
    """
    length = x.size(1)
    wide = zero_padding(x.to(torch.promote_types(x.dtype, torch.float32)), padding_mask)
    if is_exporting():  # chunks would fix the length of the graph
        sums = wide.double().cumsum(dim=1).to(wide.dtype)
    else:
        sums = _add_up_so_far(wide, total)
    if padding_mask is None:
        counts = torch.arange(1, length + 1, device=x.device)[:, None]  # (T, 1)
    else:
        counts = (~padding_mask).cumsum(dim=1).clamp(min=1).unsqueeze(-1)  # (B, T, 1)
    return zero_padding((sums / (counts + count)).to(x.dtype), padding_mask)


def _add_up_so_far(x: Tensor, total: Tensor | None) -> Tensor:
    """(B, T, D) sums over each frame, all before it and ``total``, (B, 1, D) in float64 or None."""
    chunks = F.pad(x, (0, 0, 0, -x.size(1) % CHUNK)).unflatten(1, (-1, CHUNK))  # (B, C, CHUNK, D)
    inside = chunks.cumsum(dim=2)
    # Shifted, not a difference: what is not finite must not reach back to the beginning of its chunk.
    before = F.pad(inside[:, :-1, -1].double(), (0, 0, 1, 0)).cumsum(dim=1)  # (B, C, D)
    if total is not None:
        before = before + total
    return (inside + before.to(x.dtype).unsqueeze(2)).flatten(1, 2)[:, : x.size(1)]


def block_mean(x: Tensor, size: int, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Means over consecutive blocks of frames, the first one beginning with the utterance.

    Args:
        x: (B, T, D), any floating dtype.
        size: frames of a block, 1 or more; the last block may have fewer.
        padding_mask: (B, T) bool, True = padded; None = no padding.

    Returns:
        (B, S, D) means over the valid frames of each block in the dtype of ``x``, S = T / size rounded up,
        zeros for a block that is all padding; and (B, S) bool, True = all padding.
    """
    if padding_mask is None:
        padding_mask = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
    missing = -x.size(1) % size
    padded = F.pad(padding_mask, (0, missing), value=True).unflatten(1, (-1, size))  # (B, S, size)
    blocks = F.pad(x, (0, 0, 0, missing)).unflatten(1, (-1, size))  # (B, S, size, D)
    means = masked_mean(blocks.flatten(0, 1), padded.flatten(0, 1)).unflatten(0, padded.shape[:2])
    return means, padded.all(dim=-1)
