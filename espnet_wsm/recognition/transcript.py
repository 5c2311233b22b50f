"""What a model has recognised in a recording: text, words with times, and the file of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from espnet_wsm.annotations import Recording, Segment, Tier, Word

PAUSE = 0.6  # seconds between two words at which an utterance ends
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

    def to_recording(self, audio: str | None = None, tier: str = TIER, pause: float = PAUSE) -> Recording:
        """Annotations of one tier, whose segments end where nothing is said for ``pause`` seconds.

        ``espnet_wsm.annotations.write_annotations`` writes them in any format.
        """
        segments = tuple(map(make_segment, split_at_pauses(self.words, pause)))
        return Recording(audio, (Tier(tier, segments),), self.duration)


class HasConfidence(Protocol):
    """Anything with a confidence, which may not be known."""

    @property
    def confidence(self) -> float | None: ...


def mean_confidence(words: Iterable[HasConfidence]) -> float | None:
    """The mean over the words whose confidence is known; None without any."""
    known = [word.confidence for word in words if word.confidence is not None]
    return sum(known) / len(known) if known else None


def split_at_pauses(words: Sequence[Word], pause: float) -> Iterator[Sequence[Word]]:
    """Utterances: runs of words with less than ``pause`` seconds between them."""
    begin = 0
    for place in range(1, len(words) + 1):
        if place == len(words) or words[place].start - words[place - 1].end >= pause:
            yield words[begin:place]
            begin = place


def make_segment(words: Sequence[Word]) -> Segment:
    """An utterance of one or more words, as sure as those are in the mean whose confidence is known."""
    text = " ".join(word.text for word in words)
    return Segment(words[0].start, words[-1].end, text, mean_confidence(words), words=tuple(words))
