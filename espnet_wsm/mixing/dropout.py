"""Dropout for training on a CPU: a quarter of the time, and nothing kept for the backward pass."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_wsm.mixing.transforms import is_transformed

LEVELS = 2**16  # numbers that 16 random bits can be


class LeanDropout(nn.Dropout):
    """PyTorch's dropout draws a number per element on a CPU, one after the other, and keeps a mask of floats.

    In the layers above the cut that is a fifth of a step's time and half of what autograd keeps. Here an
    element takes 16 of the 64 bits of a draw, so the probability is rounded to the nearest 1/65536, and the
    backward pass draws the same bits again from the seed. Seeds come from PyTorch's generator. On other
    devices, where masks are bytes and drawn in parallel, under ``torch.compile`` and the transforms of
    ``torch.func``, it is PyTorch's.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Zeros for a share ``p`` of the elements in training, the others scaled by 1 / (1 - p)."""
        least = round(self.p * LEVELS)
        if not self.training or x.device.type != "cpu" or not 0 < least < LEVELS or is_transformed():
            return F.dropout(x, self.p, self.training)
        seed = int(torch.randint(torch.iinfo(torch.int64).max, ()))
        return _Dropout.apply(x, least, seed)


class _Dropout(torch.autograd.Function):
    """Dropout of ``least`` of 65536, which bits drawn from ``seed`` choose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, least: int, seed: int) -> Tensor:
        ctx.choice = least, seed
        return _drop(x, least, seed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _drop(gradient, *ctx.choice), None, None


def _drop(x: Tensor, least: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
    draws.random_(torch.iinfo(torch.int64).min, None, generator=generator)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    kept = (bits >= least - LEVELS // 2).to(x.dtype)
    return (x * kept).mul_(LEVELS / (LEVELS - least))
