"""Follow ESPnet's training log, wherever the job runs, with a progress bar that shows validation results."""

import argparse
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

STARTED = re.compile(r"(\d+)/(\d+)epoch started")
RESULTS = re.compile(r"(\d+)epoch results: (.*)")
FIGURE = re.compile(r"\b(loss|cer_ctc|cer)=([0-9.e+-]+)")


def figures(results: str) -> dict[str, str]:
    """The main validation results in a line ``Nepoch results: [train] ..., [valid] ...``."""
    valid = results.partition("[valid]")[2].partition("[att_plot]")[0]
    return {f"valid {name}": value for name, value in FIGURE.findall(valid)}


def while_parent_lives(poll_seconds: float) -> Iterator[None]:
    """Yield every ``poll_seconds`` until the process that started this one has ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        yield
        time.sleep(poll_seconds)


def follow(log: Path, poll_seconds: float) -> None:
    """Show progress as long as the parent process lives; lines already in the log are from an earlier run."""
    position = log.stat().st_size if log.exists() else 0
    progress: tqdm | None = None
    rest = ""
    for _ in while_parent_lives(poll_seconds):
        if log.exists():
            if log.stat().st_size < position:
                position, rest = 0, ""  # the launcher has started a new log
            with log.open(encoding="utf-8", errors="replace") as lines:
                lines.seek(position)
                rest += lines.read()
                position = lines.tell()
            *complete, rest = rest.split("\n")
            for line in complete:
                if (match := STARTED.search(line)) and progress is None:
                    progress = tqdm(
                        total=int(match[2]), initial=int(match[1]) - 1, desc="train", unit="epoch"
                    )
                elif (match := RESULTS.search(line)) and progress is not None:
                    progress.set_postfix(figures(match[2]), refresh=False)
                    progress.update(int(match[1]) - progress.n)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="the training log; it may not exist yet")
    parser.add_argument("--poll_seconds", type=float, default=1.0, help="time between two looks")
    args = parser.parse_args(argv)
    follow(args.log, args.poll_seconds)


if __name__ == "__main__":
    main()
