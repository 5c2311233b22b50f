"""Parquet with audio in it, as Hugging Face's hub has datasets: one file or a folder of shards.

Read with pyarrow, a few rows at a time: ``datasets``, whose form this is, needs torchcodec and ffmpeg to hand
audio on, and keeps a copy of everything in a cache.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile
from tqdm import tqdm

from espnet_wsm.data.corpora.columns import choose_columns
from espnet_wsm.data.corpora.listing import Listing
from espnet_wsm.data.corpora.tables import make_rows, name_split
from espnet_wsm.data.kaldi.lists import count, name_some, replace_directory
from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in

SUFFIX = ".parquet"
BATCH = 64  # rows in memory, with their audio
LARGEST_SHARE_UNDECODABLE = 0.1
AUDIO_KEYS = {"bytes", "path"}  # the parts of a column of audio
SUFFIXES = {"WAVEX": ".wav", "RF64": ".wav"}  # of libsndfile's formats, where it is not their name
AGAIN = "download the file again"
_SHARD = re.compile(r"(.*?)-(\d+)-of-(\d+)")


@dataclass
class _Reading:
    """What is found on the way: values by row of each file; durations, and rows without sound, by place."""

    records: dict[Path, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    undecodable: list[str] = field(default_factory=list)


def list_parquet(
    files: Sequence[Path], columns: Mapping[str, str], store: Path | None, top: Path | None = None
) -> Listing:
    """The rows of parquet files; their audio is written to a folder as it is, not decoded.

    Args:
        files: the shards.
        columns: names of columns that are not the usual ones; of a nested one ``translation.en``.
        store: folder for the audio, replaced as a whole; None: nothing is written.
        top: the folder that was named; splits are taken from names of files, and of folders below it.

    Raises:
        UserError: a file is no parquet or damaged, has no column of text or audio, or much of the audio
            cannot be decoded; names file, row and remedy.
    """
    splits = _find_splits(files, top)
    named = [file for file in files if splits[file]]
    used = named or list(files)
    chosen = {file: _choose(file, columns) for file in used}
    listing = Listing(remedy="paths count from the folder of the parquet file")
    if skipped := [file.name for file in files if file not in used]:
        listing.said.append(f"left out, as they are none of train, dev and test: {name_some(skipped)}")
    if lacking := _find_lacking(files):
        listing.said.append(
            f"shards that are not there: {name_some(lacking)}: download them for the whole corpus"
        )
    reading = _Reading()
    if store is None:
        _read_all(used, chosen, None, reading, top)
    else:
        replace_directory(store, lambda new: _read_all(used, chosen, new, reading, top))
    listing.dropped = reading.dropped
    left = {place for place, _ in reading.dropped}
    for file, records in reading.records.items():
        kept = [(row, record) for row, record in records if _place(file, row) not in left]
        folders = {True: store or file.parent, False: file.parent}
        for stored in (True, False):
            part = [(row, record) for row, record in kept if record["stored"] == stored]
            if part:
                listing.rows += make_rows(
                    file, part, chosen[file], splits[file] or "", folders[stored], " row "
                )
    listing.seconds = reading.seconds if store is None else {}
    return listing


def _place(file: Path, row: int) -> str:
    return f"{file} row {row}"


def _open(file: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{file} is read with pyarrow, which is not installed: pip install pyarrow") from None
    refuse_stand_in(file)
    try:
        return parquet.ParquetFile(file, buffer_size=1 << 20)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{file} cannot be read as parquet ({_shorten(error)}): {AGAIN}") from None


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _choose(file: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The column of each kind. Of audio a nested one with ``bytes`` comes before a column ``path``."""
    from pyarrow import types

    with _open(file) as opened:
        schema = opened.schema_arrow
        kinds: dict[str, Any] = {}
        for one in schema:
            kinds[one.name] = one.type
            if types.is_struct(one.type) and not AUDIO_KEYS & {each.name for each in one.type}:
                del kinds[one.name]
                kinds |= {f"{one.name}.{each.name}": each.type for each in one.type}
        rows = opened.metadata.num_rows
    if not rows:
        raise UserError(f"{file} has no rows: {AGAIN}")
    nested = [
        name
        for name, kind in kinds.items()
        if types.is_struct(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    ]
    with_audio = {"path": nested[0]} if nested and "path" not in given else {}
    chosen = choose_columns(file, kinds, {**with_audio, **given})
    for kind, name in chosen.items():
        if kind != "path" and (types.is_nested(kinds[name]) or types.is_binary(kinds[name])):
            raise UserError(
                f"{file}: the column {name!r} for {kind} holds {kinds[name]}, and text is needed: name "
                f"another, e.g. --columns {kind}=NAME; it has {', '.join(kinds)}"
            )
    if types.is_nested(kinds[chosen["path"]]) and chosen["path"] not in nested:
        raise UserError(
            f"{file}: the column {chosen['path']!r} holds {kinds[chosen['path']]}, and bytes or a path are "
            "needed: write the audio as files"
        )
    return chosen


def _find_splits(files: Sequence[Path], top: Path | None) -> dict[Path, str | None]:
    """train, dev or test of each file, by its name, ``train-00000-of-00002``, or a folder around it."""
    splits = {}
    for file in files:
        names = [re.split(r"[-.]", file.name)[0]]
        for folder in file.parents:
            if folder == top or top is None:
                break
            names.append(folder.name)
        splits[file] = next(filter(None, map(name_split, names)), None)
    return splits


def _find_lacking(files: Sequence[Path]) -> list[str]:
    """The names of shards that others of their set imply."""
    there: dict[tuple[Path, str, str], set[int]] = {}
    for file in files:
        if found := _SHARD.fullmatch(file.stem):
            there.setdefault((file.parent, found[1], found[3]), set()).add(int(found[2]))
    return [
        f"{name}-{number:0{len(total)}}-of-{total}{SUFFIX}"
        for (_, name, total), numbers in there.items()
        for number in range(int(total))
        if number not in numbers
    ]


def _read_all(
    files: Sequence[Path], chosen: Mapping[Path, Mapping[str, str]], out: Path | None, reading: _Reading,
    top: Path | None,
) -> None:  # fmt: skip
    for number, file in enumerate(files):
        stem = file.relative_to(top).with_suffix("").as_posix().replace("/", "-") if top else file.stem
        records = reading.records[file] = []
        folder = None
        if out is not None:
            folder = out / stem if not (out / stem).exists() else out / f"{stem}-{number}"
            folder.mkdir()
        with _open(file) as opened:
            rows = _iterate(file, opened, chosen[file])
            rows = tqdm(
                rows, desc=file.name, total=opened.metadata.num_rows, unit="row", disable=None, leave=False
            )
            for row, values in enumerate(rows, start=1):
                records.append(
                    (row, _take_audio(_place(file, row), row, values, chosen[file], folder, reading))
                )

    total = sum(map(len, reading.records.values()))
    if len(reading.undecodable) > LARGEST_SHARE_UNDECODABLE * total:
        raise UserError(
            f"{reading.undecodable[0]}: the audio cannot be decoded, and {len(reading.undecodable)} of "
            f"{count(total, 'row')} are like this: {AGAIN}, or name the column of the audio with "
            "--columns path=NAME"
        )


def _iterate(file: Path, opened: Any, chosen: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The values of each row by column, a row group at a time."""
    import pyarrow

    there = set(opened.schema_arrow.names)
    first = 1
    for group in range(opened.num_row_groups):
        last = first + opened.metadata.row_group(group).num_rows - 1
        try:
            for batch in opened.iter_batches(BATCH, row_groups=[group], columns=list(chosen.values())):
                for record in batch.to_pylist():
                    yield {name: _dig(record, name, there) for name in chosen.values()}
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{file}: rows {first} to {last} (row group {group + 1} of {opened.num_row_groups}) cannot "
                f"be read ({_shorten(error)}): {AGAIN}"
            ) from None
        first = last + 1


def _dig(record: Mapping[str, Any], name: str, there: set[str]) -> Any:
    if name in there:
        return record[name]
    outer, inner = next((one, name[len(one) + 1 :]) for one in there if name.startswith(f"{one}."))
    return (record[outer] or {}).get(inner)


def _take_audio(
    place: str,
    row: int,
    values: dict[str, Any],
    chosen: Mapping[str, str],
    folder: Path | None,
    reading: _Reading,
) -> dict[str, Any]:
    """The values of a row with the path of its audio, which is written if there is a folder for it."""
    audio = values.pop(chosen["path"])
    content, path = (audio.get("bytes"), audio.get("path")) if isinstance(audio, Mapping) else (audio, None)
    if isinstance(content, str):
        content, path = None, content
    if content is None:
        return {**values, chosen["path"]: path, "stored": False}
    try:
        info = soundfile.info(io.BytesIO(content))
    except (soundfile.LibsndfileError, RuntimeError):
        reading.undecodable.append(place)
        reading.dropped.append((place, "audio that cannot be decoded" if content else "empty audio"))
        return {**values, chosen["path"]: path, "stored": True}
    name = f"{row:06}{SUFFIXES.get(info.format, f'.{info.format.lower()}')}"
    reading.seconds[place] = info.duration
    if folder is not None:
        (folder / name).write_bytes(content)
        name = f"{folder.name}/{name}"
    return {**values, chosen["path"]: name, "stored": True}
