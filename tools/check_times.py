#!/usr/bin/env python3
"""How far the times of words are from where they are known: at the joints of joined utterances.

.venv/bin/python tools/check_times.py --model egs/asterisk/asr1/exp/it/asr_X \\
    --data egs/asterisk/asr1/dump/it/raw/test

Silence at both ends of each utterance is cut off (35 dB below its loudest 10 ms), so that the first word of
each begins where the one before it ends. All of them are joined to one recording, whose text is aligned.
Prints the errors of these starts, and of the ends before them; positive is late.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import soundfile

from espnet_wsm.errors import report_user_errors
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.recognition.options import add_model_arguments, load_model

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


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="dumped set, with wav.scp of 16 kHz and text"
    )
    parser.add_argument("--minutes", type=float, default=60, help="of joined audio, at most (default: 60)")
    add_model_arguments(parser)
    args = parser.parse_args(argv)

    from espnet_wsm.recognition.known_text import align_text

    files, texts = (
        dict(line.split(maxsplit=1) for line in (args.data / name).read_text(encoding="utf-8").splitlines())
        for name in ("wav.scp", "text")
    )
    recipe = next(folder for folder in args.data.resolve().parents if (folder / "run.sh").exists())
    parts, lines = [], []
    for key in sorted(texts.keys() & files.keys()):
        samples, _ = soundfile.read(recipe / files[key], dtype="float32")
        parts.append(cut_silence(samples))
        lines.append(texts[key])
        if sum(map(len, parts)) > 60 * args.minutes * SAMPLE_RATE:
            break
    joints = np.cumsum([0, *map(len, parts)]) / SAMPLE_RATE
    transcriber = load_model(args)
    begin = time.monotonic()
    aligned = align_text(transcriber, np.concatenate(parts), lines, progress=True)
    seconds = time.monotonic() - begin
    pairs = list(zip(aligned.segments, joints[:-1], joints[1:], strict=True))
    print(f"{joints[-1] / 60:.1f} minutes of {len(lines)} utterances aligned in {seconds:.0f} s")
    print(describe("starts", [segment.start - start for segment, start, _ in pairs[1:]]))
    print(describe("ends", [segment.end - end for segment, _, end in pairs[:-1]]))


if __name__ == "__main__":
    main()
