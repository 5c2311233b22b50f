"""Refuse ids of --unlabelled that the training set has too, and say what it shares with sets to measure on.

Utterances are the same if their samples are, whatever their ids.
"""

import argparse
import sys
from pathlib import Path

from espnet_wsm.data.dump.lists import read_dumps
from espnet_wsm.data.dump.shared_audio import tell_shared_audio
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="dump folder: dump/raw/unlabelled")
    parser.add_argument("--source", required=True, help="the directory that it was made from, as given")
    parser.add_argument("--train", type=Path, required=True, help="that of the training set: dump/raw/train")
    parser.add_argument("sets", metavar="SET", nargs="+", type=Path, help="dump folders, e.g. dump/raw/test")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    read_dumps([args.train, args.dir])
    for labelled in dict.fromkeys(args.sets):
        if warning := tell_shared_audio(args.dir, labelled, args.source):
            print(f"warning: {warning}", file=sys.stderr)


if __name__ == "__main__":
    main()
