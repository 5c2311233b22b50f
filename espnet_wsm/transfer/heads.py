"""Where the heads of an attention look, and the windows that stand for them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_wsm.files import digest_text
from espnet_wsm.mixing.windows import windowed_mean
from espnet_wsm.transfer.watch import run_with_weights, watch_attention
from espnet_wsm.upstream.families.contract import mark_padding
from espnet_wsm.upstream.heads_record import HeadWindowsRecord, LayerHeads
from espnet_wsm.upstream.stored_cut import StoredCut
from espnet_wsm.upstream.suffix import TrainableSuffix

REACH = 100  # frames (2 s) on either side within which a window can lie
RARE = 0.1  # share of all frames; an offset that fewer have is not looked at: a few frames are chance
FRAMES_PER_MINUTE = 3000
SHARE = 0.1  # of a head's weight that its window leaves out on either side
TINY = 1e-30  # in place of a variance of zero

Batch = tuple[Tensor, tuple[int, ...]]  # (B, T, D) states below a cut, and the frames of each utterance


def sum_by_offset(weights: Tensor, reach: int = REACH) -> Tensor:
    """Sums over t of the weight that t gives t + o: (..., T, T) to (..., 2 reach + 1), from o = -reach."""
    frames = weights.size(-1)
    padded = F.pad(weights, (reach, reach)).contiguous()  # (..., T, T + 2 reach)
    width = frames + 2 * reach
    shape = (*padded.shape[:-2], frames, 2 * reach + 1)
    # Row t starts at t - reach: each row of this view starts one column further right.
    return padded.as_strided(shape, (*padded.stride()[:-2], width + 1, 1)).sum(dim=-2)


def count_by_offset(frames: int, reach: int = REACH) -> Tensor:
    """Number of frames t of an utterance for which t + o lies in it, (2 reach + 1,)."""
    return (frames - torch.arange(-reach, reach + 1).abs()).clamp(min=0)


def read_window(mass: Tensor, share: float = SHARE) -> tuple[int, int]:
    """The stretch in which most of a head's weight lies.

    What it gives every offset alike is no place where it looks: the smallest weight is taken off all. Of the
    rest, ``share`` lies before the window and as much behind it.

    Args:
        mass: (2 R + 1,) mean weight at the offsets -R to R.
        share: at least 0 and below 0.5.

    Returns:
        Its first and last frame, relative to the frame.
    """
    reach = len(mass) // 2
    above = (mass - mass.min()).double()
    below = above.cumsum(0) / above.sum().clamp(min=torch.finfo(torch.float64).tiny)
    first, last = torch.searchsorted(below, torch.tensor([share, 1 - share], dtype=torch.float64)).tolist()
    return min(first, 2 * reach) - reach, min(last, 2 * reach) - reach


@dataclass
class _Looks:
    """Where the heads of one layer look: sums over utterances.

    Args:
        weight: (H, 2 R + 1) by offset.
        even: (2 R + 1,) the same of a head that looks at all frames of an utterance alike.
        count: (2 R + 1,) pairs of frames at that offset.
    """

    weight: Tensor | float = 0.0
    even: Tensor | float = 0.0
    count: Tensor | float = 0

    def add(self, weights: Tensor, lengths: Sequence[int]) -> None:
        """Add (B, H, T, T)."""
        for of_utterance, frames in zip(weights, lengths, strict=True):
            count = count_by_offset(frames)
            self.weight = self.weight + sum_by_offset(of_utterance[:, :frames, :frames].float()).cpu()
            self.even = self.even + count / frames
            self.count = self.count + count

    @property
    def mass(self) -> Tensor:
        """(H, 2 R + 1) mean weight by offset; the smallest where too few frames have one to tell.

        A head that looks at all frames alike gives each more in a short utterance, and far offsets exist in
        long ones only: its mean falls off on both sides. So the largest even part that a head can have is
        levelled to its mean over all offsets.
        """
        told = self.count >= RARE * self.count.max()
        mean, even = (part[..., told] / self.count[told] for part in (self.weight, self.even))
        share = (mean / even).amin(dim=-1, keepdim=True)  # (H, 1) of the even part
        level = share * even.mean()
        mass = level.repeat(1, len(told))
        mass[:, told] += mean - share * even
        return mass


@dataclass
class _Remainder:
    """What windows leave of what the heads of one layer give, and of what its attention gives: sums.

    Args:
        windows: of each head.
        error: (H,) squared, of the windows' means.
        power: (H,) squared, of the heads' own outputs around their mean.
        block_error: squared, of head windows as they start: the output projection of the windows' means.
        total: (D,) of the attention's outputs.
        squares: of the attention's outputs.
        frames: their number.
    """

    windows: tuple[tuple[int, int], ...]
    error: Tensor | float = 0.0
    power: Tensor | float = 0.0
    block_error: float = 0.0
    total: Tensor | float = 0.0
    squares: float = 0.0
    frames: int = 0

    def add(self, values: Tensor, own: Tensor, came: Tensor, out: nn.Module) -> None:
        """Add an utterance.

        Args:
            values: (H, T, D / H) of the attention.
            own: (H, T, D / H) that the heads give.
            came: (T, D) that the attention gives.
            out: its output projection.
        """
        means = torch.stack(
            [windowed_mean(head[None], window)[0] for head, window in zip(values, self.windows, strict=True)]
        )
        self.error = self.error + (own - means).square().sum(dim=(1, 2)).cpu()
        self.power = self.power + (own - own.mean(1, keepdim=True)).square().sum(dim=(1, 2)).cpu()
        block = out(means.transpose(0, 1).flatten(1))  # (T, D)
        self.block_error += float((block - came).square().sum())
        self.total = self.total + came.double().sum(0).cpu()
        self.squares += float(came.double().square().sum())
        self.frames += len(came)

    def describe(self, layer: int, mass: Tensor) -> LayerHeads:
        """What is known of the layer with this number; ``mass`` is (H, 2 R + 1)."""
        variance = self.squares - float(self.total.square().sum()) / self.frames
        return LayerHeads(
            layer=layer,
            windows=self.windows,
            left=tuple((self.error / self.power.clamp(min=TINY)).tolist()),
            mass=tuple(tuple(round(m, 7) for m in head) for head in mass.tolist()),
            left_in_all=self.block_error / max(variance, TINY),
        )


def read_heads(
    suffix: TrainableSuffix, batches: Iterable[Batch], num_below: int, share: float = SHARE
) -> HeadWindowsRecord:
    """Where every head of a suffix looks, and what its window explains of what it gives.

    Args:
        suffix: with pretrained attention in all layers, in eval mode.
        batches: states below the cut; run through twice, for the windows and for what they explain.
        num_below: layers below the cut.
        share: see :func:`read_window`.

    Raises:
        UserError: the attention of this upstream has no weights that can be seen.
    """
    return read_heads_by_share(suffix, batches, num_below, [share])[0]


@torch.no_grad()
def read_heads_by_share(
    suffix: TrainableSuffix,
    batches: Iterable[Batch],
    num_below: int,
    shares: Sequence[float],
    on_batch: Callable[[], Any] = lambda: None,
) -> list[HeadWindowsRecord]:
    """As :func:`read_heads`, with the windows of several shares at the cost of one.

    The weights (B, H, T, T) of one layer are held at a time.

    Args:
        suffix, batches, num_below: as of :func:`read_heads`.
        shares: see :func:`read_window`.
        on_batch: called twice for each batch.

    Returns:
        A record for each share.

    Raises:
        UserError: the attention of this upstream has no weights that can be seen.
    """
    batches = list(batches)
    looks = [_Looks() for _ in suffix.layers]
    for hidden, lengths in batches:
        mask = mark_padding(lengths, hidden)
        run_with_weights(suffix, hidden, mask, lambda place, w, n=lengths: looks[place].add(w, n))
        on_batch()
    masses = [each.mass for each in looks]
    remainders = [
        [_Remainder(tuple(read_window(head, share) for head in mass)) for share in shares] for mass in masses
    ]
    for hidden, lengths in batches:
        _compare(suffix, hidden, lengths, remainders)
        on_batch()
    return [
        HeadWindowsRecord(
            share=share,
            reach=REACH,
            frames=sum(sum(lengths) for _, lengths in batches),
            layers=tuple(
                of_layer[number].describe(num_below + place + 1, mass)
                for place, (of_layer, mass) in enumerate(zip(remainders, masses, strict=True))
            ),
        )
        for number, share in enumerate(shares)
    ]


def _compare(
    suffix: TrainableSuffix,
    hidden: Tensor,
    lengths: Sequence[int],
    remainders: Sequence[Sequence[_Remainder]],
) -> None:
    """Run a batch and add to the remainders of each layer, one for each share."""
    places = range(len(suffix.layers))
    projections = [_value_and_output(suffix, place) for place in places]
    weights: dict[int, Tensor] = {}  # of the layer that runs, from its softmax to its end

    def on_pair(place: int, given: Tensor, came: Tensor) -> None:
        value, out = projections[place]
        own = weights.pop(place)
        values = value(given).unflatten(-1, (own.size(1), -1)).transpose(1, 2)  # (B, H, T, D / H)
        own = own @ values
        for number, frames in enumerate(lengths):
            of_utterance = values[number, :, :frames], own[number, :, :frames], came[number, :frames]
            for each in remainders[place]:
                each.add(*(states.float() for states in of_utterance), out)

    with watch_attention(suffix, places, on_pair):
        run_with_weights(suffix, hidden, mark_padding(lengths, hidden), weights.__setitem__)


def read_stored_heads(
    suffix: TrainableSuffix, cut: StoredCut, reader: Mapping[str, np.ndarray], minutes: float
) -> HeadWindowsRecord:
    """As :func:`read_heads`, from some minutes of stored states.

    Args:
        suffix: with the upstream's weights.
        cut: below which the states lie.
        reader: the states (T, D) of each utterance.
        minutes: at most; utterances are taken in the order of the digests of their ids.
    """
    most, frames, batches = minutes * FRAMES_PER_MINUTE, 0, []
    for id in sorted(reader, key=digest_text):
        hidden = torch.from_numpy(reader[id])
        batches.append((hidden.unsqueeze(0), (len(hidden),)))
        frames += len(hidden)
        if frames >= most:
            break
    record = read_heads(suffix, batches, cut.num_below)
    return replace(record, upstream=cut.key["upstream digest"])


def _value_and_output(suffix: TrainableSuffix, place: int) -> tuple[nn.Module, nn.Module]:
    attention = getattr(suffix.layers[place], suffix.family.attention)
    _, _, value, out = (getattr(attention, name) for name in suffix.family.projections)
    return value, out
