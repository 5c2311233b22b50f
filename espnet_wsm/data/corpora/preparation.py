"""From rows of tables, or Kaldi directories, to the sets of a recipe, with what was left out and why."""

import itertools
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet_wsm.data.audio.faults import find_archive_entry, is_pipe
from espnet_wsm.data.corpora.annotation_rules import AnnotationRules
from espnet_wsm.data.corpora.durations import apply_durations
from espnet_wsm.data.corpora.grouping import choose_groups
from espnet_wsm.data.corpora.listing import Listing
from espnet_wsm.data.corpora.sources import find_folders, list_source
from espnet_wsm.data.corpora.splits import DROPPED, SPLITS, split_by_digest, write_sets
from espnet_wsm.data.corpora.tables import Row, name_split
from espnet_wsm.data.corpora.trees import is_of_mac
from espnet_wsm.data.kaldi.directory import Utterance, find_early_segments, read_data_dir
from espnet_wsm.data.kaldi.lists import count, make_ids, name_some
from espnet_wsm.data.kaldi.validation import overlap
from espnet_wsm.errors import UserError

SUFFIXES = ("", ".wav", ".flac", ".mp3", ".ogg", ".opus")  # some tables omit them
FOLDERS = ("", "wavs", "wav", "clips", "audio")  # beside the table; some (LJSpeech) omit them too
FEWEST_SPEAKERS = 5  # to split by speaker
LARGEST_SHARE_MISSING = 0.1  # of audio; if more is missing or too short, the paths or durations are wrong
OF_MAC = "file ._* of a Mac"
SMALLEST_HEADER = 44  # bytes, of a WAV file; a file of this size or less holds no speech


@dataclass
class Prepared:
    """A prepared corpus: utterances by split, rows left out and why, and how it was split."""

    splits: dict[str, list[Utterance]]
    dropped: list[tuple[str, str]]
    how: str
    said: Sequence[str] = ()


