"""Add to a training set what its utterances make joined to longer ones, each speaker's by themselves."""

import argparse
from pathlib import Path

from espnet_wsm.data.dump.joining import join_utterances
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="dump folder: dump/raw/train")
    parser.add_argument("--max_seconds", type=float, required=True, help="longest of what is made")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two (default: 0.2)")
    parser.add_argument("--may_be_none", action="store_true", help="go on where no two fit")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    print(join_utterances(args.dir, args.max_seconds, args.pause, args.may_be_none))


if __name__ == "__main__":
    main()
