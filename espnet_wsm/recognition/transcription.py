"""From the files of recordings to their texts, or to files of annotations, one after the other."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_wsm.data.audio.recordings import stream_converted
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.options import UNCALIBRATED
from espnet_wsm.recognition.outputs import Outputs

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Advance, Transcriber


@dataclass(frozen=True)
class Transcription:
    """What is done with each recording.

    Args:
        channel: of audio with several; None is their mean.
        outputs: the files that are written; None = none.
        tier: name of the tier in them.
        pause: seconds without a word at which an utterance ends in them.
        longest: seconds of one.
    """

    channel: int | None
    outputs: Outputs | None
    tier: str
    pause: float
    longest: float

    def find_warning(self, transcriber: "Transcriber") -> str | None:
        """What is to be said once, before anything is written."""
        if self.outputs is None or transcriber.decoder.calibration is not None:
            return None
        return UNCALIBRATED

    def run(
        self, transcriber: "Transcriber", files: Iterable[str], advance: "Advance | None" = None
    ) -> Iterator[tuple[str, str | UserError]]:
        """Each file in order, with its text or with why it could not be read or written.

        Raises:
            OSError: a disk is full or the like: there is no use in going on.
        """
        faults: dict[str, UserError] = {}
        begun: deque[str] = deque()

        def begin() -> Iterator[Iterator[np.ndarray]]:
            for file in files:
                begun.append(file)
                yield self._read(file, faults)

        run = transcriber.transcribe_all if self.outputs is None else transcriber.detail_all
        for found in run(begin(), advance):
            file = begun.popleft()
            if file in faults:
                yield file, faults[file]
            elif self.outputs is None:
                yield file, found
            else:
                recording = found.to_recording(Path(file).name, self.tier, self.pause, self.longest)
                try:
                    self.outputs.write(file, recording)
                except UserError as error:
                    yield file, error
                else:
                    yield file, found.text

    def _read(self, file: str, faults: dict[str, UserError]) -> Iterator[np.ndarray]:
        """Blocks of a recording, which ends where it is at fault."""
        try:
            if not file.isprintable():
                raise UserError(f"{file!a} is not a name that can be printed as text: rename the file")
            yield from stream_converted(file, channel=self.channel)
        except UserError as error:
            faults[file] = UserError(str(error))  # without the blocks that a traceback holds
