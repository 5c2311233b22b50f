#!/usr/bin/env python3
"""How far the times of words are from where they are known: at the joints of joined utterances.

.venv/bin/python tools/check_times.py --model egs/asterisk/asr1/exp/it/asr_X \\
    --data egs/asterisk/asr1/dump/it/raw/{train,dev,test} --hours 1

Silence at both ends of each utterance is cut off (35 dB below its loudest 10 ms), so that the first word of
each begins where the one before it ends. All of them are joined to one recording, in random order, and once
more in another order until it is long enough. Its text is aligned. Prints the errors of these starts, and of
the ends before them (positive is late), how long that took, and the largest size of the process.
"""

import argparse
import random
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from espnet_wsm.data.dump.lists import find_recordings
from espnet_wsm.errors import report_user_errors
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.recognition.options import add_model_arguments, load_model
from espnet_wsm.recognition.progress import show_progress

STEP = SAMPLE_RATE // 100
QUIET_DB = -35.0


def cut_silence(samples: np.ndarray) -> np.ndarray:
    """(N,) samples without what is quiet at both ends."""
    steps = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    loudness = np.sqrt((steps**2).mean(axis=1))
    loud = np.flatnonzero(loudness > loudness.max() * 10 ** (QUIET_DB / 20))
    return samples[loud[0] * STEP : (loud[-1] + 1) * STEP]


def describe(name: str, errors: list[float]) -> str:
    """One line of milliseconds."""
    size = sorted(map(abs, errors))
    values = statistics.median(errors), statistics.median(size), size[int(0.9 * len(size))]
    median, middle, most = (1000 * value for value in values)
    return (
        f"{name}: {len(errors)} joints, median {median:+.0f} ms, median of the absolute error {middle:.0f} "
        f"ms, 90 % below {most:.0f} ms"
    )


@dataclass(frozen=True)
class Clip:
    """An utterance: its file, its text, and its samples without silence at the ends."""

    file: Path
    text: str
    samples: int

    def read(self) -> np.ndarray:
        """(N,) samples."""
        return cut_silence(soundfile.read(self.file, dtype="float32")[0])


def list_clips(data: Path) -> list[Clip]:
    """The utterances of a dumped set."""
    clips = [Clip(file, text, 0) for file, text in find_recordings(data).values()]
    return [Clip(clip.file, clip.text, len(clip.read())) for clip in clips]


def choose_clips(clips: list[Clip], seconds: float) -> list[Clip]:
    """All of them in one random order after the other, until they are long enough."""
    chosen: list[Clip] = []
    left = round(seconds * SAMPLE_RATE)
    for seed in range(1 + left // sum(clip.samples for clip in clips)):
        for clip in random.Random(seed).sample(clips, len(clips)):
            if left > 0:
                chosen.append(clip)
                left -= clip.samples
    return chosen


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="dumped sets, with wav.scp of 16 kHz and text"
    )
    parser.add_argument("--hours", type=float, default=1, help="of joined audio (default: 1)")
    add_model_arguments(parser)
    args = parser.parse_args(argv)

    from espnet_wsm.recognition.known_text import align_text

    clips = choose_clips([clip for data in args.data for clip in list_clips(data)], 3600 * args.hours)
    joints = np.cumsum([0, *(clip.samples for clip in clips)]) / SAMPLE_RATE
    transcriber = load_model(args)
    begin = time.monotonic()
    blocks: Iterator[np.ndarray] = (clip.read() for clip in clips)
    with show_progress("align", [joints[-1]]) as bar:
        aligned = align_text(transcriber, blocks, [clip.text for clip in clips], bar.advance)
    seconds = time.monotonic() - begin
    pairs = list(zip(aligned.segments, joints[:-1], joints[1:], strict=True))
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{joints[-1] / 60:.1f} minutes of {len(clips)} utterances ({len(set(clips))} different) aligned "
        f"in {seconds:.0f} s, of the processor {time.process_time():.0f} s; the process took {size:.2f} GiB"
    )
    print(describe("starts", [segment.start - start for segment, start, _ in pairs[1:]]))
    print(describe("ends", [segment.end - end for segment, _, end in pairs[:-1]]))


if __name__ == "__main__":
    main()
