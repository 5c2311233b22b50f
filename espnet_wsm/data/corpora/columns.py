"""Which column of a table is which: the usual names, those that the user gives, and those nearly right."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_wsm.data.corpora.table_files import DELIMITED
from espnet_wsm.errors import UserError

COLUMNS = {
    "path": ("path", "file_name", "audio", "audio_filepath", "wav", "file"),
    "text": ("text", "transcription", "transcript", "sentence"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
    "split": ("split", "set", "subset", "partition"),
    "start": ("start", "begin", "offset"),
    "end": ("end", "stop"),
    "duration": ("duration",),
    "channel": ("channel", "chan"),
    "id": ("id", "utt_id", "utterance_id"),
}
NEEDED = ("path", "text")
NEAR = 0.8  # difflib's ratio: speker, transkript
SHORTEST_NEAR = 4  # letters; shorter names are near too many others
LONGEST_SHOWN = 30  # characters of a column's name in a message
LONGEST_NAME = 3  # words of a name; the fields of a row may have more


def parse_columns(words: str) -> dict[str, str]:
    """``"text=Satz, path=Datei"`` -> ``{"text": "Satz", "path": "Datei"}``.

    Raises:
        UserError: a part is not ``KIND=NAME``, or only some columns are given by their numbers.
    """
    columns = {}
    for part in filter(None, map(str.strip, words.split(","))):
        kind, _, name = (word.strip() for word in part.partition("="))
        if not (kind and name):
            raise UserError(f"--columns {words!r}: {part!r} is not KIND=NAME, e.g. text=Satz")
        columns[kind] = name
    if any(map(str.isdecimal, columns.values())) and not are_numbers(columns):
        raise UserError(f"--columns {words!r}: give all columns by their numbers, or all by their names")
    return columns


def are_numbers(columns: Mapping[str, str] | None) -> bool:
    """Whether columns are given by their numbers, because the table has no header."""
    return bool(columns) and all(map(str.isdecimal, columns.values()))


def choose_columns(table: Path, there: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """The column of each kind: the given one, else the first with a usual name.

    Names may differ from the usual ones in case, blanks, hyphens and underscores.

    Raises:
        UserError: a given column, or a column that is needed, is not there.
    """
    there = list(there)
    if unknown := given.keys() - COLUMNS.keys():
        raise UserError(f"--columns {min(unknown)}: there are {', '.join(COLUMNS)}")
    if missing := set(given.values()) - set(there):
        raise UserError(f"{table} has no column {min(missing)!r}; it has {_show(there)}")
    free = [name for name in there if name not in given.values()]
    by_name = {_fold(name): name for name in reversed(free)} | {name: name for name in free}
    chosen = dict(given)
    for kind, names in COLUMNS.items():
        found = [by_name[each] for name in names for each in (name, _fold(name)) if each in by_name]
        if kind not in chosen and found:
            chosen[kind] = found[0]
    for kind in NEEDED:
        if kind not in chosen:
            raise _lacking(table, kind, there, chosen)
    return chosen


def find_near(there: Iterable[str], chosen: Mapping[str, str]) -> list[str]:
    """What is to be said of columns that are not used, and are nearly called like one that is lacking."""
    return [
        f"the column {name!r} is not used: if it is the {kind}, call it so, or give --columns '{kind}={name}'"
        for name in sorted(set(there) - set(chosen.values()))
        for kind in _find_near_kinds(name)
        if kind not in chosen and not (kind == "duration" and "end" in chosen)
    ]


def _find_near_kinds(name: str) -> list[str]:
    """The kind of column, if any, whose usual names this one resembles most."""
    kinds = {_fold(usual): kind for kind, names in COLUMNS.items() for usual in names}
    long = [usual for usual in kinds if len(usual) >= SHORTEST_NEAR]
    return [kinds[usual] for usual in difflib.get_close_matches(_fold(name), long, n=1, cutoff=NEAR)]


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _show(names: Iterable[str]) -> str:
    cut = (name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}..." for name in names)
    return ", ".join(cut)


def _lacking(table: Path, kind: str, there: list[str], chosen: Mapping[str, str]) -> UserError:
    """The error for a column that is needed; where the first line looks like a row, numbers are proposed."""
    near = [name for name in there if name not in chosen.values() and kind in _find_near_kinds(name)]
    numbers = ""
    if table.suffix.lower() in DELIMITED and not chosen and not all(map(_may_be_name, there)):
        numbers = ", or, as its first line looks like a row, number the columns: --columns path=1,text=2"
    return UserError(
        f"{table} has no column for {kind} ({', '.join(COLUMNS[kind])}): say which it is, e.g. "
        f"--columns '{kind}={near[0] if near else 'NAME'}'{numbers}; it has {_show(there)}"
    )


def _may_be_name(field: str) -> bool:
    """Whether a field of the first line looks like the name of a column: a few words, no digit, no path."""
    return len(field.split()) <= LONGEST_NAME and not re.search(r"[\d/\\.?!]", field)
