"""The mixing blocks that replace self-attention."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_wsm.mixing.block import MixingBlock
from espnet_wsm.mixing.means import masked_mean, running_mean
from espnet_wsm.mixing.stream_memory import StreamMemory
from espnet_wsm.mixing.windows import windowed_mean


class HeadwiseLinear(nn.Module):
    """A per-frame projection with independent heads: a block-diagonal matrix.

    SummaryMixing (arXiv 2307.07421) splits its projections this way; one head is a plain linear layer.

    Args:
        dim_in: input channels, a multiple of ``heads``.
        dim_out: output channels, a multiple of ``heads``.
        heads: number of blocks; the number of weights shrinks by this factor.
    """

    def __init__(self, dim_in: int, dim_out: int, heads: int = 1):
        super().__init__()
        for name, size in (("dim", dim_in), ("width", dim_out)):
            if size % heads:
                raise ValueError(f"{name} has to be a multiple of heads, got {name}={size} and heads={heads}")
        self.heads = heads
        self.blocks = nn.ModuleList(nn.Linear(dim_in // heads, dim_out // heads) for _ in range(heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim_in) to (B, T, dim_out)."""
        parts = x.chunk(self.heads, dim=-1)
        return torch.cat([block(part) for block, part in zip(self.blocks, parts, strict=True)], dim=-1)


def _project(dim: int, hidden: Sequence[int], width: int, heads: int) -> nn.Module:
    """f or s without its last GELU: a linear layer, or several with a GELU between them."""
    *first, last = (HeadwiseLinear(*sizes, heads) for sizes in pairwise((dim, *hidden, width)))
    return nn.Sequential(*(m for layer in first for m in (layer, nn.GELU())), last) if first else last


class _SummaryBlock(MixingBlock):
    """The frame's own transform, any number of local summaries and at most one global summary, combined by c.

    c is applied to each of its inputs separately instead of to their concatenation, so the global mean is
    projected once per utterance rather than once per frame.
    """

    def __init__(
        self,
        dim: int,
        width: int | None,
        heads: int,
        dropout: float,
        windows: Sequence[int],
        global_summary: bool,
        shared_projection: bool,
        hidden: Sequence[int],
        combine_activation: str,
        causal: bool,
    ) -> None:
        super().__init__(dropout, combine_activation)
        width = dim if width is None else width
        for name, value in (("dim", dim), ("width", width), ("heads", heads)):
            if value < 1:
                raise ValueError(f"{name} has to be at least 1, got {value}")
        for size in hidden:
            if size < 1 or size % heads:
                raise ValueError(f"hidden has to be multiples of heads, got hidden={size} and heads={heads}")
        for window in windows:
            if not isinstance(window, int) or isinstance(window, bool) or window < 0:
                raise ValueError(f"window is a number of frames, 0 or more, got {window!r}")
        if not windows and not global_summary:
            raise ValueError("a block without a window and without the global summary would not mix anything")
        self.dim, self.width, self.heads = dim, width, heads
        self.windows = tuple(windows)
        self.global_summary = global_summary
        self.causal = causal
        self.spans = [(-2 * window, 0) if causal else (-window, window) for window in windows]
        self.sees_everything = global_summary and not causal
        self.frame = _project(dim, hidden, width, heads)
        self.summary = _project(dim, hidden, width, heads)
        self.local_summary = None
        if windows and global_summary and not shared_projection:
            self.local_summary = _project(dim, hidden, width, heads)
        self.combine = nn.Linear(width * (1 + len(self.windows) + global_summary), dim)

    def make_parts(
        self, x: Tensor, padding_mask: Tensor | None, memory: StreamMemory | None = None
    ) -> list[Tensor]:
        """f, the local summaries, and the global one."""
        summary = F.gelu(self.summary(x))  # (B, T, W)
        local = summary if self.local_summary is None else F.gelu(self.local_summary(x))
        parts = [F.gelu(self.frame(x))]
        if memory is not None and self.spans:
            (local,) = memory.put_before(local)
        before = local.size(1) - x.size(1)
        parts += [windowed_mean(local, span, padding_mask)[:, before:] for span in self.spans]
        if self.global_summary and memory is not None:
            parts.append(memory.average(summary))
        elif self.global_summary and self.causal:
            parts.append(running_mean(summary, padding_mask))
        elif self.global_summary:
            parts.append(masked_mean(summary, padding_mask).unsqueeze(1))  # (B, 1, W)
        return [self.dropout(part) for part in parts]

    def get_merging(self) -> tuple[Sequence[Tensor], Tensor]:
        """c, which is applied to each part instead of to their concatenation."""
        return self.combine.weight.split(self.width, dim=1), self.combine.bias

    def extra_repr(self) -> str:
        """What the child modules do not show."""
        return (
            f"windows={self.windows}, global_summary={self.global_summary}, "
            f"combine_activation={self.combine_activation}, causal={self.causal}"
        )


