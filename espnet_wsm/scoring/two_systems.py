"""Two systems on the same utterances: the paired bootstrap and MAPSSWE, from one alignment of each text."""

from collections.abc import Sequence
from dataclasses import dataclass

from espnet_wsm.scoring.mapsswe import (
    MatchedPairs,
    align_like_sclite,
    compare_segments,
    count_errors,
    cut_segments,
)
from espnet_wsm.scoring.significance import USUAL, PairedComparison, Resampling, compare_paired
from espnet_wsm.scoring.trn import TextPair


@dataclass(frozen=True)
class PairTests:
    """What both tests say. ``errors`` are those of each utterance, of A and of B."""

    errors: tuple[list[int], list[int]]
    comparison: PairedComparison
    mapsswe: MatchedPairs


def examine_pair(
    first: Sequence[TextPair],
    second: Sequence[TextPair],
    resampling: Resampling = USUAL,
    by_speaker: bool = False,
) -> PairTests:
    """Paired bootstrap and MAPSSWE of two systems A and B.

    Args:
        first, second: tokens of reference and hypothesis, of A and of B, utterances in the same order.
        resampling: number of replicates, seed and level.
        by_speaker: whether to resample speakers rather than utterances.
    """
    sides = (first, second)
    steps = [[align_like_sclite(pair.reference, pair.hypothesis) for pair in side] for side in sides]
    errors_a, errors_b = ([count_errors(one) for one in side] for side in steps)
    tokens = [len(pair.reference) for pair in first]
    speakers = [pair.speaker for pair in first] if by_speaker else None
    comparison = compare_paired(errors_a, errors_b, tokens, speakers, resampling)
    segments = [segment for pair in zip(*steps, strict=True) for segment in cut_segments(*pair)]
    return PairTests((errors_a, errors_b), comparison, compare_segments(segments))
