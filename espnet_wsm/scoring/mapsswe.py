"""MAPSSWE, the matched-pairs sentence-segment word error test, and the alignment that it needs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SUBSTITUTION, GAP = 4, 3  # sclite's costs; a gap is a deletion or an insertion
SEPARATION = 2  # consecutive words that both systems have right separate two segments
FEW_SEGMENTS = 30


@dataclass(frozen=True)
class MatchedPairs:
    """Result of MAPSSWE on the segments of two systems A and B.

    ``mean`` and ``deviation`` (with n - 1 in the divisor) are those of errors of A minus errors of B per
    segment; ``z > 0`` favours B. ``p`` is two-sided.
    """

    segments: int
    mean: float
    deviation: float
    z: float
    p: float

    @property
    def caution(self) -> str | None:
        """Why the result should not be relied on, None if there is no reason."""
        if self.segments == 0:
            return "no segment holds an error: there is nothing to compare"
        if self.mean and not self.deviation:
            return (
                f"the systems differ by the same number of errors in each of {self.segments} segments: z is "
                "not defined and set to 0, as by sc_stats"
            )
        if self.segments < FEW_SEGMENTS:
            return (
                f"{self.segments} segments: the normal approximation needs about {FEW_SEGMENTS}, "
                "rely on the bootstrap"
            )
        return None


def align_like_sclite(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """Align two token sequences as sclite does, with one letter per step: C, S, D (reference only) or I.

    Which words count as wrong, and so where segments end, depends on the alignment, and several alignments
    have the fewest errors. sclite minimises a cost of 4 for a substitution and 3 for a deletion or insertion.
    Among equal alignments, traced from the last word backwards, the diagonal step comes before the insertion,
    and the insertion before the deletion.

    Time and memory grow with ``len(reference) * len(hypothesis)`` (4 bytes each).
    """
    codes: dict[str, int] = {}
    left, right = (
        np.array([codes.setdefault(token, len(codes)) for token in side], dtype=np.int32)
        for side in (reference, hypothesis)
    )
    rows, columns = len(left) + 1, len(right) + 1
    # cost[i, j]: of the first i reference and j hypothesis tokens. A row is computed at once, because a run
    # of insertions that ends at j costs min over k <= j of entry[k] + GAP * (j - k).
    ramp = GAP * np.arange(columns, dtype=np.int32)
    cost = np.empty((rows, columns), dtype=np.int32)
    cost[0] = ramp
    for i in range(1, rows):
        entry = cost[i - 1] + GAP
        diagonal = cost[i - 1, :-1] + np.where(right == left[i - 1], 0, SUBSTITUTION)
        np.minimum(entry[1:], diagonal, out=entry[1:])
        cost[i] = np.minimum.accumulate(entry - ramp) + ramp
    steps = []
    i, j = rows - 1, columns - 1
    while i or j:
        deletion = cost[i - 1, j] + GAP if i else math.inf
        insertion = cost[i, j - 1] + GAP if j else math.inf
        same = i and j and left[i - 1] == right[j - 1]
        diagonal = cost[i - 1, j - 1] + (0 if same else SUBSTITUTION) if i and j else math.inf
        if diagonal <= min(deletion, insertion):
            i, j = i - 1, j - 1
            steps.append("C" if same else "S")
        elif deletion < insertion:
            i -= 1
            steps.append("D")
        else:
            j -= 1
            steps.append("I")
    return "".join(reversed(steps))


def count_errors(steps: str) -> int:
    """Substitutions, deletions and insertions of an alignment of :func:`align_like_sclite`."""
    return len(steps) - steps.count("C")


def cut_segments(steps_a: str, steps_b: str) -> list[tuple[int, int]]:
    """Cut one utterance into segments with independent errors: (errors of A, errors of B) for each.

    Errors come in clusters (a misrecognised word affects the next through its context), so words are not
    independent; utterances are, but there may be few, and long ones. A segment is something in between: a
    stretch of errors of either system, separated from the next by at least two consecutive reference words
    that both systems have right, with no insertion between them. Stretches without an error are not segments.
    Characters depend on each other over longer distances, so on characters the test finds differences too
    easily.

    Args:
        steps_a: Alignment of A with the reference, from :func:`align_like_sclite`.
        steps_b: Alignment of B with the same reference.

    Raises:
        ValueError: the alignments belong to references of different lengths.

    Source: Gillick and Cox, "Some statistical issues in the comparison of speech recognition algorithms",
    ICASSP 1989; the two words are the setting of NIST's sc_stats.
    """
    places_a, places_b = list(_errors_by_place(steps_a)), list(_errors_by_place(steps_b))
    if len(places_a) != len(places_b):
        raise ValueError(
            f"alignments of {len(places_a) // 2} and {len(places_b) // 2} reference words: align both "
            "systems with the same reference"
        )
    segments: list[list[int]] = []
    right_in_a_row = SEPARATION  # the start of the utterance separates too
    for place, (wrong_a, wrong_b) in enumerate(zip(places_a, places_b, strict=True)):
        if wrong_a or wrong_b:
            if right_in_a_row >= SEPARATION:
                segments.append([0, 0])
            segments[-1][0] += wrong_a
            segments[-1][1] += wrong_b
            right_in_a_row = 0
        else:
            right_in_a_row += place % 2  # a gap without insertions is not a word
    return [(wrong_a, wrong_b) for wrong_a, wrong_b in segments]


def _errors_by_place(steps: str) -> Iterator[int]:
    """Errors in each gap and at each reference word in turn: gap, word, gap, ..., word, gap."""
    inserted = 0
    for step in steps:
        if step == "I":
            inserted += 1
        else:
            yield inserted
            yield int(step != "C")
            inserted = 0
    yield inserted


def compare_segments(segments: Sequence[tuple[int, int]]) -> MatchedPairs:
    """Test whether two systems make equally many errors per segment.

    With d_i = errors of A - errors of B in segment i of n, z = mean(d) / (sd(d) / sqrt(n)) is compared with
    the standard normal distribution, p = 2 (1 - Phi(|z|)). Without segments, or if all d_i are equal, z is 0
    and p is 1, and ``caution`` says why.

    Args:
        segments: (errors of A, errors of B) of all segments of a test set, from :func:`cut_segments`.

    Source: Gillick and Cox 1989; the same figures as NIST's sc_stats.
    """
    number = len(segments)
    if number == 0:
        return MatchedPairs(0, 0.0, 0.0, 0.0, 1.0)
    difference = np.array([wrong_a - wrong_b for wrong_a, wrong_b in segments])
    mean = float(difference.mean())
    if (difference == difference[0]).all():
        return MatchedPairs(number, mean, 0.0, 0.0, 1.0)
    deviation = float(difference.std(ddof=1))
    z = mean / (deviation / math.sqrt(number))
    return MatchedPairs(number, mean, deviation, z, math.erfc(abs(z) / math.sqrt(2)))
