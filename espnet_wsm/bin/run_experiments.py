"""Run a grid of experiments with the recipes; finished runs are not repeated.

Stages 1 and 2 of each corpus come first, then the sweep that chooses a learning rate for each arm on the
development set, then the runs. It can be interrupted at any point and called again. Records, tables and
figures go to --results.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from espnet_wsm.errors import UserError, report_user_errors

ROOT = Path(__file__).resolve().parents[2]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="the grid, e.g. conf/experiments/default.yaml"
    )
    parser.add_argument("--results", type=Path, required=True, help="folder for records, tables and figures")
    parser.add_argument(
        "--cmd",
        default="conf/cluster/local.sh",
        help="launcher with Kaldi's command line, for each run (default: %(default)s)",
    )
    parser.add_argument("--nj", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of every run.sh, e.g. downloads=/data/debian, which replaces the grid's (asr_args is "
        "appended to the grid's); may be given several times",
    )
    parser.add_argument("--upstream", type=Path, help="a checkpoint or its folder, in place of the grid's")
    parser.add_argument(
        "--arms",
        type=str.split,
        default=[],
        help='"wsm attention ...", in place of those of a grid that has one block and no sweep',
    )
    parser.add_argument(
        "--corpora", type=str.split, default=[], help='"asterisk_it asterisk_en ...", in place of the grid\'s'
    )
    parser.add_argument("--dry_run", action="store_true", help="print what would be run, and run nothing")
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    if args.nj < 1:
        raise UserError(f"--nj {args.nj}: at least one run at a time")
    if odd := [option for option in args.option if "=" not in option]:
        raise UserError(f"--option {odd[0]}: write NAME=VALUE")

    from espnet_wsm.experiments.costs import measure_costs
    from espnet_wsm.experiments.grid import add_options, read_grid
    from espnet_wsm.experiments.launching import hold_lock
    from espnet_wsm.experiments.report import write_report
    from espnet_wsm.experiments.runner import FailedRunsError, Runner

    grid = read_grid(args.config, args.arms, args.corpora)
    if args.upstream is not None:
        # All recipes' folders are as deep in the tree.
        path = os.path.relpath(args.upstream.absolute(), ROOT / "egs/RECIPE/asr1")
        grid = replace(grid, upstream=path, upstream_digest=None, title=None)
    given = dict(option.split("=", 1) for option in args.option)
    add_options(grid, given, "--option")
    runner = Runner(ROOT, grid, args.results.resolve(), args.cmd, args.nj)
    if args.dry_run:
        for run in (*grid.sweep, *grid.runs):
            print(run.title)
        return
    # Stopping this process has to stop what it has launched, which an exception does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with hold_lock(ROOT):
        args.results.mkdir(parents=True, exist_ok=True)  # fails here rather than after hours
        try:
            runner.run()
        except FailedRunsError as error:  # the runs that succeeded are still reported
            try:
                print(write_report(args.results))
            finally:
                raise error
        measure_costs(grid, ROOT, args.results)
        print(write_report(args.results))


if __name__ == "__main__":
    main()
