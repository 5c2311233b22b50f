"""Options of the commands that write utterances with their times."""

import argparse

from espnet_wsm.errors import UserError
from espnet_wsm.recognition.transcript import LONGEST, PAUSE


def add_utterance_arguments(parser: argparse._ActionsContainer) -> None:
    """Where utterances end."""
    parser.add_argument(
        "--pause", type=float, default=PAUSE, metavar="SECONDS",
        help=f"silence between words at which an utterance ends (default: {PAUSE})",
    )  # fmt: skip
    parser.add_argument(
        "--longest", type=float, default=LONGEST, metavar="SECONDS",
        help="of an utterance: longer ones are parted at their longest pauses between words (default: "
        f"{LONGEST:g}; 0: none is)",
    )  # fmt: skip


def check_utterance_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for times that cannot be; ``longest`` 0 becomes infinite."""
    for name in ("pause", "longest"):
        if not 0 <= getattr(args, name) < float("inf"):
            raise UserError(f"--{name} {getattr(args, name):g}: give seconds, 0 or more")
    args.longest = args.longest or float("inf")
