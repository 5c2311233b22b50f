"""Means over a window of frames beside each frame: linear in time, by additions alone."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.compiler import is_exporting

from espnet_wsm.mixing.means import masked_mean, zero_padding
from espnet_wsm.mixing.transforms import is_transformed


def windowed_mean(x: Tensor, window: int | tuple[int, int], padding_mask: Tensor | None = None) -> Tensor:
    """Mean over the frames of a window at each frame.

    Summing the frames of each window costs O(T * window), and the difference of two running sums loses digits
    and spreads an infinite frame over all that follow. Here sums over 1, 2, 4, ... frames are added up to the
    width of the window (its binary digits say which): O(T log window), nothing cancels, and what is not
    finite spoils only the windows that it lies in. Half-precision input is accumulated in float32 and rounded
    once.

    Args:
        x: (B, T, D), any floating dtype.
        window: half width in frames of 20 ms (10 = 200 ms on either side), 0 being the frame itself; or first
            and last frame relative to each frame, e.g. (6, 21) for a stretch that lies ahead. The window is
            clipped at both ends of the utterance.
        padding_mask: (B, T) bool, True = padded; None = no padding.

    Returns:
        (B, T, D) in the dtype of ``x``; zeros at padded frames, and where a window has no frame of the
        utterance.

    Raises:
        ValueError: ``window`` is negative, or ends before it begins.
    """
    first, last = _read_window(window)
    length = x.size(1)
    if not is_exporting() and min(-first, last) >= length - 1:  # every window holds the whole utterance
        return zero_padding(masked_mean(x, padding_mask).unsqueeze(1).expand_as(x), padding_mask)
    wide = zero_padding(x.to(torch.promote_types(x.dtype, torch.float32)), padding_mask)
    if padding_mask is None:
        frames = torch.arange(length, dtype=wide.dtype, device=x.device).unsqueeze(-1)
        # (T, 1); below 1 where a window lies beyond the utterance
        count = (frames + (last + 1)).clamp(max=length) - (frames + first).clamp(min=0)
    else:
        count = _add_up((~padding_mask).to(wide.dtype).unsqueeze(-1), first, last)  # (B, T, 1)
    # A call of an autograd function costs as much as the sums of some seconds of audio.
    add_up = _WindowedSum.apply if wide.requires_grad and torch.is_grad_enabled() else _add_up
    return zero_padding((add_up(wide, first, last) / count.clamp(min=1.0)).to(x.dtype), padding_mask)


def weighted_windowed_mean(
    values: Tensor, log_weights: Tensor, window: int | tuple[int, int], padding_mask: Tensor | None = None
) -> Tensor:
    """Mean over the frames of a window, each frame with a weight of its own.

        y_t = sum_j exp(k_j) v_j / sum_j exp(k_j)      over the frames j of the window of t

    as attention would whose scores did not depend on t. With large k, exp(k) overflows; taken relative to the
    utterance's largest k, all weights of a window far below it vanish. So where the k of an utterance lie far
    apart, each partial sum carries the largest k of its own frames. O(T log window), forward and backward;
    computed in float32 at least. Second derivatives are not available.

    Args:
        values: v, (B, T, D), any floating dtype.
        log_weights: k, (B, T). Zeros give the plain mean.
        window: as of windowed_mean.
        padding_mask: (B, T) bool, True = padded; None = no padding.

    Returns:
        (B, T, D) in the dtype of ``values``; zeros at padded frames, and where a window has no frame of the
        utterance.

    Raises:
        ValueError: ``window`` is negative, or ends before it begins.
    """
    first, last = _read_window(window)
    wide = torch.promote_types(values.dtype, torch.float32)
    weights = log_weights.to(wide).unsqueeze(-1)  # (B, T, 1)
    if padding_mask is not None:
        weights = weights.masked_fill(padding_mask.unsqueeze(-1), -torch.inf)
    mean, _ = _WeightedMean.apply(zero_padding(values.to(wide), padding_mask), weights, first, last)
    return zero_padding(mean.to(values.dtype), padding_mask)


def _read_window(window: int | tuple[int, int]) -> tuple[int, int]:
    """First and last frame of a window, relative to the frame that it belongs to."""
    if isinstance(window, int):
        if window < 0:
            raise ValueError(f"window is a number of frames and cannot be negative, got {window}")
        return -window, window
    first, last = window
    if first > last:
        raise ValueError(f"a window has to end where it begins or later, got {list(window)}")
    return first, last


def _frames_of(x: Tensor, first: int, last: int, value: float = 0.0) -> tuple[Tensor, int]:
    """Frames that lie in windows, (B, T + width - 1, D), and the width; beyond the utterance is ``value``.

    A window is clipped to what can lie in the utterance, so that the cost of wider ones does not grow. One
    that lies wholly beyond has the width 1 and holds ``value``. In a graph that is traced for utterances of
    any length it is not clipped.
    """
    length = x.size(1)
    if is_exporting():
        padded = F.pad(x, (0, 0, max(-first, 0), max(last, 0)), value=value)
        return padded[:, max(first, 0) : padded.size(1) + min(last, 0)], last - first + 1
    first, last = max(first, -length), min(last, length)
    if first > last:  # beyond either end: T + 1 and more frames away
        first = last = length
    return F.pad(x, (0, 0, -first, last), value=value), last - first + 1


# Logarithms of weights of an utterance that lie no further apart are taken relative to the largest one: the
# products of float32 that follow stay within its range.
ALIKE = 30.0
LONG = 4  # frames between the ends of windows for which that is asked
Parts = tuple[Tensor, ...]  # (B, T, ...) each: what a partial sum consists of


def _double(spans: Parts, width: int, length: int, join: Callable[[Parts, Parts], Parts]) -> Parts:
    """Sums over ``width`` frames from those over one, (B, length + width - 1, ...) to (B, length, ...).

    ``join`` adds two sums over frames that follow each other.
    """
    total, taken, span = None, 0, 1
    while True:  # ``spans`` are sums over ``span`` frames, by their first frame
        if width & span:
            part = tuple(each[:, taken : taken + length] for each in spans)
            total = part if total is None else join(total, part)
            taken += span
        if 2 * span > width:
            return total
        spans = join(tuple(each[:, :-span] for each in spans), tuple(each[:, span:] for each in spans))
        span *= 2


def _add_up(x: Tensor, first: int, last: int) -> Tensor:
    """Sums over [t + first, t + last], clipped: (B, T, D) to (B, T, D)."""
    frames, width = _frames_of(x, first, last)
    (total,) = _double((frames,), width, x.size(1), lambda one, other: (one[0] + other[0],))
    return total


class _WindowedSum(torch.autograd.Function):
    """``_add_up``; its gradient is the sum over the mirrored window, for which nothing has to be kept."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, first: int, last: int) -> Tensor:
        return _add_up(x, first, last)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.window = inputs[1:]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        first, last = ctx.window
        return _WindowedSum.apply(gradient, -last, -first), None, None


