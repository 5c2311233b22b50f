"""From an uploaded file to annotations: what ``espnet-wsm transcribe`` does, with a limit and progress."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_wsm.annotations import Recording, Tier, Word
from espnet_wsm.data.audio.recordings import read_header, stream_converted
from espnet_wsm.data.corpora.pieces import find_longest_pause
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.stretches import read_whole
from espnet_wsm.recognition.transcript import PAUSE, TIER, make_segment, split_at_pauses

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Transcriber

LONGEST = 15.0  # seconds of an utterance: more is hard to correct, and takes memory to train on


@dataclass(frozen=True)
class Recogniser:
    """Recognises files with a model.

    Args:
        transcriber: of ``espnet_wsm.load``.
        max_minutes: longer recordings are refused.
        channel: the one that is taken, from 1; None = the mean of all.
    """

    transcriber: "Transcriber"
    max_minutes: float
    channel: int | None = None

    def __call__(self, audio: Path, watch: Callable[[float], None]) -> Recording:
        """What is said in a file; ``watch`` is called with shares from 0 to 1, and may end the work.

        Raises:
            UserError: it is no audio, or too long.
        """
        seconds, done = self.measure(audio), 0.0

        def advance(more: float) -> None:
            nonlocal done
            done += more
            watch(min(1.0, done / seconds))

        watch(0.0)
        blocks = stream_converted(audio, channel=self.channel)
        (transcript,) = self.transcriber.detail_all([blocks], advance)
        utterances = (
            part for words in split_at_pauses(transcript.words, PAUSE) for part in divide(words, LONGEST)
        )
        return Recording(None, (Tier(TIER, tuple(map(make_segment, utterances))),), transcript.duration)

    def read(self, audio: Path) -> np.ndarray:
        """(N,) float32 samples at 16 kHz of a file, with the errors of calling it."""
        self.measure(audio)
        return read_whole(audio, self.channel)

    def measure(self, audio: Path) -> float:
        """Seconds of a file, with the errors of calling it."""
        seconds = read_header(audio).seconds
        if seconds > 60 * self.max_minutes:
            raise UserError(
                f"{audio} lasts {seconds / 60:.1f} minutes, and {self.max_minutes:g} are taken here: cut "
                "it, or start the server with a larger --max_minutes"
            )
        return seconds


def divide(words: Sequence[Word], longest: float) -> Iterator[Sequence[Word]]:
    """Parts of an utterance, none longer than ``longest`` seconds unless it is a single word.

    The longest pause between two words parts them; of equal ones, that nearest to the middle.
    """
    if len(words) == 1 or words[-1].end - words[0].start <= longest:
        yield words
        return
    _, place = find_longest_pause(words, words[0].start, words[-1].end)
    yield from divide(words[:place], longest)
    yield from divide(words[place:], longest)
