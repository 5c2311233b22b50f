"""Show one progress bar for parallel jobs or for a training, wherever they run.

Example:
  run.pl JOB=1:4 dump/log/cache.JOB.log ... &
  python -m espnet_wsm.stages.watch_progress --log dump/log/cache.JOB.log --nj 4 --total 441 --desc cache
"""

import argparse
import functools
import signal
import sys
from pathlib import Path

from tqdm import tqdm

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.recipe.progress import find_progress_file, follow


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", required=True, help="log of a job, JOB in place of its number")
    parser.add_argument("--nj", type=int, default=1, help="number of jobs (default: 1)")
    parser.add_argument("--total", type=int, help="total count of all jobs together (default: as they say)")
    parser.add_argument("--desc", default="jobs", help="name of the bar (default: jobs)")
    parser.add_argument("--unit", default="utt", help="what the jobs count (default: utt)")
    parser.add_argument("--poll_seconds", type=float, default=1.0, help="time between two looks (default: 1)")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    if args.nj > 1 and "JOB" not in args.log:
        raise UserError(f"--log {args.log}: with --nj {args.nj} it needs JOB in place of the number")
    files = [find_progress_file(Path(args.log.replace("JOB", str(job)))) for job in range(1, args.nj + 1)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the bar is completed
    follow(files, functools.partial(tqdm, desc=args.desc, unit=args.unit), args.total, args.poll_seconds)


if __name__ == "__main__":
    main()
