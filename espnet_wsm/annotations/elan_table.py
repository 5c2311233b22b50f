"""What ELAN's "Export As > Tab-delimited Text" writes, which is only read.

A line is an annotation: tier and participant (either may have been left out), then begin, end and mostly the
duration, each in up to three forms (``00:00:01.250``, ``1.25``, ``1250``), then the text. Newer versions
may put names of the columns in the first line; the export with one column a tier always does.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.annotations.clock import parse_clock, parse_number
from espnet_wsm.annotations.model import Recording, Segment, Tier, from_milliseconds, sort_spans
from espnet_wsm.annotations.text_files import at, read_lines
from espnet_wsm.errors import UserError

_FORMS = {
    "clock": re.compile(r"\d+:\d\d:\d\d\.\d{1,3}", re.ASCII),
    "seconds": re.compile(r"\d+\.\d+", re.ASCII),
    "milliseconds": re.compile(r"\d+", re.ASCII),
}
_NAMED_TIME = re.compile(r"(.+?) - (?:hh:mm:ss\.ms|ss\.msec|msec)")
_ADVICE = "export with tier names, Begin Time and End Time, as hh:mm:ss.ms"


@dataclass(frozen=True)
class _Columns:
    """Places of the columns: of the tier and the participant (None if left out), of both times, and of texts,
    each with the name of its tier where a column is a tier."""

    tier: int | None
    participant: int | None
    begin: int
    end: int
    texts: Sequence[tuple[int, str | None]]
    count: int


def read(path: Path, *, encoding: str | None = None) -> Recording:
    """Read an export; each tier of ELAN's is a tier, its speaker is the participant.

    Raises:
        UserError: the file cannot be read; there is no begin or end among the columns; a line has another
            number of columns, or no times. The message names file and line.
    """
    lines = [(number, line) for number, line in read_lines(path, encoding) if line.strip("\t ")]
    # The name of the .eaf stands above, quoted, if that was asked for.
    lines = [(number, line) for number, line in lines if not re.match(r'"#.*\.eaf', line)]
    if not lines:
        raise UserError(f"{path} is empty: export again")
    with at(path, f"line {lines[0][0]}"):
        cells = lines[0][1].split("\t")
        named = any(_NAMED_TIME.fullmatch(cell) for cell in cells)
        columns = (_name_columns if named else _guess_columns)(cells)
    tiers: dict[str, tuple[str, list[Segment]]] = {}
    for number, line in lines[named:]:
        with at(path, f"line {number}"):
            _read_row(line.split("\t"), columns, tiers)
    with at(path, "the whole table"):
        return Recording(
            tiers=[
                Tier(name, sort_spans(segments), speaker=speaker or None)
                for name, (speaker, segments) in tiers.items()
            ]
        )


def _read_row(cells: list[str], columns: _Columns, tiers: dict[str, tuple[str, list[Segment]]]) -> None:
    if len(cells) != columns.count:
        raise UserError(f"there are {len(cells)} columns, and {columns.count} in the first line: {_ADVICE}")
    start, end = _read_time(cells[columns.begin]), _read_time(cells[columns.end])
    speaker = "" if columns.participant is None else cells[columns.participant]
    for place, tier in columns.texts:
        if tier is not None and not cells[place]:
            continue  # that tier has no annotation at this time
        name = tier or ("" if columns.tier is None else cells[columns.tier]) or "annotations"
        if tiers.setdefault(name, (speaker, []))[0] != speaker:
            raise UserError(
                f"tier {name} is of participant {speaker or 'none'} here and {tiers[name][0] or 'none'} "
                "before: rename the tier of one in ELAN"
            )
        tiers[name][1].append(Segment(start, end, cells[place]))


def _read_time(cell: str) -> float:
    for name, form in _FORMS.items():
        if form.fullmatch(cell):
            if name == "clock":
                return parse_clock(cell)
            return parse_number(cell, "time") if name == "seconds" else from_milliseconds(int(cell))
    raise UserError(f"{cell!r} is no time: {_ADVICE}")


def _name_columns(names: list[str]) -> _Columns:
    """From the first line, which names the columns in any language: forms of times are always the same."""
    beginnings: dict[str, int] = {}  # of names before the form, with the place of the first
    for place, name in enumerate(names):
        if found := _NAMED_TIME.fullmatch(name):
            beginnings.setdefault(found[1], place)
    places = [place for place, name in enumerate(names) if _NAMED_TIME.fullmatch(name)]
    if len(beginnings) < 2:
        raise UserError(f"there is no column of the end: {_ADVICE}")
    begin, end = list(beginnings.values())[:2]
    texts = [
        place for place in range(places[-1] + 1, len(names)) if names[place] not in ("", "File", "File Path")
    ]
    if not texts or places[0] > 2:
        raise UserError(f"the columns are not (tier, participant,) begin, end, annotation: {_ADVICE}")
    single = places[0] > 0  # else each column is a tier
    return _Columns(
        0 if single else None,
        1 if places[0] == 2 else None,
        begin,
        end,
        [(texts[0], None)] if single else [(place, names[place]) for place in texts],
        len(names),
    )


def _guess_columns(cells: list[str]) -> _Columns:
    """From the first annotation: which cells in a row are times, and how many forms each is in."""
    forms = [
        next((name for name, form in _FORMS.items() if form.fullmatch(cell)), None) for cell in cells[:-1]
    ]
    times = [place for place, form in enumerate(forms) if form]
    # A tier or participant may be named as a number is: the times are the last cells before the text.
    first = len(cells) - 1
    while first > 0 and forms[first - 1]:
        first -= 1
    leading = min(first, 2)
    kinds = forms[first:]
    period = len(set(kinds))
    if not times or len(kinds) < 2 * period or kinds[:period] != kinds[period : 2 * period] or first > 2:
        raise UserError(
            f"the columns are not tier, participant, begin, end, (duration,) annotation: {_ADVICE}"
        )
    if period == 1 and len(kinds) not in (2, 3):
        raise UserError(f"there are {len(kinds)} columns of times of one form: {_ADVICE}")
    tier, participant = (0 if leading else None), (1 if leading == 2 else None)
    return _Columns(tier, participant, first, first + period, [(len(cells) - 1, None)], len(cells))
