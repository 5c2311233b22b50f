"""Read the rows of a corpus from a table: CSV, TSV or JSON lines.

A table has one row per utterance; each column may have any of the usual names:

  path       audio file, relative to the table      path, file_name, audio, audio_filepath, wav, file
  text       transcript                             text, transcription, transcript, sentence
  speaker    optional                               speaker, speaker_id, client_id, spk
  split      optional: train, dev, test             split, set, subset, partition
  start      optional, seconds                      start, begin, offset
  end        optional, seconds                      end, stop (or start + duration)
  id         optional                               id, utt_id, utterance_id
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_wsm.data.kaldi.directory import find_time_fault
from espnet_wsm.data.kaldi.lists import raise_collected
from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in

COLUMNS = {
    "path": ("path", "file_name", "audio", "audio_filepath", "wav", "file"),
    "text": ("text", "transcription", "transcript", "sentence"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
    "split": ("split", "set", "subset", "partition"),
    "start": ("start", "begin", "offset"),
    "end": ("end", "stop"),
    "duration": ("duration",),
    "id": ("id", "utt_id", "utterance_id"),
}
NEEDED = ("path", "text")
SPLIT_NAMES = {
    "train": "train", "training": "train",
    "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev", "development": "dev",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
TABLES = (".csv", ".tsv", ".jsonl", ".json")


@dataclass(frozen=True)
class Row:
    """An utterance as its corpus lists it, not yet checked.

    Args:
        place: where it is listed, ``FILE:LINE``, for messages and ``dropped.txt``.
        folder: the folder to which ``path`` is relative.
        path: path of the audio; may lack its suffix.
        text: transcript.
        speaker: empty if unknown.
        split: train, dev or test; empty if the corpus does not say.
        start: start time of the utterance in the audio, in seconds.
        end: end time in seconds; None = the end of the audio.
        id: utterance id; empty: made from speaker and path.
    """

    place: str
    folder: Path
    path: str
    text: str
    speaker: str = ""
    split: str = ""
    start: float = 0.0
    end: float | None = None
    id: str = ""


def name_split(name: str) -> str | None:
    """train, dev or test for one of their usual names, None for another."""
    return SPLIT_NAMES.get(name.strip().lower())


def read_table(
    table: Path,
    columns: Mapping[str, str] | None = None,
    split: str = "",
    folder: Path | None = None,
    header: Sequence[str] | None = None,
) -> list[Row]:
    """The rows of a table, with the columns listed at the top of this module.

    Args:
        table: file.
        columns: names of columns, if they are not the usual ones, e.g. ``{"text": "Satz"}``.
        split: split of the rows, if the table has no such column.
        folder: the folder to which paths are relative; None: that of the table.
        header: names of the columns of a CSV or TSV without a header line.

    Raises:
        UserError: something cannot be read or understood; gives file, line and remedy.
    """
    suffix = table.suffix.lower()
    if suffix not in TABLES:
        raise UserError(f"{table} is none of {', '.join(TABLES)}: convert it to one of them")
    refuse_stand_in(table)
    try:
        if suffix in (".jsonl", ".json"):
            records = list(_read_json_lines(table))
        else:
            records = list(_read_delimited(table, header))
    except UnicodeDecodeError as error:
        raise UserError(f"{table}: not UTF-8 ({error}): convert it, e.g. with iconv") from error
    except OSError as error:
        raise UserError(f"{table} cannot be read: {error.strerror}") from error
    if not records:
        raise UserError(f"{table} has no rows")
    there = {str(name).strip() for _, record in records for name in record if name is not None}
    chosen = _choose_columns(table, there, columns or {})
    rows, problems = [], []
    for line, record in records:
        values = {key: _read_value(record.get(name)) for key, name in chosen.items()}
        values = {key: value for key, value in values.items() if value}
        place = f"{table}:{line}"
        try:
            start = float(values.get("start", 0))
            end = float(values["end"]) if "end" in values else None
            if end is None and "start" in values and "duration" in values:
                end = start + float(values["duration"])
        except ValueError as error:
            problems.append(f"{place}: start, end or duration is not a number ({error}): give seconds")
            continue
        if fault := find_time_fault(start, end):
            problems.append(f"{place}: {fault}")
            continue
        own = values.get("split", split)
        if own and name_split(own) is None:
            problems.append(f"{place}: split {own!r} is none of {', '.join(SPLIT_NAMES)}: rename it")
        text = " ".join(values.get("text", "").split())
        rows.append(
            Row(
                place, folder or table.parent, values.get("path", ""), text, values.get("speaker", ""),
                name_split(own) or "", start, end, values.get("id", ""),
            )
        )  # fmt: skip
    raise_collected(problems, table)
    return rows


def _read_value(value: object) -> str:
    """A value as text; for the audio objects of Hugging Face's datasets, their path."""
    if isinstance(value, Mapping):
        value = value.get("path")
    return "" if value is None else str(value).strip()


