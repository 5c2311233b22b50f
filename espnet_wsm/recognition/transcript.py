"""What a model has recognised in a recording: text, words with times, and the file of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
        if not self.words:
            return None
        return sum(word.confidence for word in self.words) / len(self.words)

    def to_recording(self, audio: str | None = None, tier: str = TIER, pause: float = PAUSE) -> Recording:
        """Annotations of one tier, whose segments end where nothing is said for ``pause`` seconds.

        ``espnet_wsm.annotations.write_annotations`` writes them in any format.
        """
        segments = tuple(map(make_segment, split_at_pauses(self.words, pause)))
        return Recording(audio, (Tier(tier, segments),), self.duration)


def split_at_pauses(words: Sequence[Word], pause: float) -> Iterator[Sequence[Word]]:
    """Utterances: runs of words with less than ``pause`` seconds between them."""
    begin = 0
    for place in range(1, len(words) + 1):
        if place == len(words) or words[place].start - words[place - 1].end >= pause:
            yield words[begin:place]
            begin = place


def make_segment(words: Sequence[Word]) -> Segment:
    """An utterance of one or more words, as sure as those are in the mean whose confidence is known."""
    sure = [word.confidence for word in words if word.confidence is not None]
    mean = sum(sure) / len(sure) if sure else None
    text = " ".join(word.text for word in words)
    return Segment(words[0].start, words[-1].end, text, mean, words=tuple(words))
