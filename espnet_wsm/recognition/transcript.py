"""What a model has recognised in a recording: text, words with times, and the file of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from espnet_wsm.annotations import Recording, Segment, Tier, Word
from espnet_wsm.data.corpora.pieces import find_longest_pause

# In seconds: between two words at which an utterance ends; of an utterance, as more is hard to correct, and
# longer than what trainings take.
PAUSE, LONGEST = 0.6, 15.0
TIER = "ASR"


@dataclass(frozen=True)
class Transcript:
    """The result of ``Transcriber.detailed``.

    Args:
        text: as ``Transcriber`` itself returns it.
        words: with ``start`` and ``end`` in seconds of the audio, ``confidence`` from 0 to 1 (the
            probability of being right, where it is calibrated), and their ``characters``.
        duration: of the audio in seconds.
    """

    text: str
    words: tuple[Word, ...]
    duration: float

    @property
    def confidence(self) -> float | None:
        """The mean over the words; None without any."""
        return mean_confidence(self.words)

    def to_recording(
        self, audio: str | None = None, tier: str = TIER, pause: float = PAUSE, longest: float = LONGEST
    ) -> Recording:
        """Annotations of one tier, whose segments are those of ``split_utterances``.

        ``espnet_wsm.annotations.write_annotations`` writes them in any format.
        """
        segments = tuple(map(make_segment, split_utterances(self.words, pause, longest)))
        return Recording(audio, (Tier(tier, segments),), self.duration)


class HasConfidence(Protocol):
    """Anything with a confidence, which may not be known."""

    @property
    def confidence(self) -> float | None: ...


def mean_confidence(words: Iterable[HasConfidence]) -> float | None:
    """The mean over the words whose confidence is known; None without any."""
    known = [word.confidence for word in words if word.confidence is not None]
    return sum(known) / len(known) if known else None


def split_utterances(
    words: Sequence[Word], pause: float = PAUSE, longest: float = LONGEST
) -> Iterator[Sequence[Word]]:
    """Runs of words with less than ``pause`` seconds between them.

    None is longer than ``longest`` seconds unless it is a single word: the longest pause between two words
    parts it; of equal ones, that nearest to the middle.
    """
    begin = 0
    for place in range(1, len(words) + 1):
        if place == len(words) or words[place].start - words[place - 1].end >= pause:
            yield from _divide(words[begin:place], longest)
            begin = place


def _divide(words: Sequence[Word], longest: float) -> Iterator[Sequence[Word]]:
    parts = [words]  # what is left, the last part first
    while parts:
        part = parts.pop()
        if len(part) == 1 or part[-1].end - part[0].start <= longest:
            yield part
        else:
            _, place = find_longest_pause(part, part[0].start, part[-1].end)
            parts += [part[place:], part[:place]]


def make_segment(words: Sequence[Word]) -> Segment:
    """An utterance of one or more words, as sure as those are in the mean whose confidence is known."""
    text = " ".join(word.text for word in words)
    return Segment(words[0].start, words[-1].end, text, mean_confidence(words), words=tuple(words))
