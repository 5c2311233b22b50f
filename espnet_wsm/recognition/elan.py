"""The program that ELAN starts as a recogniser; tools/elan/install.sh puts it there.

ELAN writes parameters to standard input and reads lines from standard output and standard error alike:
``PROGRESS: 0.5 a message``, and at last ``RESULT: DONE.`` or ``RESULT: FAILED.``. To cancel it ends the
process, which on Windows is that of run.bat: then the next line finds nobody who reads it.
"""

import argparse
import math
import os
import sys
import traceback
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_wsm.annotations import Segment, from_milliseconds
from espnet_wsm.annotations.avatech import read_parameters, read_spans, write_tier
from espnet_wsm.annotations.clock import parse_number
from espnet_wsm.data.audio.channels import parse_channel
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.recognition.options import UNCALIBRATED, add_model_arguments, load_model
from espnet_wsm.recognition.stretches import read_whole, recognise_stretches
from espnet_wsm.recognition.transcript import LONGEST, PAUSE, TIER

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Advance

# Of the whole, when the audio has been read and when the model is there. ELAN takes 1 for the end.
READ, LOADED, RECOGNISED = 0.05, 0.15, 0.98
SHORTEST_PAUSE = 1e-3  # ELAN sends 1.4e-45 for a number that it has not been given


class _Cancelled(Exception):
    """ELAN reads no more."""


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.set_defaults(batch_size=1)  # progress is reported by the batch
    parser.add_argument("--tier", default=TIER, help=f"name of the tier that ELAN makes (default: {TIER})")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    try:
        try:
            _recognise(args)
        except SystemExit:  # the error has been printed
            _say("RESULT: FAILED.")
            raise
        except _Cancelled:
            raise
        except Exception:
            traceback.print_exc()
            _say("RESULT: FAILED.")
            sys.exit(1)
        _say("RESULT: DONE.")
    except _Cancelled:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed
        sys.exit(1)


def _say(line: str) -> None:
    """Print a line at once."""
    try:
        print(line, flush=True)
    except OSError:
        raise _Cancelled from None


@report_user_errors
def _recognise(args: argparse.Namespace) -> None:
    given = read_parameters(sys.stdin.buffer.read().decode("utf-8"))
    for name in ("source", "output_tier"):
        if name not in given:
            raise UserError(f"ELAN gave no {name}: choose a file for it in the panel of the recogniser")
    pause = _read_pause(given.get("pause"))
    try:
        channel = parse_channel(given.get("channel", "mix"))
    except ArgumentTypeError as error:
        raise UserError(f"channel: {error}") from None
    chosen = read_spans(Path(given["segments"])) if "segments" in given else None
    _say(f"PROGRESS: 0.01 reading {Path(given['source']).name}")
    samples = read_whole(given["source"], channel)
    _say(f"PROGRESS: {READ} loading the model {args.model}")
    transcriber = load_model(args)
    if transcriber.decoder.calibration is None:
        _say(f"INFO: {UNCALIBRATED}")
    whole = len(samples) * 1000 // SAMPLE_RATE
    stretches = chosen or [(0, whole)]
    report = _make_report(sum(max(0, min(end, whole) - start) for start, end in stretches) / 1000)
    _say(f"PROGRESS: {LOADED} recognising")
    limits = (math.inf, math.inf) if chosen else (pause, LONGEST)
    found = recognise_stretches(transcriber, samples, stretches, *limits, report)
    segments = [
        segment
        for one, stretch in zip(found, stretches, strict=True)
        for segment in ([_fill(one, stretch)] if chosen else one)
    ]
    write_tier(Path(given["output_tier"]), args.tier, segments)
    _say(f"INFO: {len(segments)} annotations")


def _read_pause(given: str | None) -> float:
    pause = PAUSE if given is None else parse_number(given, "pause")
    return pause if pause >= SHORTEST_PAUSE else PAUSE


def _fill(found: Sequence[Segment], stretch: tuple[int, int]) -> Segment:
    """An annotation of the times of the stretch, with the text in it, if there is any."""
    start, end = map(from_milliseconds, stretch)
    return Segment(start, end, found[0].text, found[0].confidence) if found else Segment(start, end, "")


def _make_report(seconds: float) -> "Advance":
    """A function that is told how much more of so many seconds of audio is recognised, and reports it."""
    done = 0.0

    def report(more: float) -> None:
        nonlocal done
        done = min(seconds, done + more)
        share = LOADED + (RECOGNISED - LOADED) * done / max(seconds, SHORTEST_PAUSE)
        _say(f"PROGRESS: {share:.3f} {done:.0f} of {seconds:.0f} s")

    return report


if __name__ == "__main__":
    main()
