"""Means over time that ignore padding: of an utterance, and of blocks of frames."""

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
