"""Speech in stretches of a recording: what is recognised in each, with the times of the recording."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_wsm.annotations import Segment, Word, from_milliseconds, to_milliseconds
from espnet_wsm.data.audio.recordings import stream_converted
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.recognition.transcript import LONGEST, PAUSE, make_segment, split_utterances

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Advance, Transcriber


def read_whole(audio: Path, channel: int | None) -> np.ndarray:
    """(N,) float32 samples at 16 kHz of a recording, with the errors of ``stream_converted``."""
    return np.concatenate(list(stream_converted(audio, channel=channel)))


def recognise_stretches(
    transcriber: "Transcriber",
    samples: np.ndarray,
    stretches: Sequence[tuple[int, int]],
    pause: float = PAUSE,
    longest: float = LONGEST,
    advance: "Advance | None" = None,
) -> Iterator[tuple[Segment, ...]]:
    """The utterances of each stretch, none where nothing is recognised.

    All times are whole milliseconds and lie within the stretch. Words have no characters.

    Args:
        samples: (N,) float32 at 16 kHz, the recording.
        stretches: starts and ends in milliseconds; what lies behind the recording is silence.
        pause: see ``split_utterances``.
        longest: see there.
        advance: as in ``Transcriber.detail_all``.
    """
    places = [tuple(time * SAMPLE_RATE // 1000 for time in stretch) for stretch in stretches]
    heard = [place for place, (start, end) in enumerate(places) if start < min(end, len(samples))]
    parts = (samples[slice(*places[place])] for place in heard)
    last = -1
    for place, transcript in zip(heard, transcriber.detail_all(parts, advance), strict=True):
        yield from (() for _ in range(last + 1, place))
        words = [moved for word in transcript.words if (moved := _move(word, *stretches[place]))]
        yield tuple(make_segment(group) for group in split_utterances(words, pause, longest))
        last = place
    yield from (() for _ in range(last + 1, len(stretches)))


def _move(word: Word, start: int, end: int) -> Word | None:
    """A word of the audio of a stretch as one of the recording; None if nothing of it is in the stretch."""
    first, behind = (min(start + to_milliseconds(time), end) for time in (word.start, word.end))
    if first == behind:
        return None
    return replace(word, start=from_milliseconds(first), end=from_milliseconds(behind), characters=())
