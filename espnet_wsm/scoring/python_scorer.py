"""Error counts, and the Python scorer that checks sclite: jiwer's alignment over given tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version

import jiwer

from espnet_wsm.scoring.significance import bootstrap_error_rate
from espnet_wsm.scoring.trn import TOKENIZERS, TextPair

# jiwer's kinds of steps with sclite's letters, in the order of sclite's counts.
STEPS = {"equal": "C", "substitute": "S", "delete": "D", "insert": "I"}


@dataclass(frozen=True)
class Counts:
    """Raw counts over one or many utterances; counts add with ``+``. Rates need at least one word.

    ``words`` are the tokens of the reference (characters for CER) = correct + substitutions + deletions.
    """

    sentences: int = 0
    words: int = 0
    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    sentence_errors: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)))

    @classmethod
    def of_utterance(cls, correct: int, substitutions: int, deletions: int, insertions: int) -> "Counts":
        """Counts of one utterance, in the order of sclite's ``Scores: (#C #S #D #I)``."""
        wrong = int(substitutions + deletions + insertions > 0)
        words = correct + substitutions + deletions
        return cls(1, words, correct, substitutions, deletions, insertions, wrong)

    @property
    def errors(self) -> int:
        """Substitutions + deletions + insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def correct_rate(self) -> float:
        """Correct words in percent of the reference words, sclite's ``Corr``."""
        return 100 * self.correct / self.words

    @property
    def substitution_rate(self) -> float:
        """Substitutions in percent of the reference words, sclite's ``Sub``."""
        return 100 * self.substitutions / self.words

    @property
    def deletion_rate(self) -> float:
        """Deletions in percent of the reference words, sclite's ``Del``."""
        return 100 * self.deletions / self.words

    @property
    def insertion_rate(self) -> float:
        """Insertions in percent of the reference words, sclite's ``Ins``."""
        return 100 * self.insertions / self.words

    @property
    def error_rate(self) -> float:
        """Errors in percent of the reference words, sclite's ``Err``: the WER or CER."""
        return 100 * self.errors / self.words

    @property
    def sentence_error_rate(self) -> float:
        """Utterances with any error in percent of the utterances, sclite's ``S.Err``."""
        return 100 * self.sentence_errors / self.sentences


@dataclass(frozen=True)
class ScorerResult:
    """The result of one scorer for a set: the counts, or the reason why there are none.

    Args:
        counts: counts over all utterances.
        version: version of the scorer.
        reason: why there are no counts.
        interval: 95 % bootstrap interval over utterances of the error rate in percent; None if it was not
            requested, if there is only one utterance, and if an utterance has no reference.
    """

    counts: Counts | None
    version: str | None
    reason: str | None = None
    interval: tuple[float, float] | None = None


def align_tokens(pairs: Sequence[TextPair]) -> list[list[jiwer.AlignmentChunk]]:
    """Align each pair with the fewest edits, all of cost 1; gives its chunks (token ranges of both sides)."""

    def as_given(sentences: list[list[str]]) -> list[list[str]]:  # jiwer's default splits words itself
        return sentences

    if not pairs:
        return []
    return jiwer.process_words(
        [list(pair.reference) for pair in pairs],
        [list(pair.hypothesis) for pair in pairs],
        reference_transform=as_given,
        hypothesis_transform=as_given,
    ).alignments


def list_steps(pairs: Sequence[TextPair]) -> list[str]:
    """The steps of each alignment, a letter each: C right, S substitution, D deletion, I insertion."""
    return [
        "".join(
            STEPS[chunk.type]
            * max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
            for chunk in alignment
        )
        for alignment in align_tokens(pairs)
    ]


def score_utterances(pairs: Sequence[TextPair]) -> list[Counts]:
    """Counts of each pair, in the given order; an empty hypothesis is all deletions."""
    return count_steps(list_steps(pairs))


def score_lines(lines: Iterable[tuple[str, str]], metric: str = "cer") -> list[Counts]:
    """Counts of each pair of a reference and a hypothesis, lines of text, as :func:`score_utterances`."""
    pairs = (TextPair("", "", *(tuple(side.split()) for side in sides)) for sides in lines)
    return score_utterances([TOKENIZERS[metric](pair) for pair in pairs])


def count_steps(alignments: Sequence[str]) -> list[Counts]:
    """The counts of each alignment that :func:`list_steps` gives."""
    return [Counts.of_utterance(*map(steps.count, STEPS.values())) for steps in alignments]


def score_with_jiwer(pairs: Sequence[TextPair], with_interval: bool = False) -> ScorerResult:
    """Counts over ``pairs``, jiwer's version and, on request, the interval (seconds for thousands)."""
    return score_steps(list_steps(pairs), with_interval)


def score_steps(alignments: Sequence[str], with_interval: bool = False) -> ScorerResult:
    """:func:`score_with_jiwer` of what :func:`list_steps` has aligned."""
    scores = count_steps(alignments)
    interval = None
    if with_interval and len(scores) > 1 and all(score.words for score in scores):
        found = bootstrap_error_rate([score.errors for score in scores], [score.words for score in scores])
        interval = round(found.low, 2), round(found.high, 2)
    return ScorerResult(sum(scores, Counts()), version("jiwer"), interval=interval)
