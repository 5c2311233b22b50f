"""Means over time that ignore padding and cost O(T) for any window."""

import torch
import torch.nn.functional as F
from torch import Tensor


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


def windowed_mean(x: Tensor, window: int, padding_mask: Tensor | None = None) -> Tensor:
    """Mean over the frames at most ``window`` away from each frame.

    Pooling costs O(T * window). Here each sum is the difference of two cumulative sums, so time and memory
    are O(T) for every window. Subtracting two large numbers loses digits: after 50,000 frames, float32 would
    have lost half of them. The sums are therefore kept in float64, which preserves all digits of a float32
    ``x``; for a float64 ``x`` the error is about 1e-10 of its largest value. One infinite frame spoils all
    frames after it.

    Args:
        x: (B, T, D), any floating dtype.
        window: half width in frames of 20 ms (10 = 200 ms on either side); 0 returns the frame itself. The
            window is clipped at both ends of the utterance; T - 1 or more covers the whole utterance.
        padding_mask: (B, T) bool, True = padded; None = no padding.

    Returns:
        (B, T, D) in the dtype of ``x``; zeros at padded frames.

    Raises:
        ValueError: ``window`` is negative.
    """
    if window < 0:
        raise ValueError(f"window is a number of frames and cannot be negative, got {window}")
    length = x.size(1)
    if window >= length - 1:
        return zero_padding(masked_mean(x, padding_mask).unsqueeze(1).expand_as(x), padding_mask)

    if padding_mask is None:
        valid = torch.ones(1, length, dtype=torch.bool, device=x.device)
    else:
        valid = ~padding_mask
    total = _sum_within(zero_padding(x.double(), padding_mask).cumsum(dim=1), window)
    count = _sum_within(valid.double().cumsum(dim=1).unsqueeze(-1), window).clamp(min=1.0)
    return zero_padding((total / count).to(x.dtype), padding_mask)


def _sum_within(cumulative: Tensor, window: int) -> Tensor:
    """Turn (B, T, D) running sums into sums over [t - window, t + window], clipped; needs window < T - 1."""
    length = cumulative.size(1)
    upper = torch.cat([cumulative[:, window:], cumulative[:, -1:].expand(-1, window, -1)], dim=1)
    lower = F.pad(cumulative[:, : length - window - 1], (0, 0, window + 1, 0))
    return upper - lower
