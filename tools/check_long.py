#!/usr/bin/env python3
"""What it costs to recognise utterances in a long recording, and while they are spoken.

.venv/bin/python tools/check_long.py --model egs/asterisk/asr1/exp/it/asr_X \\
    --data egs/asterisk/asr1/dump/it/raw/test --figure live.png

The utterances of a set are joined to recordings, each in a random order, with the silence that is at their
ends. Prints a table of character error rates over all recordings: of the utterances alone, of the recordings
as `transcribe` cuts them, and of the recordings as `transcribe --live` hears them with each of --look_aheads;
there, too, how long after its end a word is final in the median and for nine of ten (in the time of the
audio, without that of computing), and the time of computing as a share of that of the audio.
"""

import argparse
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from espnet_wsm.data.dump.lists import find_recordings
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.figures import import_pyplot, write_figure
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.recognition.live_options import read_timing
from espnet_wsm.recognition.live_output import Stats
from espnet_wsm.recognition.options import add_model_arguments, load_model
from espnet_wsm.tables import render_table

HEADS = ["way", "CER %", "latency: median", "nine of ten", "real-time factor"]


@dataclass(frozen=True)
class Measured:
    """One row of the table; seconds of latency, and the time of computing as a share of that of the audio."""

    way: str
    cer: float
    factor: float
    latency: tuple[float, float] | None = None

    def format(self) -> list[str]:
        """Its cells."""
        late = ["–", "–"] if self.latency is None else [f"{seconds:.2f} s" for seconds in self.latency]
        return [self.way, f"{self.cer:.2f}", *late, f"{self.factor:.3f}"]


def find_cer(texts: list[str], found: list[str]) -> float:
    """In percent."""
    from espnet_wsm.scoring.python_scorer import score_lines

    counts = score_lines(zip(texts, found, strict=True))
    return 100 * sum(each.errors for each in counts) / sum(each.words for each in counts)


def hear_live(transcriber, options, recordings: list[np.ndarray]) -> tuple[list[str], tuple[float, float]]:
    """The texts of recordings that come a step at a time, and ``Stats.spread`` of their words."""
    from espnet_wsm.recognition.live import LiveTranscriber

    texts, stats = [], Stats()
    for samples in recordings:
        live, words = LiveTranscriber(transcriber, options), []
        for begin in range(0, len(samples), live.step):
            if update := live.push(samples[begin : begin + live.step]):
                words += update.words
                stats.add(update, 0.0)
        words += live.finish().words  # without latencies: that the audio ends makes them early
        texts.append(" ".join(word.text for word in words))
    return texts, stats.spread


def draw(rows: list[Measured], file: Path) -> None:
    """Error rates over latency, and the rate of the whole recordings beside them."""
    plt = import_pyplot()
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    live = [row for row in rows if row.latency is not None]
    axes.plot([row.latency[0] for row in live], [row.cer for row in live], "o-", label="live")
    axes.axhline(rows[1].cer, linestyle="--", color="#555555", label="the whole recording")
    axes.set(xlabel="seconds from the end of a word until it is final (median)", ylabel="CER %")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(figure, file)


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="wav.scp and text, as in dump/raw/test")
    parser.add_argument("--orders", type=int, default=2, help="recordings of all utterances (default: 2)")
    parser.add_argument("--figure", type=Path, help="PNG to draw error rates over latency into")
    add_model_arguments(parser)
    parser.add_argument(
        "--look_aheads", type=float, nargs="+", default=[0.25, 0.5, 1, 2, 4], metavar="SECONDS",
        help="of audio that follow before text is final (default: 0.25 0.5 1 2 4)",
    )  # fmt: skip
    parser.add_argument("--step", type=float, help="seconds of audio (default: 0.5)")
    parser.add_argument("--context", type=float, help="seconds of audio (default: 10)")
    args = parser.parse_args(argv)
    if args.orders < 1:
        raise UserError(f"--orders {args.orders}: give 1 or more")
    utterances = list(find_recordings(args.data).values())
    audio = [soundfile.read(file, dtype="float32")[0] for file, _ in utterances]
    orders = [random.Random(seed).sample(range(len(audio)), len(audio)) for seed in range(args.orders)]
    recordings = [np.concatenate([audio[place] for place in order]) for order in orders]
    texts = [" ".join(utterances[place][1] for place in order) for order in orders]
    seconds = sum(map(len, recordings)) / SAMPLE_RATE
    transcriber = load_model(args, live=True)
    transcriber.transcribe(audio[0])  # the first pass takes longer
    rows: list[Measured] = []

    def add(row: Measured) -> None:
        """Keep a row, and show it while the others are made."""
        rows.append(row)
        print("  ".join(row.format()), file=sys.stderr, flush=True)

    begin = time.monotonic()
    alone = list(transcriber.transcribe_all(audio))
    factor = (time.monotonic() - begin) * args.orders / seconds
    add(Measured("each utterance alone", find_cer([text for _, text in utterances], alone), factor))
    begin = time.monotonic()
    whole = list(transcriber.transcribe_all(recordings))
    add(Measured("joined, transcribe", find_cer(texts, whole), (time.monotonic() - begin) / seconds))
    for look_ahead in args.look_aheads:
        options = read_timing(argparse.Namespace(**vars(args) | {"look_ahead": look_ahead}))
        begin = time.monotonic()
        found, spread = hear_live(transcriber, options, recordings)
        factor = (time.monotonic() - begin) / seconds
        add(Measured(f"live, look-ahead {look_ahead:g} s", find_cer(texts, found), factor, spread))
    minutes = seconds / 60 / args.orders
    print(f"{len(audio)} utterances, {args.orders} times joined to {minutes:.1f} minutes")
    print(render_table(HEADS, [row.format() for row in rows]))
    if args.figure is not None:
        draw(rows, args.figure)


if __name__ == "__main__":
    main()
