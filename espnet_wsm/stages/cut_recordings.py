"""Cut long recordings of a data directory where they are quiet: the same directory with segments.

Example:
  python -m espnet_wsm.stages.cut_recordings --data data/talk --out dump/unlabelled --max_seconds 20
"""

import argparse
from pathlib import Path

from espnet_wsm.data.kaldi.cutting import cut_long_recordings
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="data directory to read, e.g. data/talk")
    parser.add_argument("--out", type=Path, required=True, help="data directory to write")
    parser.add_argument(
        "--max_seconds", type=float, required=True, help="what is longer is cut into segments of 5 to 10 s"
    )
    parser.add_argument(
        "--allow_pipes", default="false", choices=("true", "false"),
        help="true: commands in place of audio are kept, uncut (default: false)",
    )  # fmt: skip
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    print(cut_long_recordings(args.data, args.out, args.max_seconds, args.allow_pipes == "true"))


if __name__ == "__main__":
    main()
