"""Character errors by the duration of utterances: what becomes of longer ones than a model was trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.scoring.python_scorer import Counts, count_steps

BOUNDS = (0, 10, 20, float("inf"))  # seconds


@dataclass(frozen=True)
class DurationCounts:
    """Utterances of more than ``over`` seconds, up to the next of ``BOUNDS``.

    Args:
        over: one of ``BOUNDS``.
        utterances: how many.
        characters: of their references.
        errors: of the Python scorer's alignment.
    """

    over: int
    utterances: int
    characters: int
    errors: int

    @property
    def words(self) -> str:
        """Their duration, for people."""
        least, most = self.over, BOUNDS[BOUNDS.index(self.over) + 1]
        if least == 0:
            return f"up to {most:g} s"
        return f"above {least} s" if most == BOUNDS[-1] else f"{least} to {most:g} s"

    @property
    def rate(self) -> float:
        """CER in percent; NaN without characters."""
        return 100 * self.errors / self.characters if self.characters else float("nan")


def count_by_duration(steps: Sequence[str], samples: Sequence[int]) -> list[DurationCounts]:
    """Errors of the utterances of each range of durations that has any.

    Args:
        steps: of the alignment of each utterance's characters, from `python_scorer.list_steps`.
        samples: length of each in samples of 16 kHz.
    """
    counted = list(zip(count_steps(steps), samples, strict=True))
    found = []
    for least, most in pairwise(BOUNDS):
        chosen = [one for one, length in counted if least * SAMPLE_RATE < length <= most * SAMPLE_RATE]
        total = sum(chosen, Counts())
        if chosen:
            found.append(DurationCounts(int(least), total.sentences, total.words, total.errors))
    return found


def describe_durations(counts: Sequence[DurationCounts]) -> str:
    """One line about a set with utterances of several ranges."""
    total = sum(each.characters for each in counts) or 1
    return "CER by duration: " + ", ".join(
        f"{each.words} {each.rate:.1f} % ({count(each.utterances, 'utterance')}, "
        f"{100 * each.characters / total:.0f} % of the characters)"
        for each in counts
    )


def read_durations(entry: Sequence[Mapping[str, Any]] | None) -> list[DurationCounts]:
    """What a score.json has of them."""
    return [DurationCounts(**each) for each in entry or ()]


def list_rows(counts: Sequence[DurationCounts]) -> Iterator[tuple[str, ...]]:
    """Cells of a table: duration, utterances, characters, CER."""
    for each in counts:
        yield each.words, str(each.utterances), str(each.characters), f"{each.rate:.1f}"