def read_corpus(
    source: Path,
    columns: Mapping[str, str] | None = None,
    rules: AnnotationRules | None = None,
    store: Path | None = None,
) -> Prepared:
    """Read a corpus in any form: `sources.list_source` has all but Kaldi directories.

    If the corpus names no splits, test and dev get a tenth each: by speaker if there are five or more, else
    by text, so that no text is in two splits.

    Args:
        source: file or folder.
        columns: names or numbers of columns, see :func:`read_table`.
        rules: how annotations are read.
        store: folder for audio that is embedded in the source; needed for parquet.

    Raises:
        UserError: something cannot be read or understood; gives file, line and remedy.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source} does not exist: name a table, or a folder with one or with wav.scp")
    kaldi = find_kaldi_folders(source)
    return _prepare_kaldi(kaldi) if kaldi else prepare_listing(list_source(source, columns, rules, store))


def find_kaldi_folders(source: Path) -> dict[Path, str | None]:
    """The Kaldi directories of a source with their splits, None where the name says nothing."""
    if not source.is_dir():
        return {}
    return {folder: name_split(folder.name) for folder in find_folders(source, ("wav.scp",))}


def _find_audio(row: Row) -> Path | None:
    """The audio of a row: at its path, with a suffix that the path lacks, or in a folder of audio there.

    A path may have the backslashes of Windows.
    """
    names = dict.fromkeys((row.path, row.path.replace("\\", "/")))
    paths = (
        row.folder / folder / (name + suffix) for name in names for folder in FOLDERS for suffix in SUFFIXES
    )
    return next((path for path in paths if path.is_file()), None)


def prepare_listing(listing: Listing) -> Prepared:
    """The sets of a listing.

    Raises:
        UserError: too many audio files are missing, or too little is left to be split.
    """
    kept, dropped = find_usable(listing.rows, listing.remedy, listing.dropped)
    utterances = _make_utterances(kept)
    pairs = [(each, row.split) for each, (row, _) in zip(utterances, kept, strict=True)]
    prepared = _divide(pairs, [*listing.dropped, *dropped])
    prepared.said = listing.said
    return prepared


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
    found = {name: find_usable(rows, remedy) for name, rows in sets.items()}
    utterances = iter(_make_utterances([each for kept, _ in found.values() for each in kept]))
    splits = {name: list(itertools.islice(utterances, len(kept))) for name, (kept, _) in found.items()}
    dropped = dict.fromkeys(each for _, reasons in found.values() for each in reasons)
    return Prepared(splits, list(dropped), "as the corpus says")


def find_usable(
    rows: Sequence[Row], remedy: str, before: Sequence[tuple[str, str]] = ()
) -> tuple[list[tuple[Row, Path]], list[tuple[str, str]]]:
    """The rows that can be used, with their audio; for the others, place and reason.

    Raises:
        UserError: there are none, or too many files are missing or too short; ``remedy`` says what to do, and
            ``before`` is what was left out before.
    """
    dropped, kept, missing = [], [], []
    for row in rows:
        audio = _find_audio(row) if row.path else None
        if not row.path:
            dropped.append((row.place, "no path"))
        elif is_of_mac(row.path):
            dropped.append((row.place, OF_MAC))
        elif not row.text:
            dropped.append((row.place, "no text"))
        elif audio is None:
            missing.append(row)
            dropped.append((row.place, "no audio file"))
        elif audio.stat().st_size <= SMALLEST_HEADER:
            dropped.append((row.place, "empty audio file"))
        else:
            kept.append((row, audio))
    kept, short = apply_durations(kept)
    dropped += [
        (f"{row.place} ({row.duration:g} s, audio {seconds:g} s)", "duration beyond the audio")
        for row, seconds in short
    ]
    if len(missing) > LARGEST_SHARE_MISSING * len(rows):
        first = missing[0]
        raise UserError(
            f"{first.place}: {first.folder / first.path} is no file, and {len(missing)} of "
            f"{count(len(rows), 'row')} are like this: {remedy}"
        )
    if len(short) > LARGEST_SHARE_MISSING * len(rows):
        first, seconds = short[0]
        raise UserError(
            f"{first.place}: the duration is {first.duration:g} s, but {first.path} has {seconds:g} s, and "
            f"{len(short)} of {count(len(rows), 'row')} are like this: give seconds, or rename the column if "
            "it is something else"
        )
    if not kept:
        dropped = [*before, *dropped] or [("the source", "no utterance")]
        raise UserError(
            f"{dropped[0][0]}: {dropped[0][1]}, and so for all rows: see which columns or tiers it has"
        )
    return kept, dropped


def _make_utterances(kept: list[tuple[Row, Path]]) -> list[Utterance]:
    speakers = make_ids({row.speaker: row.speaker for row, _ in kept if row.speaker})
    ids = _name_utterances(kept, speakers)
    return [
        Utterance(id, audio, row.text, speakers.get(row.speaker, id), row.start, row.end, row.channel)
        for id, (row, audio) in zip(ids, kept, strict=True)
    ]


def _name_utterances(kept: list[tuple[Row, Path]], speakers: Mapping[str, str]) -> list[str]:
    """The ids of the table; for rows without one ``SPEAKER-FILE``, with paths where file names are ambiguous.

    Different parts of audio get different ids, unless the table gives them the same.
    """

    def name(row: Row, file: str) -> str:
        parts = [speakers[row.speaker]] if row.speaker else []
        parts.append(file)
        if row.start or row.end is not None:  # as in Kaldi, in hundredths of a second
            parts.append(f"{round(100 * row.start):07}")
        if row.channel:
            parts.append(str(row.channel))
        return "-".join(parts)

    keys = [row.id or (row.speaker, str(audio), row.start, row.end, row.channel) for row, audio in kept]
    names = {key: row.id or name(row, audio.stem) for key, (row, audio) in zip(keys, kept, strict=True)}
    if len(set(names.values())) < len(names):
        for key, (row, audio) in zip(keys, kept, strict=True):
            names[key] = row.id or name(row, str(Path(row.path).parent / audio.stem).replace("/", "."))
    ids = make_ids(names)
    return [ids[key] for key in keys]


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
    by_text = ("text", lambda each: _fold(each.text))
    keys = [("speaker", lambda each: each.speaker), by_text] if by_speaker else [by_text]
    groups, how = choose_groups(rest, keys)
    home = split_by_digest(groups)
    for name in wanted:  # a tenth of a few keys may be none
        free = [each for each, split in home.items() if split not in wanted]
        if name not in home.values() and len(free) > 1:
            home[free[0]] = name
    splits["train"] = []
    for each, group in zip(rest, groups, strict=True):
        name = home[group]
        splits[name if name in wanted else "train"].append(each)
    dropped = [*dropped, *_leave_out_overlaps(splits, wanted)]
    how = f"{' and '.join(wanted)} taken from the rest by {how}"
    if lacking := [name for name in SPLITS if not splits[name]]:
        raise UserError(
            f"{count(len(utterances), 'utterance')} with {count(len(speakers), 'speaker')} are too few to "
            f"make {' and '.join(lacking)} of: name the splits in a column 'split', or put annotations into "
            "folders train, dev and test"
        )
    return Prepared(splits, dropped, how)


def _leave_out_overlaps(
    splits: Mapping[str, list[Utterance]], taken: Sequence[str]
) -> Iterable[tuple[str, str]]:
    """Take out of training what is partly in an utterance of a set that was ``taken`` from the rest."""
    held: dict[str, list[Utterance]] = defaultdict(list)
    for name in taken:
        for each in splits[name]:
            held[str(each.audio)].append(each)
    shared = {
        each.id
        for each in splits["train"]
        if each.is_part and any(overlap(each, other) for other in held[str(each.audio)])
    }
    splits["train"][:] = [each for each in splits["train"] if each.id not in shared]
    return [(id, f"of train, and overlaps with {' or '.join(taken)}") for id in sorted(shared)]


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _prepare_kaldi(folders: Mapping[Path, str | None]) -> Prepared:
    """Prepare Kaldi directories named train, dev and test, or a single one that has to be split."""
    if len(folders) > 1 and (odd := [folder for folder, split in folders.items() if split is None]):
        raise UserError(
            f"{name_some(map(str, odd))}: name Kaldi directories train, dev and test, or give one alone"
        )
    utterances, dropped = [], []
    for folder, split in folders.items():
        listed = read_data_dir(folder, allow_pipes=True)
        if early := find_early_segments(folder, (each.id for each in listed)):
            what = f"{count(len(early), 'segment')} beginning before the recording, taken from 0 s on"
            print(f"warning: {folder / 'segments'}: {what}: {name_some(early)}", file=sys.stderr)
        for each in listed:
            audio = each.audio
            if not is_pipe(audio) and is_of_mac(audio):
                dropped.append((f"{folder}: {each.id}", OF_MAC))
                continue
            # Kaldi's paths are relative to the folder of a recipe, which need not be this one.
            if not (is_pipe(audio) or find_archive_entry(audio) or Path(audio).exists()):
                beside = [place / audio for place in (folder, *folder.parents) if (place / audio).is_file()]
                audio = beside[0] if beside else audio
            utterances.append((replace(each, audio=audio), split or ""))
    return _divide(utterances, dropped)


def write_corpus(prepared: Prepared, out: Path) -> list[str]:
    """Write a directory for each set and ``out/dropped.txt``; returns a summary, one line each.

    Raises:
        UserError: an id is used twice, or is not allowed in a list.
    """
    parts = defaultdict(set)
    for each in itertools.chain.from_iterable(prepared.splits.values()):
        parts[each.id].add((str(each.audio), each.start, each.end, each.channel))
    if twice := [id for id, audio in parts.items() if len(audio) > 1]:
        raise UserError(f"{count(len(twice), 'id')} given twice: {name_some(twice)}: ids must differ")
    summary = write_sets(out, prepared.splits, prepared.dropped)
    lines = [f"{name}: {count(len(utterances), 'utterance')}" for name, utterances in prepared.splits.items()]
    if summary:
        lines.append(f"left out: {summary}, see {out / DROPPED}")
    return [*prepared.said, *lines, f"splits: {prepared.how}"]