def _read_delimited(table: Path, names: Sequence[str] | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, row) of a CSV, with the delimiter found in its header, or of a TSV, in which quotes are text."""
    csv.field_size_limit(2**31 - 1)
    with table.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        if table.suffix.lower() == ".tsv":
            reader = csv.DictReader(file, names, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            delimiter = max(",;|\t", key=header.count)
            reader = csv.DictReader(file, names, delimiter=delimiter, strict=True)
        try:
            twice = [name for name, number in Counter(reader.fieldnames or ()).items() if number > 1]
            if twice:
                raise UserError(f"{table}:1: the column {twice[0]!r} is there twice: rename one")
            for record in reader:
                if None in record:
                    raise UserError(
                        f"{table}:{reader.line_num}: the row has more fields than the "
                        f"{'header' if names is None else f'{len(names)} expected'}: "
                        "put texts with the delimiter in them into quotes"
                    )
                yield reader.line_num, record
        except csv.Error as error:
            raise UserError(
                f"{table}:{reader.line_num}: not a row of a table ({error}): check its quotes"
            ) from error


def _read_json_lines(table: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with table.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{table}:{number}: not JSON ({error}): write one object per line") from error
            if not isinstance(record, dict):
                raise UserError(f"{table}:{number}: not a JSON object: write one per line")
            yield number, record


def _choose_columns(table: Path, there: set[str], given: Mapping[str, str]) -> dict[str, str]:
    """The column of each kind: the given one, else the first with a usual name, in any case."""
    if unknown := given.keys() - COLUMNS.keys():
        raise UserError(f"--columns {min(unknown)}: there are {', '.join(COLUMNS)}")
    if missing := set(given.values()) - there:
        raise UserError(f"{table} has no column {min(missing)!r}; it has {', '.join(sorted(there))}")
    by_case = {name.lower(): name for name in sorted(there)}
    chosen = dict(given)
    for kind, names in COLUMNS.items():
        found = [by_case[name] for name in names if name in by_case]
        if kind not in chosen and found:
            chosen[kind] = found[0]
    for kind in NEEDED:
        if kind not in chosen:
            raise UserError(
                f"{table} has no column for {kind} ({', '.join(COLUMNS[kind])}): say which it is, e.g. "
                f"--columns '{kind}=NAME'; it has {', '.join(sorted(there))}"
            )
    return chosen


def parse_columns(words: str) -> dict[str, str]:
    """``"text=Satz,path=Datei"`` -> ``{"text": "Satz", "path": "Datei"}``.

    Raises:
        UserError: a part is not ``KIND=NAME``.
    """
    columns = {}
    for part in filter(None, words.split(",")):
        kind, equals, name = part.partition("=")
        if not (kind and equals and name):
            raise UserError(f"--columns {words!r}: {part!r} is not KIND=NAME, e.g. text=Satz")
        columns[kind.strip()] = name.strip()
    return columns