class SummaryMixing(_SummaryBlock):
    """Self-attention compares every pair of frames, which costs O(T^2); a mean over time costs O(T).

        s_bar = (1/T) sum_j s(x_j)        h_t = c([f(x_t); s_bar])

    where f and s are a projection followed by a GELU, and c projects back to ``dim`` (arXiv 2307.07421;
    written from the equations). The authors' form has one hidden layer in f and s and a GELU after c:
    ``hidden=[512], combine_activation="gelu"``.

    Args:
        dim: channels of the model.
        width: channels of f and s; None = ``dim``. A third of ``dim`` is a typical, economical value.
        heads: blocks of the block-diagonal f and s. c is a full matrix, so that heads mix (our choice; no
            paper states it).
        dropout: on the output of f and on the summaries, before c (our choice), 0 to 1.
        hidden: channels of hidden layers in f and s, each with a GELU behind it; multiples of ``heads``.
        combine_activation: what follows c, ``none`` or ``gelu``.
        causal: as of WindowedSummaryMixing: s_bar is the mean over the frames up to t.
    """

    def __init__(
        self,
        dim: int,
        width: int | None = None,
        heads: int = 1,
        dropout: float = 0.0,
        hidden: Sequence[int] = (),
        combine_activation: str = "none",
        causal: bool = False,
    ):
        super().__init__(
            dim,
            width,
            heads,
            dropout,
            windows=(),
            global_summary=True,
            shared_projection=True,
            hidden=hidden,
            combine_activation=combine_activation,
            causal=causal,
        )


class WindowedSummaryMixing(_SummaryBlock):
    """One mean per utterance "lacks local context"; the mean over a window around each frame adds it.

        l_t = (1/|N_t|) sum_{j in N_t} s(x_j)      N_t = {j : |j - t| <= w, 1 <= j <= T}
        h_t = c([f(x_t); l_t; s_bar])

    (arXiv 2602.09043.) The sums over windows take O(T log w) time, all else
    O(T); memory is O(T) for any w. A frame so needs the whole utterance. For speech that still goes on, ours:

        causal:  N_t = {j : t - 2w <= j <= t, 1 <= j}        s_bar_t = (1/t) sum_{j <= t} s(x_j)

    with the same 2w + 1 frames in a window, so that the mean is of as many frames and w means the same; they
    lie behind t, w frames further back in the middle. ``stream`` then mixes pieces of any size.

    Args:
        dim: channels of the model.
        width: channels of f and s; None = ``dim``.
        window: w, half width in frames of 20 ms, typically 5 to 50; several values give one local summary
            each. With T - 1 or more, the local summary equals the global one. The default is our choice; the
            paper does not state it.
        heads: blocks of the block-diagonal f and s.
        dropout: on the output of f and on the summaries, before c.
        global_summary: False omits the global summary (an ablation).
        shared_projection: True computes local and global summaries from one s, False from one s each (our
            choice; the paper does not state it).
        hidden: channels of hidden layers in f and s, as in SummaryMixing.
        combine_activation: what follows c, ``none`` or ``gelu``.
        causal: True looks at no frame after t.
    """

    def __init__(
        self,
        dim: int,
        width: int | None = None,
        window: int | Sequence[int] = 10,
        heads: int = 1,
        dropout: float = 0.0,
        global_summary: bool = True,
        shared_projection: bool = True,
        hidden: Sequence[int] = (),
        combine_activation: str = "none",
        causal: bool = False,
    ):
        windows = tuple(window) if isinstance(window, Sequence) else (window,)
        if not windows:
            raise ValueError("window needs at least one value; for none, use SummaryMixing")
        super().__init__(
            dim,
            width,
            heads,
            dropout,
            windows,
            global_summary,
            shared_projection,
            hidden,
            combine_activation,
            causal,
        )
