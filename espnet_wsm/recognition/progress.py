"""A bar of the minutes of audio that are done."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

SHORT = 60  # seconds of audio of one file, for which no bar is shown


class AudioBar:
    """``advance`` it by seconds of audio, and tell it of each file that is done."""

    def __init__(self, bar: "tqdm", files: int):
        self._bar, self._files, self._done = bar, files, 0

    def advance(self, seconds: float) -> None:
        """So much more audio is done."""
        left = float("inf") if self._bar.total is None else self._bar.total - self._bar.n
        self._bar.update(min(left, seconds / 60))  # tqdm warns of what rounding puts beyond the total

    def end_file(self) -> None:
        """One more file is done."""
        self._done += 1
        if self._files > 1:
            self._bar.set_postfix_str(f"{self._done}/{self._files} files")


@contextmanager
def show_progress(name: str, seconds: Sequence[float | None]) -> Iterator[AudioBar]:
    """A bar for files of so many seconds; how long is left is shown if that is known of all."""
    from tqdm import tqdm

    known = sum(each or 0 for each in seconds)
    total = None if None in seconds else known / 60
    form = "{desc}: {n:.1f} min of audio [{elapsed}{postfix}]"
    if total:
        form = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} min of audio "
        form += "[{elapsed}<{remaining}{postfix}]"
    short = len(seconds) == 1 and total is not None and known <= SHORT
    with tqdm(desc=name, total=total, bar_format=form, disable=short) as bar:
        yield AudioBar(bar, len(seconds))
