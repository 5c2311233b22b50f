"""Merge the output of the jobs of format_audio into one dump folder, and check that nothing is missing."""

import argparse
from pathlib import Path

from espnet_wsm.data.dump.audio import merge_slices
from espnet_wsm.data.text.rules import add_text_arguments, read_text_arguments
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data directory that the jobs read")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder that the jobs wrote; lists go there"
    )
    parser.add_argument("--nj", type=int, default=1, help="number of jobs that ran (default: 1)")
    parser.add_argument(
        "--speed_perturb", default="", metavar="FACTORS", help="as given to the jobs (default: none)"
    )
    parser.add_argument(
        "--allow_pipes", default="false", choices=("true", "false"),
        help="true: as given to the jobs (default: false)",
    )  # fmt: skip
    parser.add_argument("--no_text", action="store_true", help="the text file, if there is one, is not read")
    add_text_arguments(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    allow_pipes = args.allow_pipes == "true"
    rules = read_text_arguments(args)
    options = args.speed_perturb, allow_pipes, rules, not args.no_text
    print(merge_slices(args.data, args.out, args.nj, *options))


if __name__ == "__main__":
    main()
