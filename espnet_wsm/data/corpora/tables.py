"""Read the rows of a corpus from a table: CSV, TSV or JSON lines.

A table has one row per utterance; each column may have any of the usual names, in which case, blanks, hyphens
and underscores do not matter:

  path       audio file, relative to the table      path, file_name, audio, audio_filepath, wav, file
  text       transcript                             text, transcription, transcript, sentence
  speaker    optional                               speaker, speaker_id, client_id, spk
  split      optional: train, dev, test             split, set, subset, partition
  start      optional, seconds                      start, begin, offset
  end        optional, seconds                      end, stop
  duration   optional, seconds, in place of end     duration
  channel    optional: 1, 2, ... or A, B, ...       channel, chan
  id         optional                               id, utt_id, utterance_id
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_wsm.data.audio.recordings import LARGEST_OVERSHOOT
from espnet_wsm.data.corpora.columns import are_numbers, choose_columns, find_near
from espnet_wsm.data.corpora.table_files import read_records
from espnet_wsm.data.kaldi.channels import parse_channel
from espnet_wsm.data.kaldi.directory import clip_start, find_time_fault
from espnet_wsm.data.kaldi.lists import count, name_some, raise_collected

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev", "development": "dev",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "unassigned": "",  # Common Voice's spontaneous speech
}  # fmt: skip


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
        duration: seconds of the audio from its beginning, where the corpus gives no times; None if unknown.
        channel: of the audio, from 1; None if the corpus does not say.
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
    duration: float | None = None
    channel: int | None = None


def name_split(name: str) -> str | None:
    """train, dev or test for one of their usual names, empty for ``unassigned``, None for another name."""
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
        columns: names of columns, if they are not the usual ones, e.g. ``{"text": "Satz"}``; their numbers,
            e.g. ``{"path": "1", "text": "2"}``, if a CSV or TSV has no header line.
        split: split of the rows, if the table has no such column.
        folder: the folder to which paths are relative; None: that of the table.
        header: names of the columns of a CSV or TSV without a header line.

    Raises:
        UserError: something cannot be read or understood; gives file, line and remedy.
    """
    columns = columns or {}
    records = read_records(table, header, header is None and are_numbers(columns))
    there = dict.fromkeys(name for _, record in records for name in record)
    chosen = choose_columns(table, there, columns)
    for sentence in () if header else find_near(there, chosen):
        print(f"warning: {table}: {sentence}", file=sys.stderr)
    if "channel" in chosen and "channel" not in columns:
        _leave_other_channels(table, records, chosen)
    return make_rows(table, records, chosen, split, folder or table.parent)


def make_rows(
    table: Path,
    records: Sequence[tuple[int, Mapping[str, Any]]],
    chosen: Mapping[str, str],
    split: str,
    folder: Path,
    at: str = ":",
) -> list[Row]:
    """The rows of records.

    Args:
        table: where the records stand, each with its number, ``at`` between them in messages.
        records: values by the names of columns.
        chosen: the column of each kind.
        split: of rows whose record names none.
        folder: to which paths are relative.

    Raises:
        UserError: times, channels or splits that cannot be understood.
    """
    rows, problems, early = [], [], []
    for line, record in records:
        values = {key: _read_value(record.get(name)) for key, name in chosen.items()}
        values = {key: value for key, value in values.items() if value}
        place = f"{table}{at}{line}"
        try:
            start, end, duration = _read_times(values)
        except ValueError as error:
            problems.append(f"{place}: start, end or duration is not a number ({error}): give seconds")
            continue
        if fault := find_time_fault(clip_start(start), end) or find_time_fault(0.0, duration):
            problems.append(f"{place}: {fault}")
            continue
        if clip_start(start) != start:
            early.append(str(line))
        channel = parse_channel(values["channel"]) if "channel" in values else None
        if "channel" in values and channel is None:
            problems.append(f"{place}: channel {values['channel']!r}: write 1 or A, 2 or B, ...")
        own = values.get("split", split)
        if own and name_split(own) is None:
            problems.append(f"{place}: split {own!r} is none of {', '.join(SPLIT_NAMES)}: rename it")
        text = " ".join(values.get("text", "").split())
        rows.append(
            Row(
                place, folder, values.get("path", ""), text, values.get("speaker", ""),
                name_split(own) or "", clip_start(start), end, values.get("id", ""), duration,
                channel,
            )
        )  # fmt: skip
    raise_collected(problems, table)
    if early:
        print(
            f"warning: {table}: {count(len(early), 'row')} beginning up to {LARGEST_OVERSHOOT:g} s before "
            f"the recording, taken from 0 s on: line {name_some(early)}",
            file=sys.stderr,
        )
    return rows


def _leave_other_channels(
    table: Path, records: Sequence[tuple[int, Mapping[str, Any]]], chosen: dict[str, str]
) -> None:
    """Do without a column ``channel`` that holds something else, e.g. where a recording was published."""
    values = (_read_value(record.get(chosen["channel"])) for _, record in records)
    if odd := next((value for value in values if value and parse_channel(value) is None), None):
        name = chosen.pop("channel")
        print(
            f"warning: {table}: the column {name!r} is not used: {odd!r} is no channel (1 or A, 2 or B, ...)",
            file=sys.stderr,
        )


def _read_times(values: Mapping[str, str]) -> tuple[float, float | None, float | None]:
    """Start, end, and the duration if it follows from neither. Raises ValueError if one is not a number."""
    start = float(values.get("start", 0))
    duration = float(values["duration"]) if "duration" in values else None
    if "end" in values:
        return start, float(values["end"]), None
    if "start" in values and duration is not None:
        return start, start + duration, None
    return start, None, duration


def _read_value(value: object) -> str:
    """A value as text; for the audio objects of Hugging Face's datasets, their path."""
    if isinstance(value, Mapping):
        value = value.get("path")
    return "" if value is None else str(value).strip()
