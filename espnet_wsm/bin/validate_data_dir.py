"""Check Kaldi data directories: the lists, and that the audio they name is there.

Prints one line per directory, or everything that is wrong, each with file, line, id and what to do.
"""

import argparse
from pathlib import Path

from espnet_wsm.data.kaldi import summarise_data_dir
from espnet_wsm.data.lists import raise_collected
from espnet_wsm.errors import UserError, report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "directories", metavar="DIR", nargs="+", type=Path, help="data directory, e.g. data/train"
    )
    parser.add_argument(
        "--no_text", action="store_true", help="do not require a text file (unlabelled audio)"
    )
    parser.add_argument(
        "--allow_pipes", default="false", choices=("true", "false"),
        help="true: let wav.scp name commands, 'COMMAND |'; none is run here (default: false)",
    )  # fmt: skip
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    problems = []
    for directory in args.directories:
        try:
            print(summarise_data_dir(directory, not args.no_text, args.allow_pipes == "true"))
        except UserError as error:
            problems.append(str(error))
    raise_collected(problems, "data directories")


if __name__ == "__main__":
    main()
