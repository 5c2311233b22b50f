"""Read a corpus from a table (CSV, TSV, JSON lines), a folder with one, or Kaldi directories.

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
import itertools
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from espnet_wsm.data.audio.faults import find_archive_entry, is_pipe
from espnet_wsm.data.corpora.splits import SPLITS, split_by_digest
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir
from espnet_wsm.data.kaldi.lists import count, name_some, raise_collected
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

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
METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
SUFFIXES = ("", ".wav", ".flac", ".mp3", ".ogg", ".opus")  # some tables omit them
FEWEST_SPEAKERS = 5  # to split by speaker
LARGEST_SHARE_MISSING = 0.1  # of audio files; if more are missing, the paths are wrong
SMALLEST_HEADER = 44  # bytes, of a WAV file; a file of this size or less holds no speech


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


@dataclass
class Prepared:
    """A prepared corpus: utterances by split, rows left out and why, and how it was split."""

    splits: dict[str, list[Utterance]]
    dropped: list[tuple[str, str]]
    how: str


def read_corpus(source: Path, columns: Mapping[str, str] | None = None) -> Prepared:
    """Read a table, a folder with tables (Hugging Face's audiofolder), or Kaldi directories.

    If the corpus names no splits, test and dev get a tenth each: by speaker if there are five or more, else
    by text, so that no text is in two splits.

    Args:
        source: file or folder.
        columns: names of columns, if they are not the usual ones, e.g. ``{"text": "Satz"}``.

    Raises:
        UserError: something cannot be read or understood; gives file, line and remedy.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source} does not exist: name a table, or a folder with one or with wav.scp")
    if source.is_file():
        return _prepare_rows(read_table(source, columns))
    kaldi = {folder: _name_split(folder.name) for folder in _find_folders(source, ("wav.scp",))}
    if kaldi:
        return _prepare_kaldi(kaldi)
    rows = []
    for folder in _find_folders(source, METADATA):
        table = next(folder / name for name in METADATA if (folder / name).is_file())
        rows += read_table(table, columns, _name_split(folder.name) or "")
    if not rows:
        raise UserError(f"{source} holds neither {', '.join(METADATA)} nor wav.scp, nor do its folders")
    return _prepare_rows(rows)


def _find_folders(source: Path, names: Iterable[str]) -> list[Path]:
    """``source``, or those folders in it, that hold a file with one of the names."""
    folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    found = [folder for folder in folders if any((folder / name).is_file() for name in names)]
    return found[:1] if found[:1] == [source] else found


