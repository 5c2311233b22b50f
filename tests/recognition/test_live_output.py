"""What people and programs see of live recognition."""

import io
import json
import re
import shutil

import pytest

from espnet_wsm.annotations import Word
from espnet_wsm.recognition.live import Update
from espnet_wsm.recognition.live_output import Events, Lines, Screen, Stats, choose_output, measure


def word(text: str, start: float, end: float) -> Word:
    return Word(start, end, text, 0.5)


UPDATES = [
    Update((), "", "he", 0.5),
    Update((), "hel", "lo wo", 1.0),
    Update((word("hello", 0.2, 0.9),), "", "world", 1.5),
    Update((word("world", 1.0, 1.6),), "", "", 2.5, ends_utterance=True),
    Update((), "a", "", 3.0),
    Update((word("again", 2.8, 3.4),), "", "", 3.5, ends_utterance=True),
]


def render(written: str, columns: int = 200) -> list[str]:
    """The rows of a terminal after what was written to it; the cursor returns to what was kept."""
    rows, kept = [""], (0, 0)
    row = column = 0
    for part in re.split(r"(\x1b\[\d*[a-zA-Z]|\x1b[78]|\n)", written):
        if part == "\x1b7":
            kept = row, column
        elif part == "\x1b8":
            row, column = kept
        elif part == "\x1b[J":
            rows[row:] = [rows[row][:column]]
        elif part == "\n":
            rows, row, column = [*rows, ""], row + 1, 0
        elif part and not part.startswith("\x1b"):
            rows[row] = rows[row][:column] + part + rows[row][column + len(part) :]
            column += len(part)
            assert len(rows[row]) < columns
    return rows


def test_a_screen_shows_final_text_and_behind_it_what_may_change():
    stream, seen = io.StringIO(), []
    screen = Screen(stream)
    for update in UPDATES:
        screen.show(update)
        seen.append(render(stream.getvalue()))
    assert seen == [
        ["he"], ["hello wo"], ["hello world"], ["hello world", ""], ["hello world", "a"],
        ["hello world", "again", ""],
    ]  # fmt: skip
    assert "\x1b[2mlo wo\x1b[0m" in stream.getvalue()  # faint


def test_a_row_that_is_full_goes_on_in_the_next_one(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: type("Size", (), {"columns": 12}))
    stream = io.StringIO()
    screen = Screen(stream)
    screen.show(Update((word("hello", 0, 1), word("world", 1, 2)), "", "and much more", 2.5))
    assert render(stream.getvalue(), 12) == ["hello world"]
    screen.show(Update((word("and", 2, 3),), "", "much more than fits", 3.5))
    assert render(stream.getvalue(), 12) == ["hello world", "and much mo"]
    screen.end()


def test_wide_characters_take_two_columns_and_accents_none():
    assert (measure("ab"), measure("日本"), measure("e\u0301")) == (2, 4, 1)


def test_elsewhere_each_utterance_is_a_line():
    stream = io.StringIO()
    lines = Lines(stream)
    for update in UPDATES[:-1]:
        lines.show(update)
    assert stream.getvalue() == "0.20\t1.60\thello world\n"
    lines.show(Update((word("again", 2.8, 3.4),), "", "", 3.5))
    lines.end()
    assert stream.getvalue().splitlines()[1:] == ["2.80\t3.40\tagain"]


def test_events_hold_all_that_an_update_has():
    stream = io.StringIO()
    events = Events(stream)
    for update in UPDATES:
        events.show(update)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert rows[1] == {"words": [], "begun": "hel", "tail": "lo wo", "heard": 1.0, "ends_utterance": False}
    assert rows[3]["words"] == [{"start": 1.0, "end": 1.6, "text": "world", "confidence": 0.5}]
    assert rows[3]["ends_utterance"] is True


def test_the_terminal_gets_a_screen_and_files_get_lines():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(choose_output(False, Terminal()), Screen)
    assert isinstance(choose_output(False, io.StringIO()), Lines)
    assert isinstance(choose_output(True, Terminal()), Events)


def test_latency_is_from_the_end_of_a_word_until_it_is_final():
    stats = Stats()
    for update in UPDATES:
        stats.add(update, 0.1)
    stats.add(Update((word("late", 3.5, 4.0),), "", "", 5.0), 0.1, lag=2.0)
    assert stats.latencies == pytest.approx([0.7, 1.0, 0.2, 3.1])
    assert stats.describe() == (
        "0.1 minutes of audio in 7 steps of 0.100 s: real-time factor 0.140; 4 words, final 0.85 s after "
        "their end in the median, 1.00 s for nine of ten"
    )
    assert Stats().describe() == "no audio came"
