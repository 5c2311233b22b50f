"""Attention's values, averaged over a fixed window of each head."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_wsm.mixing.block import MixingBlock
from espnet_wsm.mixing.means import masked_mean, running_mean
from espnet_wsm.mixing.stream_memory import StreamMemory
from espnet_wsm.mixing.windows import weighted_windowed_mean, windowed_mean


class HeadWindows(MixingBlock):
    """A pre-trained head looks at a stretch beside the frame, always the same; a mean around it misses that.

        v_t = W_V x_t + b_V
        l_t^h = sum_j exp(k_j^h) v_j^h / sum_j exp(k_j^h)      over t + a_h <= j <= t + b_h
        h_t = W_O [l_t^1; ...; l_t^H] + b_O + G (1/T) sum_j v_j + C gelu(F x_t + b_F)

    with values and output of the attention that it stands for, whose scores q_t k_j become a window
    [a_h, b_h] of each head and a weight k_j^h = K_h x_j of each frame. G, C and K start at zero: what is
    learnt first is attention with a fixed pattern. Ours, not the paper's block. O(T log(b - a)) in time.

    Args:
        dim: channels of the model, a multiple of the number of windows.
        windows: [a_h, b_h] of each head in frames of 20 ms relative to the frame: (6, 21) lies ahead of it. A
            window without a frame of the utterance gives zeros.
        key_weights: whether frames have weights; False for the plain mean of each window.
        per_frame_width: channels of F, 0 for no per-frame path; None = half of ``dim``, with which the block
            has as many weights as attention.
        global_summary: False omits the mean over the utterance.
        dropout: on what W_O, G and C are applied to, 0 to 1.
        max_look_ahead: the most frames after t that h_t may depend on: a window that goes further ends there
            (one that lies wholly beyond is that frame), and the mean is over the frames up to t. None for no
            such limit.
    """

    def __init__(
        self,
        dim: int,
        windows: Sequence[tuple[int, int]],
        key_weights: bool = True,
        per_frame_width: int | None = None,
        global_summary: bool = True,
        dropout: float = 0.0,
        max_look_ahead: int | None = None,
    ):
        super().__init__(dropout)
        if not windows or dim % len(windows):
            raise ValueError(
                f"dim has to be a multiple of the number of windows, got {dim} and {len(windows)}"
            )
        for window in windows:
            if len(window) != 2 or not all(type(end) is int for end in window) or window[0] > window[1]:
                raise ValueError(f"a window is its first and its last frame, got {window!r}")
        width = dim // 2 if per_frame_width is None else per_frame_width
        if width < 0:
            raise ValueError(f"per_frame_width has to be 0 or more, got {width}")
        self.dim = dim
        most = math.inf if max_look_ahead is None else max_look_ahead
        if most < 0:
            raise ValueError(f"max_look_ahead is a number of frames, 0 or more, got {most}")
        self.windows = self.spans = tuple((min(first, most), min(last, most)) for first, last in windows)
        self.sees_everything = global_summary and max_look_ahead is None
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, len(windows), bias=False) if key_weights else None
        self.global_out = nn.Linear(dim, dim, bias=False) if global_summary else None
        self.frame = nn.Linear(dim, width) if width else None
        self.combine = nn.Linear(width, dim, bias=False) if width else None
        for layer in (self.key, self.global_out, self.combine):
            if layer is not None:
                nn.init.zeros_(layer.weight)

    def make_parts(
        self, x: Tensor, padding_mask: Tensor | None, memory: StreamMemory | None = None
    ) -> list[Tensor]:
        """The heads' local means, the mean of all values, and the per-frame path."""
        value = self.value(x)
        near = (value,) if self.key is None else (value, self.key(x))
        if memory is not None:
            near = memory.put_before(*near)
        before = near[0].size(1) - x.size(1)
        heads = zip(
            near[0].chunk(len(self.windows), dim=-1), self.windows, strict=True
        )  # (B, T, dim / H) each
        if self.key is None:
            local = [windowed_mean(v, window, padding_mask) for v, window in heads]
        else:
            weights = near[1].unbind(dim=-1)  # (B, T) each
            local = [
                weighted_windowed_mean(v, weight, window, padding_mask)
                for (v, window), weight in zip(heads, weights, strict=True)
            ]
        parts = [torch.cat(local, dim=-1)[:, before:]]
        if self.global_out is not None and memory is not None:
            parts.append(memory.average(value))
        elif self.global_out is not None and not self.sees_everything:
            parts.append(running_mean(value, padding_mask))
        elif self.global_out is not None:
            parts.append(masked_mean(value, padding_mask).unsqueeze(1))  # (B, 1, dim)
        if self.frame is not None:
            parts.append(F.gelu(self.frame(x)))
        return [self.dropout(part) for part in parts]

    def get_merging(self) -> tuple[Sequence[Tensor], Tensor]:
        """W_O, G and C, as far as they are there."""
        layers = (self.out, self.global_out, self.combine)
        return [layer.weight for layer in layers if layer is not None], self.out.bias

    def extra_repr(self) -> str:
        """What the child modules do not show."""
        return f"windows={self.windows}"
