"""Print and plot hours, speakers, durations, speaking rates and characters.

The first directory is the training set; the characters of the others are compared with it. OUT gets the table
(README.md), all characters with their counts (characters.tsv), and a figure (data.png).

Example:
  espnet-wsm report_data_dir --out data/report data/train data/dev data/test
"""

import argparse
import sys
from pathlib import Path

from espnet_wsm.data.kaldi.lists import raise_collected
from espnet_wsm.data.kaldi.overview import write_overview
from espnet_wsm.data.kaldi.validation import shorten, survey_data_dir
from espnet_wsm.data.text.rules import add_text_arguments, read_text_arguments
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", metavar="DIR", nargs="+", type=Path, help="data directory")
    parser.add_argument("--out", type=Path, required=True, help="folder for table and figure")
    add_text_arguments(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point.

    Raises:
        UserError: a directory has faults.
    """
    args = make_parser().parse_args(argv)
    rules = read_text_arguments(args)
    surveys = [survey_data_dir(each, allow_pipes=True, rules=rules) for each in args.directories]
    raise_collected(shorten(error for survey in surveys for error in survey.errors), "data directories")
    print("\n".join(line for line in write_overview(surveys, args.out) if line.startswith("|")))
    print(f"written to {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
