"""What the attention of each replaced layer is given and gives, stored as features of 2 K D channels.

A cache of features (:mod:`espnet_wsm.data.features`) holds them, so they are resumed, checked and refused
like the states below the cut, which they are computed from.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from espnet_wsm.transfer.watch import Pair, watch_attention
from espnet_wsm.upstream.families.contract import mark_padding
from espnet_wsm.upstream.stored_cut import StoredCut
from espnet_wsm.upstream.suffix import TrainableSuffix

# Incremented when what is stored changes.
PAIRS_VERSION = 1
TARGETS = ("attention", "layer")


def describe_pairs(cut: StoredCut, layers: Sequence[int], target: str, dtype: str) -> dict[str, str]:
    """Everything except the audio that the pairs depend on: the key of their cache.

    Args:
        cut: below which the stored states lie.
        layers: numbers of the replaced layers.
        target: of ``TARGETS``: the attention's input and output, or the layer's.
        dtype: precision of the stored states.
    """
    return {
        **cut.key,
        "pairs": f"{target} of layers {', '.join(map(str, layers))} from {dtype}, version {PAIRS_VERSION}",
    }


@torch.no_grad()
def compute_pairs(
    suffix: TrainableSuffix,
    hidden: Tensor,
    padding_mask: Tensor | None,
    places: Sequence[int],
    target: str = "attention",
) -> Tensor:
    """Inputs and outputs of the layers at ``places`` of a suffix with pretrained attention.

    Args:
        suffix: in eval mode.
        hidden: (B, T, D) below the cut.
        padding_mask: (B, T), True = padded, or None.
        places: of the layers, 0 = the lowest.
        target: of ``TARGETS``.

    Returns:
        (B, T, 2 K D): of each of the K layers its input and its output.
    """
    if target == "attention":
        with watch_attention(suffix, places) as watched:
            suffix(hidden, padding_mask)
            parts = [states for each in watched for states in each.take()]
    else:
        inputs: list[Tensor] = []
        last = suffix.family.run_layers(suffix.layers, hidden, padding_mask, suffix.shared, inputs.append)
        states = [*inputs, last]
        parts = [part for place in places for part in (states[place], states[place + 1])]
    return torch.cat(parts, dim=-1)


def split_pairs(stored: Tensor, count: int) -> list[Pair]:
    """The pairs of ``count`` layers from (..., 2 count D)."""
    parts = stored.chunk(2 * count, dim=-1)
    return list(zip(parts[::2], parts[1::2], strict=True))


def pad_states(states: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, list[int], Tensor | None]:
    """Stored (T, D) of several utterances as (B, T, D), their frames, and the padding mask (B, T) or None."""
    frames = [len(each) for each in states]
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(each) for each in states], batch_first=True)
    padded = padded.to(device)
    return padded, frames, mark_padding(tuple(frames), padded)


class PairBatches:
    """Batches of stored pairs.

    Args:
        reader: the stored pairs of each utterance, (T, 2 K D).
        batches: ids of the utterances of each.
        count: K, the number of layers.
    """

    def __init__(self, reader: Mapping[str, np.ndarray], batches: Sequence[Sequence[str]], count: int):
        self.reader, self.batches, self.count = reader, batches, count

    def __len__(self) -> int:
        return len(self.batches)

    def read(self, number: int, device: torch.device) -> tuple[list[Pair], Tensor | None]:
        """The pairs (B, T, D) of each layer, and the padding mask (B, T), True = padded, or None."""
        padded, _, mask = pad_states([self.reader[id] for id in self.batches[number]], device)
        return split_pairs(padded, self.count), mask
