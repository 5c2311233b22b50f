"""``transcribe --live``: from audio that is still coming to text."""

import argparse
import sys
import time
from contextlib import AbstractContextManager

from espnet_wsm.errors import UserError
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.recognition.live_audio import MICROPHONE, STDIN, Receiver, open_microphone, open_stdin
from espnet_wsm.recognition.live_options import add_timing_arguments, read_timing

OPTIONS = ("rate", "step", "look_ahead", "context", "events", "stats")


def add_live_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of live audio; None where they are not given."""
    group = parser.add_argument_group("live audio")
    group.add_argument(
        "--live", nargs="?", const=STDIN, metavar="SOURCE",
        help="instead of files: raw samples of standard input (16 bits, one channel), microphone, or "
        "microphone:NAME",
    )  # fmt: skip
    group.add_argument("--rate", type=int, help=f"samples in a second (default: {SAMPLE_RATE})")
    add_timing_arguments(group)
    group.add_argument(
        "--events", action="store_true", default=None, help="print each update as a line of JSON"
    )
    group.add_argument(
        "--stats", action="store_true", default=None, help="print at the end how late words were final"
    )


def transcribe_live(args: argparse.Namespace) -> None:
    """Print what is said, until the audio ends or Ctrl-C."""
    from espnet_wsm.recognition.live import LiveTranscriber
    from espnet_wsm.recognition.live_output import Stats, choose_output
    from espnet_wsm.recognition.options import load_model

    options = read_timing(args)
    output, stats = choose_output(bool(args.events)), Stats()
    with _open(args.live, args.rate or SAMPLE_RATE) as receiver:
        live = LiveTranscriber(load_model(args, live=True), options)
        if not receiver.may_wait:
            print("listening (Ctrl-C ends it)", file=sys.stderr)
        watch = Watch(receiver)
        try:
            while True:
                lag = watch.find_lag()
                if (samples := receiver.take(live.missing)) is None:
                    break
                begin = time.monotonic()
                if update := live.push(samples):
                    stats.add(update, time.monotonic() - begin, lag)
                    output.show(update)
        except KeyboardInterrupt:
            print(file=sys.stderr)
        begin = time.monotonic()
        update = live.finish()
        stats.add(update, time.monotonic() - begin)
        output.show(update)
        output.end()
    if args.stats:
        print(stats.describe(), file=sys.stderr)
    watch.tell_dropped()


def check_live(args: argparse.Namespace) -> None:
    """Raise UserError for options that do not go together."""
    if args.live is None:
        for name in OPTIONS:
            if getattr(args, name) is not None:
                raise UserError(f"--{name} is for audio that is still coming: give --live, too")
        if not args.files:
            raise UserError(
                "no FILE is named: name recordings, or give --live for audio that is still coming"
            )
        return
    if args.files:
        raise UserError(f"--live listens, and {args.files[0]} is a file: give one or the other")
    for name in ("out", "format", "channel", "out_dir", "overwrite", "skip_existing"):
        if getattr(args, name):
            raise UserError(f"--{name} is for files: leave it out, or --live (--events prints times)")
    if args.jobs != 1:
        raise UserError("--jobs is for files: leave it out, or --live")


def _open(source: str, rate: int) -> AbstractContextManager[Receiver]:
    kind, _, name = source.partition(":")
    if kind == MICROPHONE:
        return open_microphone(name or None, rate)
    if source != STDIN:
        raise UserError(f"--live {source}: give {STDIN}, {MICROPHONE} or {MICROPHONE}:NAME")
    return open_stdin(rate)


class Watch:
    """Says when the model cannot keep up, once each time, and what was lost."""

    def __init__(self, receiver: Receiver):
        self.receiver, self.is_behind = receiver, False

    def find_lag(self) -> float:
        """Seconds that the model is behind, 0 if that is not worth a word."""
        lag = self.receiver.measure_lag()
        if lag and not self.is_behind:
            print(
                f"warning: {lag:.0f} s behind: steps are longer until that is made up for; give a longer "
                "--step or a shorter --context if it comes again",
                file=sys.stderr,
            )
        self.is_behind = bool(lag)
        return lag

    def tell_dropped(self) -> None:
        """Say how much audio was left out."""
        if self.receiver.dropped:
            print(
                f"warning: {self.receiver.dropped:.1f} s of audio were left out, as the model could not keep "
                "up: give a longer --step or a shorter --context",
                file=sys.stderr,
            )
