"""Show one progress bar for parallel jobs, wherever they run, from the progress bars in their logs.

Example:
  run.pl JOB=1:4 dump/log/cache_train.JOB.log ... &
  python -m espnet_wsm.stages.watch_jobs --log 'dump/log/cache_train.JOB.log' --nj 4 --total 441
"""

import argparse
import re
import signal
import sys
from pathlib import Path

from tqdm import tqdm

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.stages.watch_training import while_parent_lives

TAIL_BYTES = 16384  # of a log, in which its latest bar is looked for


def find_count(tail: bytes, unit: str) -> int | None:
    """The count in the last complete tqdm bar in ``tail`` with this ``unit``, None if there is none.

    Other bars, e.g. for loading a model, have other units.
    """
    counts = re.findall(rb"(\d+)/\d+ \[[\d:]+<[^\]\r\n]*" + re.escape(unit.encode()), tail)
    return int(counts[-1]) if counts else None


class JobLog:
    """The log of one job. Until the job writes to it, its content is that of an earlier run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._old = self._state()

    def _state(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def look(self, unit: str) -> None:
        """Update ``count``, if there is something new in the log."""
        state = self._state()
        if state is None or state == self._old:
            return
        with self.path.open("rb") as log:
            start = max(0, state[1] - TAIL_BYTES)
            log.seek(start)
            tail = log.read()
        if start:  # in the middle of a line, perhaps of a number
            tail = re.sub(rb"\A[^\r\n]*", b"", tail)
        count = find_count(tail, unit)
        self._old, self.count = state, self.count if count is None else count


def follow(logs: list[JobLog], total: int, desc: str, unit: str, poll_seconds: float) -> None:
    """Show the sum of what the jobs have done until it is ``total`` or the parent process ends."""
    with tqdm(total=total, desc=desc, unit=unit) as progress:

        def look() -> None:
            for log in logs:
                log.look(unit)
            progress.update(sum(log.count for log in logs) - progress.n)

        try:
            for _ in while_parent_lives(poll_seconds):
                look()
                if progress.n >= total:
                    break
        finally:
            look()  # for what the jobs wrote before this process was told to end


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--log", required=True, help="log of a job, JOB in place of its number; it may not exist yet"
    )
    parser.add_argument("--nj", type=int, default=1, help="number of jobs (default: 1)")
    parser.add_argument("--total", type=int, required=True, help="total count of all jobs together")
    parser.add_argument("--desc", default="jobs", help="name of the bar (default: jobs)")
    parser.add_argument(
        "--unit", default="utt", help="unit of the jobs' bars; other bars are ignored (default: utt)"
    )
    parser.add_argument("--poll_seconds", type=float, default=1.0, help="time between two looks (default: 1)")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    if args.nj > 1 and "JOB" not in args.log:
        raise UserError(f"--log {args.log}: with --nj {args.nj} it needs JOB in place of the number")
    logs = [JobLog(Path(args.log.replace("JOB", str(job)))) for job in range(1, args.nj + 1)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the bar is completed
    follow(logs, args.total, args.desc, args.unit, args.poll_seconds)


if __name__ == "__main__":
    main()