def _join(one: Parts, other: Parts) -> Parts:
    """The sum of two numbers of the form s exp(m), in that form."""
    most = torch.maximum(one[1], other[1])
    finite = most.clamp(min=torch.finfo(most.dtype).min)  # two that are zero, exp(-inf), give zero
    return one[0] * (one[1] - finite).exp() + other[0] * (other[1] - finite).exp(), most


def _add_up_weighted(x: Tensor, log_weights: Tensor, first: int, last: int) -> Parts:
    """Sums of exp(k_j) x_j over [t + first, t + last], clipped, as s (B, T, D) and m: s exp(m).

    m is (B, T, 1); (B, 1, 1) where the weights of each utterance are alike enough for one.
    """
    # On a GPU, asking would cost more than it spares. In short windows little is spared, and the
    # gradient of a weight that changes nothing, as it is alone in its window, is exactly zero without
    # this.
    if last - first >= LONG and x.device.type == "cpu" and not is_transformed() and x.size(1):
        most = log_weights.amax(dim=1, keepdim=True).clamp(min=torch.finfo(log_weights.dtype).min)
        least = log_weights.masked_fill(log_weights == -torch.inf, torch.inf).amin(dim=1, keepdim=True)
        if bool((most - least <= ALIKE).all()):
            return _add_up(x * (log_weights - most).exp(), first, last), most
    frames, width = _frames_of(x, first, last)
    weights, _ = _frames_of(log_weights, first, last, value=-torch.inf)
    return _double((frames, weights), width, x.size(1), _join)


class _WeightedMean(torch.autograd.Function):
    """The weighted mean y and the logarithm of the sum of weights z, which has no gradient.

        dL/dv_j = sum_t p_tj g_t                 with p_tj = exp(k_j - z_t), over the t in whose window j lies
        dL/dk_j = sum_t p_tj (v_j - y_t) g_t

    Both are weighted sums over the mirrored window, with the weights exp(-z_t).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, log_weights: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
        with_one = torch.cat([values, torch.ones_like(log_weights)], dim=-1)  # (B, T, D + 1)
        sums, scale = _add_up_weighted(with_one, log_weights, first, last)
        weight = sums[..., -1:]
        empty = weight == 0
        mean = sums[..., :-1] / weight.masked_fill(empty, 1.0)
        return mean, (weight.log() + scale).masked_fill(empty, -torch.inf)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        values, log_weights, *ctx.window = inputs
        mean, log_sum = output
        ctx.mark_non_differentiable(log_sum)
        ctx.save_for_backward(values, log_weights, mean, log_sum)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor, _log_sum: Tensor) -> tuple[Tensor, Tensor, None, None]:
        values, log_weights, mean, log_sum = ctx.saved_tensors
        first, last = ctx.window
        with_mean = torch.cat([gradient, (gradient * mean).sum(dim=-1, keepdim=True)], dim=-1)
        inverse = (-log_sum).masked_fill(log_sum == -torch.inf, -torch.inf)
        sums, scale = _add_up_weighted(with_mean, inverse, -last, -first)
        # The weight of a frame is at most that of any window it lies in: the exponent is never above 0.
        sums = sums * (log_weights + scale).exp()
        for_values = sums[..., :-1]
        for_weights = (values * for_values).sum(dim=-1, keepdim=True) - sums[..., -1:]
        return for_values, for_weights, None, None
