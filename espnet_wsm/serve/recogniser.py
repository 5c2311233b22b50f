"""From an uploaded file to annotations: what ``espnet-wsm transcribe`` does, with a limit and progress."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_wsm.annotations import Recording
from espnet_wsm.data.audio.recordings import read_header, stream_converted
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.stretches import read_whole

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Transcriber


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
        return transcript.to_recording()

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
