"""How far jobs and trainings are: each writes a small file beside its log, and one bar shows them all.

The file is replaced as a whole, so that it can be read at any time, and from another machine. It says how
much is ``done`` of a ``total``, with ``figures`` to show, and when it was ``written``.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from espnet_wsm.files import write_text


def find_progress_file(log: Path) -> Path:
    """Where the job or training with this log writes its progress."""
    return log.with_suffix(".progress.json")


def write_progress(file: Path, done: int, total: int, figures: dict[str, float] | None = None) -> None:
    """Replace the file. That it cannot be written is no reason to stop the work."""
    state = {"done": done, "total": total, "figures": figures or {}, "written": time.time()}
    with contextlib.suppress(OSError):
        write_text(file, [json.dumps(state)])


def read_progress(file: Path) -> dict[str, Any] | None:
    """What :func:`write_progress` wrote, None if there is nothing to read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class ReportingBar(tqdm):
    """A progress bar of a job, which also writes a file whenever it shows something new.

    Args:
        log: the job's log; None: write no file.
        kwargs: as for ``tqdm``.
    """

    def __init__(self, log: Path | None, **kwargs: Any) -> None:
        self.file = None if log is None else find_progress_file(log)
        super().__init__(**kwargs)

    def display(self, *args: Any, **kwargs: Any) -> None:
        """As tqdm's, which calls it at most every ``mininterval`` seconds, and at the end."""
        super().display(*args, **kwargs)
        if self.file is not None:
            write_progress(self.file, self.n, self.total)


def while_parent_lives(poll_seconds: float) -> Iterator[None]:
    """Yield every ``poll_seconds`` until the process that started this one has ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        yield
        time.sleep(poll_seconds)


def follow(files: list[Path], make_bar: Callable[..., tqdm], total: int | None, poll_seconds: float) -> None:
    """Show the sum of what is done until that is all, or until the parent process ends.

    What is in the files at first is of an earlier run.

    Args:
        files: of all jobs; they may not exist yet.
        make_bar: ``tqdm`` with what the bar is called and counts.
        total: of all jobs together; None: that of the files, and no bar until there is one.
        poll_seconds: time between two looks.
    """
    earlier = [read_progress(file) for file in files]
    states: dict[Path, dict[str, Any]] = {}
    bar = None if total is None else make_bar(total=total)

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
            figures = {
                name: f"{value:.3f}" if 1e-3 < abs(value) <= 1e3 else f"{value:.3e}"  # as ESPnet logs them
                for state in states.values()
                for name, value in state["figures"].items()
            }
            bar.set_postfix(figures, refresh=False)
            bar.update(done - bar.n)

    try:
        for _ in while_parent_lives(poll_seconds):
            look()
            if bar is not None and bar.n >= bar.total:
                break
    finally:
        look()  # for what was written before this process was told to end
        if bar is not None:
            bar.close()
