"""Show one progress bar for parallel jobs or for a training, wherever they run.

Each writes a file beside its log, replaced as a whole so that it can be read at any time: how much is
``done`` of a ``total``, ``figures`` to show, when that was ``written``, and perhaps a ``note``, a warning.

Example:
  run.pl JOB=1:4 dump/log/cache.JOB.log ... &
  python -m espnet_wsm.recipe.progress --log dump/log/cache.JOB.log --nj 4 --total 441 --desc cache
"""

import argparse
import contextlib
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.files import write_text


def find_progress_file(log: Path) -> Path:
    """Where the job or training with this log writes its progress."""
    return log.with_suffix(".progress.json")


def write_progress(
    file: Path, done: int, total: int, figures: dict[str, float] | None = None, note: str = ""
) -> None:
    """Replace the file, with a ``note`` for the user, if any.

    That it cannot be written is no reason to stop the work.
    """
    state = {"done": done, "total": total, "figures": figures or {}, "written": time.time()}
    state |= {"note": note} if note else {}
    with contextlib.suppress(OSError):
        write_text(file, [json.dumps(state)])


def read_progress(file: Path) -> dict[str, Any] | None:
    """What :func:`write_progress` wrote, None if there is nothing to read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class ReportingBar(tqdm):
    """The bar of a job, which also writes a file beside its log (if it has one) whenever it is drawn."""

    def __init__(self, log: Path | None, **kwargs: Any) -> None:
        self.file = log and find_progress_file(log)
        self.figures: dict[str, float] = {}
        super().__init__(**kwargs)

    def show(self, done: int, figures: dict[str, float]) -> None:
        """How much is done of the total, and what is in the file beside that."""
        self.figures = figures
        self.update(done - self.n)

    def display(self, *args: Any, **kwargs: Any) -> None:
        """As tqdm's."""
        super().display(*args, **kwargs)
        if self.file:
            write_progress(self.file, self.n, self.total, self.figures)


def follow(files: list[Path], make_bar: Callable[..., tqdm], total: int | None, poll_seconds: float) -> None:
    """Show the sum of what is done until that is all, or until the parent process ends, and each note once.

    Args:
        files: of all jobs; they may not exist yet. What is in them at first is of an earlier run.
        make_bar: ``tqdm`` with what the bar is called and counts.
        total: of all jobs together; None: that of the files, and no bar until there is one.
        poll_seconds: time between two looks.
    """
    earlier = [read_progress(file) for file in files]
    states: dict[Path, dict[str, Any]] = {}
    bar = None if total is None else make_bar(total=total)
    parent = os.getppid()
    notes: set[str] = set()

    def look() -> None:
        nonlocal bar
        for file, old in zip(files, earlier, strict=True):
            state = read_progress(file)
            if state not in (None, old):
                states[file] = state
        if states:
            done = sum(state["done"] for state in states.values())
            if bar is None:
                bar = make_bar(total=sum(state["total"] for state in states.values()), initial=done)
            figures = {name: value for state in states.values() for name, value in state["figures"].items()}
            bar.set_postfix({name: _format(value) for name, value in figures.items()}, refresh=False)
            bar.update(done - bar.n)
        for note in {state.get("note", "") for state in states.values()} - notes - {""}:
            notes.add(note)
            bar.write(f"warning: {note}", file=sys.stderr)

    try:
        while os.getppid() == parent and (bar is None or bar.n < bar.total):
            look()
            time.sleep(poll_seconds)
    finally:
        look()  # for what was written before this process was told to end
        if bar is not None:
            bar.close()


def _format(value: float) -> str:
    """As ESPnet's logs do."""
    return f"{value:.3f}" if 1e-3 < abs(value) <= 1e3 else f"{value:.3e}"


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", required=True, help="log of a job, JOB in place of its number")
    parser.add_argument("--nj", type=int, default=1, help="number of jobs (default: 1)")
    parser.add_argument("--total", type=int, help="total count of all jobs together (default: as they say)")
    parser.add_argument("--desc", default="jobs", help="name of the bar (default: jobs)")
    parser.add_argument("--unit", default="utt", help="what the jobs count (default: utt)")
    parser.add_argument("--poll_seconds", type=float, default=1.0, help="time between two looks (default: 1)")
    args = parser.parse_args(argv)
    if args.nj > 1 and "JOB" not in args.log:
        raise UserError(f"--log {args.log}: with --nj {args.nj} it needs JOB in place of the number")
    logs = [Path(args.log.replace("JOB", str(job))) for job in range(1, args.nj + 1)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the bar is completed
    make_bar = functools.partial(tqdm, desc=args.desc, unit=args.unit)
    follow([find_progress_file(log) for log in logs], make_bar, args.total, args.poll_seconds)


if __name__ == "__main__":
    main()
