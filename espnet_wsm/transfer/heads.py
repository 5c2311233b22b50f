"""Where the heads of an attention look, and the windows that stand for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
class _Tally:
    """Sums over utterances, for one layer.

    Args:
        weight: (H, 2 R + 1) by offset.
        count: (2 R + 1,) pairs of frames at that offset.
    """

    weight: Tensor | float = 0.0
    count: Tensor | float = 0
    error: Tensor | float = 0.0  # (H,) squared, of the windows' means
    power: Tensor | float = 0.0  # (H,) squared, of the heads' own outputs
    windows: list[tuple[int, int]] = field(default_factory=list)

    def add(self, weights: Tensor, lengths: Sequence[int]) -> None:
        """Add (B, H, T, T)."""
        for of_utterance, frames in zip(weights, lengths, strict=True):
            self.weight = self.weight + sum_by_offset(of_utterance[:, :frames, :frames].float()).cpu()
            self.count = self.count + count_by_offset(frames)

    @property
    def mass(self) -> Tensor:
        """(H, 2 R + 1) mean weight by offset; the smallest where too few frames have one to tell."""
        mean = self.weight / self.count.clamp(min=1)
        told = self.count >= RARE * self.count.max()
        least = mean.masked_fill(~told, torch.inf).amin(dim=-1, keepdim=True)
        return torch.where(told, mean, least)

    def compare(self, weights: Tensor, values: Tensor, lengths: Sequence[int]) -> None:
        """Add how far the means of values (B, T, D) over the windows are from what the heads give."""
        heads = values.unflatten(-1, (weights.size(1), -1)).transpose(1, 2)  # (B, H, T, D / H)
        given = (weights @ heads).float()
        for row, of_utterance, frames in zip(given, heads.float(), lengths, strict=True):
            own = row[:, :frames]  # (H, T, D / H)
            means = torch.stack(
                [
                    windowed_mean(head[None, :frames], window)[0]
                    for head, window in zip(of_utterance, self.windows, strict=True)
                ]
            )
            self.error = self.error + (own - means).square().sum(dim=(1, 2)).cpu()
            self.power = self.power + (own - own.mean(1, keepdim=True)).square().sum(dim=(1, 2)).cpu()


@torch.no_grad()
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
    batches = list(batches)
    tallies = [_Tally() for _ in suffix.layers]
    for hidden, lengths in batches:
        mask = mark_padding(lengths, hidden)
        run_with_weights(suffix, hidden, mask, lambda place, w, n=lengths: tallies[place].add(w, n))
    for tally in tallies:
        tally.windows = [read_window(mass, share) for mass in tally.mass]
    places = range(len(suffix.layers))
    value_of = [_value_projection(suffix, place) for place in places]
    for hidden, lengths in batches:
        mask = mark_padding(lengths, hidden)
        weights: dict[int, Tensor] = {}
        with watch_attention(suffix, places) as watched:
            run_with_weights(suffix, hidden, mask, weights.__setitem__)
            for place, each in enumerate(watched):
                values = value_of[place](each.take()[0])
                tallies[place].compare(weights.pop(place), values, lengths)
    return HeadWindowsRecord(
        share=share,
        reach=REACH,
        frames=sum(sum(lengths) for _, lengths in batches),
        layers=tuple(
            LayerHeads(
                layer=num_below + place + 1,
                windows=tuple(tally.windows),
                left=tuple((tally.error / tally.power.clamp(min=1e-30)).tolist()),
                mass=tuple(tuple(round(m, 7) for m in head) for head in tally.mass.tolist()),
            )
            for place, tally in enumerate(tallies)
        ),
    )


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
    record = read_heads(suffix, batches, len(cut.below) - 1)
    return replace(record, upstream=cut.key["upstream digest"])


def _value_projection(suffix: TrainableSuffix, place: int) -> nn.Module:
    attention = getattr(suffix.layers[place], suffix.family.attention)
    return getattr(attention, suffix.family.projections[2])
