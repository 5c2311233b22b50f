"""MAPSSWE, the matched-pairs sentence-segment word error test, and the alignment that it needs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SUBSTITUTION, GAP = 4, 3  # sclite's costs; a gap is a deletion or an insertion
SEPARATION = 2  # words in a row that both systems have right part two segments
FEW_SEGMENTS = 30


@dataclass(frozen=True)
class MatchedPairs:
    """Result of MAPSSWE on the segments of two systems A and B.

    ``mean`` and ``deviation`` (n - 1 in the divisor) are of errors of A minus errors of B per segment;
    ``z > 0`` speaks for B. ``p`` is two-sided.
    """

    segments: int
    mean: float
    deviation: float
    z: float
    p: float

    @property
    def caution(self) -> str | None:
        """Why the result should not be leaned on, None when nothing is odd."""
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
    """Align two token sequences as sclite does: one letter a step, of C, S, D (reference only) and I.

    Which words count as wrong, and so where segments end, depends on the alignment, and several have the
    fewest errors. sclite's has the least cost with 4 for a substitution and 3 for a deletion or insertion;
    of equal ones, from the last word backwards, the diagonal step is taken before the insertion, and the
    insertion before the deletion.

    Time and memory grow with ``len(reference) * len(hypothesis)`` (4 bytes each).
    """
    codes: dict[str, int] = {}
    left, right = (
        np.array([codes.setdefault(token, len(codes)) for token in side], dtype=np.int32)
        for side in (reference, hypothesis)
    )
    rows, columns = len(left) + 1, len(right) + 1
    # cost[i, j]: of the first i reference and j hypothesis tokens. A row is found at once, since a run of
    # insertions that ends at j costs min over k <= j of entry[k] + GAP * (j - k).
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
    """Cut one utterance into segments whose errors may be taken as independent: (errors of A, of B) of each.

    Errors come in clumps (a misheard word spoils the next through the context), so words are not independent,
    and utterances, which are, may be few and long. A segment lies between: a stretch of errors of either
    system, parted from the next by at least two reference words in a row that both have right with no
    insertion between them. Stretches without an error are no segments. Characters depend on each other much
    farther than two apart: on them the test finds differences too easily.

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
    right_in_a_row = SEPARATION  # the start of the utterance parts as well
    for place, (wrong_a, wrong_b) in enumerate(zip(places_a, places_b, strict=True)):
        if wrong_a or wrong_b:
            if right_in_a_row >= SEPARATION:
                segments.append([0, 0])
            segments[-1][0] += wrong_a
            segments[-1][1] += wrong_b
            right_in_a_row = 0
        else:
            right_in_a_row += place % 2  # a gap without insertions is no word
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
    """Test whether two systems make as many errors per segment.

    With d_i = errors of A - errors of B in segment i of n, z = mean(d) / (sd(d) / sqrt(n)) is compared with
    the standard normal distribution, p = 2 (1 - Phi(|z|)). Without segments, and where all d_i are equal,
    z is 0 and p is 1, and ``caution`` says why.

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
