"""Write the report of a grid of experiments from its records, without training."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results",
        type=Path,
        required=True,
        nargs="+",
        help="folder written by run_experiments, e.g. results/full; several, each of another upstream, make "
        "one report",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="Markdown file to write, e.g. RESULTS.md; it links to the figures in --results "
        "(default: REPORT.md in --results)",
    )
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)

    from espnet_wsm.experiments.report import write_report

    print(write_report(args.results, out=args.out))


if __name__ == "__main__":
    main()
