"""What is shown of live recognition: on a terminal, as lines, as events; and how late it was."""

import json
import shutil
import statistics
import sys
import unicodedata
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from espnet_wsm.annotations import Word
from espnet_wsm.annotations.json_format import describe_span
from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.recognition.live import Update

FAINT, PLAIN, KEEP, BACK, WIPE = "\x1b[2m", "\x1b[0m", "\x1b7", "\x1b8", "\x1b[J"


class Output(Protocol):
    """Where updates go."""

    def show(self, update: Update) -> None: ...

    def end(self) -> None: ...


def choose_output(events: bool, stream: TextIO | None = None) -> Output:
    """Events if they are wanted, else the terminal, or lines where there is none."""
    stream = stream or sys.stdout
    if events:
        return Events(stream)
    return Screen(stream) if stream.isatty() else Lines(stream)


class Lines:
    """``START<TAB>END<TAB>TEXT`` in seconds for each utterance that has ended, as Audacity's labels are."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.words: list[Word] = []

    def show(self, update: Update) -> None:
        self.words += update.words
        if update.ends_utterance:
            self.end()

    def end(self) -> None:
        if self.words:
            text = " ".join(word.text for word in self.words)
            print(
                f"{self.words[0].start:.2f}\t{self.words[-1].end:.2f}\t{text}", file=self.stream, flush=True
            )
        self.words = []


class Events:
    """A JSON object a line for each update: ``heard`` (seconds), ``words`` that are final (start, end, text,
    confidence), ``begun`` and ``tail`` as in ``Update``, and ``ends_utterance``."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def show(self, update: Update) -> None:
        print(json.dumps(describe(update), ensure_ascii=False), file=self.stream, flush=True)

    def end(self) -> None:
        """Nothing is kept."""


def describe(update: Update) -> dict:
    """An update as JSON has it; words as in ``annotations.json_format``."""
    fields = ("begun", "tail", "heard", "ends_utterance")
    return {"words": [describe_span(word) for word in update.words]} | {
        name: getattr(update, name) for name in fields
    }


class Screen:
    """Final text goes on and on, an utterance a line, and is never written over. What may change follows it
    faintly, as far as it fits into the row."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.column = 0
        self.shown = ""  # of the word that has begun

    def show(self, update: Update) -> None:
        self._write(WIPE)
        for word in update.words:
            self._add(word.text)
        if update.ends_utterance:
            self.end()
        self._add(update.begun, is_whole=False)
        rest = f" {update.tail}" if self.column and not update.begun else update.tail
        room = shutil.get_terminal_size().columns - self.column - 1
        self._write(f"{KEEP}{FAINT}{_cut(rest, room)}{PLAIN}{BACK}")
        self.stream.flush()

    def end(self) -> None:
        if self.column:
            self._write(f"{WIPE}\n")
        self.column = 0
        self.shown = ""

    def _add(self, text: str, is_whole: bool = True) -> None:
        """Write of a word what has not been written yet."""
        more = text.removeprefix(self.shown)
        if more and not self.shown and self.column:
            more = f" {more}"
        if more and self.column + measure(more) >= shutil.get_terminal_size().columns:
            self._write("\n")
            self.column, more = 0, more.lstrip()
        self._write(more)
        self.column += measure(more)
        self.shown = "" if is_whole else text

    def _write(self, text: str) -> None:
        self.stream.write(text)


def measure(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )


def _cut(text: str, columns: int) -> str:
    """As much of a text as fits."""
    while text and measure(text) > columns:
        text = text[:-1]
    return text


@dataclass
class Stats:
    """How long the model took for the updates, and how late the words were.

    Args:
        seconds: of computing, for each update.
        latencies: from the end of each word until it was final, in seconds, computing included.
        heard: seconds of audio.
    """

    seconds: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    heard: float = 0.0

    def add(self, update: Update, seconds: float, lag: float = 0.0) -> None:
        """An update that took so long, and audio that had waited before it."""
        self.seconds.append(seconds)
        self.latencies += [update.heard - word.end + seconds + lag for word in update.words]
        self.heard = update.heard

    @property
    def spread(self) -> tuple[float, float]:
        """The median of the latencies, of which there has to be one, and what nine of ten do not exceed."""
        return statistics.median(self.latencies), sorted(self.latencies)[int(0.9 * (len(self.latencies) - 1))]

    def describe(self) -> str:
        """One or two sentences."""
        if not self.heard:
            return "no audio came"
        took = sum(self.seconds)
        each = took / len(self.seconds)
        said = (
            f"{self.heard / 60:.1f} minutes of audio in {len(self.seconds)} steps of {each:.3f} s: real-time "
            f"factor {took / self.heard:.3f}"
        )
        if self.latencies:
            median, most = self.spread
            said += (
                f"; {count(len(self.latencies), 'word')}, final {median:.2f} s after their end in the "
                f"median, {most:.2f} s for nine of ten"
            )
        return said
