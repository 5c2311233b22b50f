"""Copy what is sound in a data directory to a new one, and log what was dropped.

The counterpart of validate_data_dir. The new lists are sorted, the old directory is left alone, and
OUT/fix.log says what was found and what was dropped.

Example:
  espnet-wsm fix_data_dir data/train_raw data/train
"""

import argparse
from pathlib import Path

from espnet_wsm.data.kaldi.repair import repair_data_dir
from espnet_wsm.data.text.rules import add_text_arguments, read_text_arguments
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="DIR", type=Path, help="data directory to read")
    parser.add_argument("out", metavar="OUT", type=Path, help="data directory to write, replaced if there")
    parser.add_argument(
        "--no_audio", action="store_true", help="only check that the audio exists, do not open it"
    )
    parser.add_argument(
        "--allow_pipes", default="false", choices=("true", "false"),
        help="true: keep commands in wav.scp, 'COMMAND |'; none is run here (default: false)",
    )  # fmt: skip
    add_text_arguments(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    rules = read_text_arguments(args)
    print(repair_data_dir(args.source, args.out, args.allow_pipes == "true", not args.no_audio, rules))


if __name__ == "__main__":
    main()
