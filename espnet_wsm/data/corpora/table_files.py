"""The records of CSV, TSV and JSON lines, as they are written: values by the names of columns.

Blanks around names and fields are no part of them. The delimiter is the one of tab, bar, comma and semicolon
that cuts the first lines into equally many fields, else the most frequent in the first line.

Not all such files quote their fields, and none says so. With commas and semicolons, fields in quotes are read
as CSV has them. With tabs and bars (Common Voice, LJSpeech) a quote is a character like any other, for a
sentence may begin with one, unless this file quotes: its first line has all fields in quotes, or a field is
in quotes with all quotes in it doubled (at least one pair), or a line has another number of fields than the
first, as where a quoted text has a line break or a tab in it. Then it is read with quotes, if every record
has as many fields as the first, and none has swallowed whole lines between two lone quotes. Otherwise it is
read without, and a line with more or fewer fields than the first is an error.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in

DELIMITED = (".csv", ".tsv", ".txt")
JSON_LINES = (".jsonl", ".json")
SUFFIXES = (*DELIMITED, *JSON_LINES)
BARE = "\t|"  # delimiters of files in which a quote may be a character like any other
SAMPLE = 100  # lines that choose the delimiter
LONGEST_FIELD = 2**31 - 1

Record = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True)
class _Reading:
    """A file in one of the two ways to read it: (first line, fields) of its records, and why not this way."""

    records: list[tuple[int, list[str]]]
    fault: str = ""


def read_records(table: Path, names: Sequence[str] | None = None, numbered: bool = False) -> list[Record]:
    """(line, values by column) of each record of a table.

    Args:
        table: file with one of ``SUFFIXES``.
        names: names of the columns of a CSV or TSV without a header line.
        numbered: whether it has no header line, and its columns are called 1, 2, ...

    Raises:
        UserError: the file cannot be read or understood; gives file, line and remedy.
    """
    suffix = table.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{table} is none of {', '.join(SUFFIXES)}: convert it to one of them")
    refuse_stand_in(table)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{table}: not UTF-8 ({error}): convert it, e.g. with iconv") from error
    except OSError as error:
        raise UserError(f"{table} cannot be read: {error.strerror}") from error
    if suffix in JSON_LINES:
        records = list(_read_json_lines(table, text))
    else:
        records = _name_fields(table, _read_delimited(table, text, names), names, numbered)
    if not records:
        raise UserError(f"{table} has no rows")
    return records


def _read_json_lines(table: Path, text: str) -> Iterator[Record]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{table}:{number}: not JSON ({error}): write one object per line") from error
        if not isinstance(record, dict):
            raise UserError(f"{table}:{number}: not a JSON object: write one per line")
        yield number, {name.strip(): value for name, value in record.items()}


def _name_fields(
    table: Path, rows: list[tuple[int, list[str]]], names: Sequence[str] | None, numbered: bool
) -> list[Record]:
    """The rows by the names of their columns; a column without a name is left out."""
    if rows and numbered:
        names = [str(number) for number in range(1, len(rows[0][1]) + 1)]
    elif rows and names is None:
        (line, names), *rows = rows
        if twice := next((name for name in names if name and names.count(name) > 1), None):
            raise UserError(
                f"{table}:{line}: the column {twice!r} is there twice: rename one, or number the columns if "
                "this is no header, e.g. --columns path=1,text=2"
            )
    pairs = ((line, zip(names, row, strict=True)) for line, row in rows)
    return [(line, {name: value for name, value in pair if name}) for line, pair in pairs]


def _read_delimited(table: Path, text: str, names: Sequence[str] | None) -> list[tuple[int, list[str]]]:
    """(line, fields) of a CSV or TSV, by the rules at the top of this module."""
    delimiter = "\t" if table.suffix.lower() == ".tsv" else _find_delimiter(text)
    width = None if names is None else len(names)
    reading = plain = _read_fields(text, delimiter, delimiter not in BARE, width)
    if delimiter in BARE and (plain.fault or _is_quoted(plain.records)):
        quoted = _read_fields(text, delimiter, True, width)
        reading = plain if quoted.fault else quoted
    if reading.fault:
        raise UserError(f"{table}:{reading.fault}")
    return reading.records


def _find_delimiter(text: str) -> str:
    lines = [line for line in text[:1_000_000].split("\n")[:SAMPLE] if line.strip()] or [""]
    there = [delimiter for delimiter in "\t|,;" if delimiter in lines[0]]
    steady = [each for each in there if len({line.count(each) for line in lines}) == 1]
    return steady[0] if steady else max(there, key=lines[0].count, default=",")


def _read_fields(text: str, delimiter: str, quotes: bool, width: int | None) -> _Reading:
    """Records of ``width`` fields, or of as many as the first has; lines of blanks are passed over."""
    csv.field_size_limit(LONGEST_FIELD)
    options = {"quoting": csv.QUOTE_NONE, "quotechar": None}
    if quotes:
        options = {"strict": True, "skipinitialspace": True}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **options)
    expected = "the first line" if width is None else f"the {width} expected"
    remedy = "put texts with the delimiter in them into quotes"
    if not quotes:
        remedy += ", also those with a line break, and double the quotes in them"
    records, line = [], 1
    try:
        for fields in reader:
            first, line = line, reader.line_num + 1
            if len(fields) < 2 and not "".join(fields).strip():
                continue
            width = width or len(fields)
            if len(fields) != width:
                what = "more" if len(fields) > width else "fewer"
                return _Reading(records, f"{first}: the row has {what} fields than {expected}: {remedy}")
            if quotes and delimiter in BARE and _has_swallowed_lines(fields, delimiter):
                return _Reading(records, f"{first}: the quotes of this row end some rows below: check them")
            records.append((first, [field.strip() for field in fields]))
    except csv.Error as error:
        return _Reading(records, f"{line}: not a row of a table ({error}): check its quotes")
    return _Reading(records)


def _has_swallowed_lines(fields: list[str], delimiter: str) -> bool:
    """Whether the lines of a field in quotes are the rest of a row, whole rows, and a part of one."""
    for place, field in enumerate(fields):
        counts, rest = [line.count(delimiter) for line in field.split("\n")], len(fields) - 1
        if counts[1:] and counts == [rest - place, *[rest] * (len(counts) - 2), place]:
            return True
    return False


def _is_quoted(records: list[tuple[int, list[str]]]) -> bool:
    """Whether fields that were read without quotes show that the file has them."""
    if records and all(len(field) > 1 and field[0] == field[-1] == '"' for field in records[0][1]):
        return True
    return any(
        len(field) > 3
        and field[0] == field[-1] == '"'
        and '""' in field[1:-1]
        and '"' not in field[1:-1].replace('""', "")
        for _, fields in records
        for field in fields
    )
