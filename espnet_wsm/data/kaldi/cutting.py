"""Long recordings of a data directory as segments that end in pauses."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_wsm.data.audio.channels import mix_down
from espnet_wsm.data.audio.faults import is_pipe
from espnet_wsm.data.audio.pauses import LONGEST_SECONDS, cut_at_pauses
from espnet_wsm.data.audio.recordings import convert, read_header, read_recording, stream_converted
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir
from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.frames import HOP, SAMPLE_RATE


def cut_long_recordings(data: Path, out: Path, max_seconds: float, allow_pipes: bool = False) -> str:
    """Write the data directory ``data`` to ``out`` with segments in place of utterances that are too long.

    Each segment ends where it is quietest, between half and all of ``LONGEST_SECONDS`` (or of
    ``max_seconds``, if that is less) from its beginning, and is called ``ID-START``, in milliseconds. What a
    command writes is not cut. Transcripts are not read. Returns a summary.

    Raises UserError for a faulty directory and for audio that cannot be read.
    """
    kept: list[Utterance] = []
    cut = 0
    for utterance in tqdm(read_data_dir(data, None, allow_pipes), desc="cut", unit="utt", mininterval=1.0):
        if is_pipe(utterance.audio) or _find_seconds(utterance) <= max_seconds:
            kept.append(utterance)
            continue
        kept += _cut(utterance, max_seconds)
        cut += 1
    write_data_dir(out, kept, with_text=False)
    told = f"{count(cut, 'recording')} longer than {max_seconds:g} s cut"
    return f"{data}: {told}; {count(len(kept), 'utterance')}"


def _find_seconds(utterance: Utterance) -> float:
    end = read_header(utterance.audio).seconds if utterance.end is None else utterance.end
    return end - utterance.start


def _cut(utterance: Utterance, max_seconds: float) -> Iterator[Utterance]:
    longest = int(min(LONGEST_SECONDS, max_seconds) * SAMPLE_RATE / (2 * HOP)) * 2 * HOP
    begin = 0
    for piece, is_last in cut_at_pauses(_read(utterance), longest, int(max_seconds * SAMPLE_RATE)):
        start, end = (round(utterance.start + at / SAMPLE_RATE, 3) for at in (begin, begin + len(piece)))
        name = f"{utterance.id}-{round(1000 * begin / SAMPLE_RATE):08d}"
        yield replace(utterance, id=name, start=start, end=utterance.end if is_last else end)
        begin += len(piece)


def _read(utterance: Utterance) -> Iterator[np.ndarray]:
    """Blocks of (N,) samples at 16 kHz of its channel, or the mean of all."""
    if utterance.start or utterance.end is not None:
        part = read_recording(utterance.audio, start=utterance.start, end=utterance.end)
        yield convert(mix_down(utterance.audio, part.samples, utterance.channel), part.rate)
    else:
        yield from stream_converted(utterance.audio, channel=utterance.channel)