def _name_split(name: str) -> str | None:
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
        if not 0 <= start < (math.inf if end is None else end):
            problems.append(
                f"{place}: from {start:g} to {end} s is not a part of a recording: correct the times"
            )
            continue
        own = values.get("split", split)
        if own and _name_split(own) is None:
            problems.append(f"{place}: split {own!r} is none of {', '.join(SPLIT_NAMES)}: rename it")
        text = " ".join(values.get("text", "").split())
        rows.append(
            Row(
                place, folder or table.parent, values.get("path", ""), text, values.get("speaker", ""),
                _name_split(own) or "", start, end, values.get("id", ""),
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


def _find_audio(row: Row) -> Path | None:
    for suffix in SUFFIXES:
        path = row.folder / (row.path + suffix)
        if path.is_file():
            return path
    return None


def _prepare_rows(rows: list[Row]) -> Prepared:
    kept, dropped = _find_usable(rows, "paths count from the folder of the table")
    utterances = _make_utterances(kept)
    return _divide([(each, row.split) for each, (row, _) in zip(utterances, kept, strict=True)], dropped)


def prepare_sets(sets: Mapping[str, Sequence[Row]], remedy: str) -> Prepared:
    """Prepare a corpus that defines its own sets, which may overlap.

    Args:
        sets: rows by the name of the set.
        remedy: what to do if more than a tenth of the audio files of a set are missing.

    Raises:
        UserError: more than a tenth of the audio files are missing, or nothing in a set can be used.
    """
    if empty := [name for name, rows in sets.items() if not rows]:
        raise UserError(f"nothing is left of {empty[0]}: {remedy}")
    found = {name: _find_usable(rows, remedy) for name, rows in sets.items()}
    utterances = iter(_make_utterances([each for kept, _ in found.values() for each in kept]))
    splits = {name: list(itertools.islice(utterances, len(kept))) for name, (kept, _) in found.items()}
    dropped = dict.fromkeys(each for _, reasons in found.values() for each in reasons)
    return Prepared(splits, list(dropped), "as the corpus says")


def _find_usable(rows: Sequence[Row], remedy: str) -> tuple[list[tuple[Row, Path]], list[tuple[str, str]]]:
    """The rows that can be used, with their audio; for the others, place and reason."""
    dropped, kept, missing = [], [], []
    for row in rows:
        audio = _find_audio(row) if row.path else None
        if not row.path:
            dropped.append((row.place, "no path"))
        elif not row.text:
            dropped.append((row.place, "no text"))
        elif audio is None:
            missing.append(row)
            dropped.append((row.place, "no audio file"))
        elif audio.stat().st_size <= SMALLEST_HEADER:
            dropped.append((row.place, "empty audio file"))
        else:
            kept.append((row, audio))
    if len(missing) > LARGEST_SHARE_MISSING * len(rows):
        first = missing[0]
        raise UserError(
            f"{first.place}: {first.folder / first.path} is no file, and {len(missing)} of "
            f"{count(len(rows), 'row')} are like this: {remedy}"
        )
    if not kept:
        raise UserError(f"{dropped[0][0]}: {dropped[0][1]}, and so for all rows: see which columns it has")
    return kept, dropped


def _make_utterances(kept: list[tuple[Row, Path]]) -> list[Utterance]:
    return [
        Utterance(id, audio, row.text, _clean_id(row.speaker) if row.speaker else id, row.start, row.end)
        for id, (row, audio) in zip(_name_utterances(kept), kept, strict=True)
    ]


def _clean_id(name: str) -> str:
    return re.sub(r"[^\w.=+@-]+", "_", name)


def _name_utterances(kept: list[tuple[Row, Path]]) -> list[str]:
    """The ids of the table, else ``SPEAKER-FILE``, with the path in place of ambiguous file names."""

    def name(row: Row, file: str) -> str:
        parts = [_clean_id(row.speaker)] if row.speaker else []
        parts.append(_clean_id(file))
        if row.start or row.end is not None:  # as in Kaldi, in hundredths of a second
            parts.append(f"{round(100 * row.start):07}")
        return "-".join(parts)

    if all(row.id for row, _ in kept):
        return [_clean_id(row.id) for row, _ in kept]
    short = [name(row, audio.stem) for row, audio in kept]
    if len(set(short)) == len({(audio, row.start, row.end) for row, audio in kept}):
        return short
    return [name(row, str(Path(row.path).with_suffix("")).replace("/", ".")) for row, _ in kept]


def _divide(utterances: list[tuple[Utterance, str]], dropped: list[tuple[str, str]]) -> Prepared:
    """Fill the splits; those that the corpus lacks are taken from the training set."""
    splits = {name: [each for each, split in utterances if split == name] for name in SPLITS}
    rest = splits["train"] + [each for each, split in utterances if not split]
    wanted = [name for name in ("test", "dev") if not splits[name]]
    if not wanted:
        splits["train"] = rest
        return Prepared(splits, dropped, "as the corpus says")
    speakers = {each.speaker for each in rest}
    by_speaker = len(speakers) >= FEWEST_SPEAKERS and len(speakers) < len(rest)
    key = (lambda each: each.speaker) if by_speaker else (lambda each: _fold(each.text))
    home = split_by_digest(key(each) for each in rest)
    for name in wanted:  # a tenth of a few keys may be none
        free = [each for each, split in home.items() if split not in wanted]
        if name not in home.values() and len(free) > 1:
            home[free[0]] = name
    splits["train"] = []
    for each in rest:
        name = home[key(each)]
        splits[name if name in wanted else "train"].append(each)
    how = f"{' and '.join(wanted)} taken from the rest by {'speaker' if by_speaker else 'text'}"
    if lacking := [name for name in SPLITS if not splits[name]]:
        raise UserError(
            f"{count(len(utterances), 'utterance')} with {count(len(speakers), 'speaker')} are too few to "
            f"make {' and '.join(lacking)} of: name the splits in a column 'split'"
        )
    return Prepared(splits, dropped, how)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _prepare_kaldi(folders: Mapping[Path, str | None]) -> Prepared:
    """Prepare Kaldi directories named train, dev and test, or a single one that has to be split."""
    if len(folders) > 1 and (odd := [folder for folder, split in folders.items() if split is None]):
        raise UserError(
            f"{name_some(map(str, odd))}: name Kaldi directories train, dev and test, or give one alone"
        )
    utterances = []
    for folder, split in folders.items():
        for each in read_data_dir(folder, allow_pipes=True):
            audio = each.audio
            # Kaldi's paths are relative to the folder of a recipe, which need not be this one.
            if not (is_pipe(audio) or find_archive_entry(audio) or Path(audio).exists()):
                beside = [place / audio for place in (folder, *folder.parents) if (place / audio).is_file()]
                audio = beside[0] if beside else audio
            utterances.append((replace(each, audio=audio), split or ""))
    return _divide(utterances, [])


def write_corpus(prepared: Prepared, out: Path) -> list[str]:
    """Write a directory for each set and ``out/dropped.txt``; returns a summary, one line each.

    Raises:
        UserError: an id is used twice, or is not allowed in a list.
    """
    parts = defaultdict(set)
    for each in itertools.chain.from_iterable(prepared.splits.values()):
        parts[each.id].add((str(each.audio), each.start, each.end))
    if twice := [id for id, audio in parts.items() if len(audio) > 1]:
        raise UserError(f"{count(len(twice), 'id')} given twice: {name_some(twice)}: ids must differ")
    for name, utterances in prepared.splits.items():
        write_data_dir(out / name, utterances)
    write_text(out / "dropped.txt", (f"{place} {reason}" for place, reason in prepared.dropped))
    lines = [f"{name}: {count(len(utterances), 'utterance')}" for name, utterances in prepared.splits.items()]
    reasons = Counter(reason for _, reason in prepared.dropped).most_common()
    summary = ", ".join(f"{number} {reason}" for reason, number in reasons)
    if summary:
        lines.append(f"left out: {summary}, see {out / 'dropped.txt'}")
    return [*lines, f"splits: {prepared.how}"]


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
