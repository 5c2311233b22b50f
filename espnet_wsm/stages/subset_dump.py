"""Take a fixed subset of a training set, by minutes; a larger subset contains the smaller ones."""

import argparse
from pathlib import Path

from espnet_wsm.data.dump.subset import subset_dump
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="dump folder to read: dump/raw/train")
    parser.add_argument("--minutes", type=float, required=True, help="most minutes of speech")
    parser.add_argument("--out", type=Path, required=True, help="folder for the lists")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    print(subset_dump(args.dir, args.minutes, args.out))


if __name__ == "__main__":
    main()
