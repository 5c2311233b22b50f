"""Which words and characters are most often substituted, inserted and deleted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from espnet_wsm.scoring.python_scorer import list_steps
from espnet_wsm.scoring.trn import TextPair

SHOWN = 12  # of each kind


@dataclass
class FrequentErrors:
    """Counts by kind: (reference, hypothesis) for substitutions, tokens for the others."""

    substitutions: Counter[tuple[str, str]] = field(default_factory=Counter)
    insertions: Counter[str] = field(default_factory=Counter)
    deletions: Counter[str] = field(default_factory=Counter)

    def list_substitutions(self) -> list[tuple[str, str, int]]:
        """The most frequent ones, those of like frequency in alphabetical order."""
        return [(*pair, times) for pair, times in _list_most(self.substitutions)]

    def list_insertions(self) -> list[tuple[str, int]]:
        return _list_most(self.insertions)

    def list_deletions(self) -> list[tuple[str, int]]:
        return _list_most(self.deletions)


def _list_most(counter: Counter) -> list[tuple]:
    return list(islice(sorted(counter.items(), key=lambda item: (-item[1], item[0])), SHOWN))


def find_frequent_errors(pairs: Sequence[TextPair], steps: Iterable[str] | None = None) -> FrequentErrors:
    """Count the errors of aligned pairs; without ``steps`` they are aligned here."""
    errors = FrequentErrors()
    for pair, letters in zip(pairs, list_steps(pairs) if steps is None else steps, strict=True):
        reference, hypothesis = iter(pair.reference), iter(pair.hypothesis)
        for letter in letters:
            right = next(reference) if letter != "I" else ""
            said = next(hypothesis) if letter != "D" else ""
            if letter == "S":
                errors.substitutions[right, said] += 1
            elif letter == "I":
                errors.insertions[said] += 1
            elif letter == "D":
                errors.deletions[right] += 1
    return errors
