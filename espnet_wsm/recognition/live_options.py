"""The options that say how soon text of live audio is final."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espnet_wsm.recognition.live import LiveOptions

TIMING = ("step", "look_ahead", "context")


def add_timing_arguments(parser: argparse._ActionsContainer) -> None:
    """How soon text is final, and at what cost; None where it is not given."""
    parser.add_argument(
        "--step", type=float, metavar="SECONDS",
        help="of new audio after which the model runs again (default: 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--look_ahead", type=float, metavar="SECONDS",
        help="of audio that follow before text is final: less is sooner, more is better (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--context", type=float, metavar="SECONDS", help="of audio before that are heard again (default: 10)"
    )


def read_timing(args: argparse.Namespace) -> "LiveOptions":
    """The options of :func:`add_timing_arguments`, and ``--pause`` if there is one.

    Raises:
        UserError: they make no sense.
    """
    from espnet_wsm.recognition.live import LiveOptions

    given = {name: getattr(args, name, None) for name in (*TIMING, "pause")}
    return LiveOptions(**{name: value for name, value in given.items() if value is not None})
