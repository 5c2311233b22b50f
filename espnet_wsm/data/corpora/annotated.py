"""Annotated recordings (ELAN, Praat, Audacity, subtitles, ctm, stm, Label Studio) as rows of utterances.

Recordings stay whole and where they are: a row is a part of one, by its times.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from espnet_wsm.annotations import FORMATS, Segment, Tier, Word, read_annotations
from espnet_wsm.annotations import ctm as ctm_format
from espnet_wsm.annotations import stm as stm_format
from espnet_wsm.annotations.eaf import outline_tiers
from espnet_wsm.data.audio.recordings import read_header
from espnet_wsm.data.corpora.annotation_rules import (
    LABEL_STUDIO,
    AnnotationRules,
    Source,
    tell_facts,
    tell_tiers,
)
from espnet_wsm.data.corpora.audio_search import AudioSearch
from espnet_wsm.data.corpora.label_studio import fill_wholes, is_label_studio, read_json, read_tasks
from espnet_wsm.data.corpora.listing import Listing
from espnet_wsm.data.corpora.pieces import (
    OVERLAP,
    Piece,
    join_words,
    measure_overlaps,
    merge_short,
    pad,
    split_long,
)
from espnet_wsm.data.corpora.tables import Row, name_split
from espnet_wsm.data.corpora.tier_choice import choose_tiers
from espnet_wsm.data.corpora.trees import is_of_mac
from espnet_wsm.data.text.notes import has_notes, remove_notes
from espnet_wsm.data.text.rules import TextRules
from espnet_wsm.errors import UserError

# Of files that are annotations and nothing else.
SUFFIXES = (".eaf", ".textgrid", ".srt", ".vtt", ".ctm", ".stm")
REMEDY = (
    "put the recordings beside the annotations under the same names, or name their folder, e.g. --audio "
    "recordings (a video needs its sound as a file: ffmpeg -i talk.mp4 talk.wav)"
)
_BARE = TextRules(punctuation="remove", keep="")


def find_files(folder: Path, format: str = "") -> list[Path]:
    """The annotation files in a folder and those below it, all of one kind; none if there are none.

    Raises:
        UserError: there are several kinds, which may be the same annotations twice, and no ``format`` is
        given.
    """
    wanted = SUFFIXES
    if format:
        wanted = (".json",) if format == LABEL_STUDIO else (FORMATS[format].suffix.lower(),)
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in wanted and path.is_file() and not is_of_mac(path)
    ]
    kinds = Counter(path.suffix.lower() for path in found)
    if len(kinds) > 1:
        have = " and ".join(f"{number} {suffix}" for suffix, number in kinds.items())
        names = ", ".join(name for name, one in FORMATS.items() if one.suffix.lower() in kinds)
        raise UserError(
            f"{folder} holds {have}, perhaps the same annotations twice: choose with --format, one of {names}"
        )
    return found


def list_annotations(files: Sequence[Path], rules: AnnotationRules, top: Path | None = None) -> Listing:
    """The utterances of annotation files.

    Args:
        files: of one format.
        rules: how they are read.
        top: their folder: files in folders below it that are called train, dev or test are of that split.

    Raises:
        UserError: a file cannot be read, or no tier is as wished; names file, line and remedy.
    """
    listing, search = Listing(remedy=REMEDY), AudioSearch(rules.audio)
    sources = []
    for file in tqdm(files, desc="read", unit="file", disable=None, leave=False):
        sources += _read(file, rules, listing)
    taken = [choose_tiers(source.recording, source.outlines, rules.wish) for source in sources]
    tell_tiers(sources, taken, rules, listing)
    facts: Counter[str] = Counter()
    for source, tiers in zip(sources, taken, strict=True):
        split = name_split(source.file.parent.name) if source.file.parent != top else None
        _list_recording(source, tiers, split or "", rules, search, listing, facts)
    tell_facts(facts, rules, listing)
    listing.said += [f"{each}; the order is that of Edit > Linked Files in ELAN" for each in search.several]
    return listing


def _read(file: Path, rules: AnnotationRules, listing: Listing) -> list[Source]:
    """The recordings of a file."""
    content = read_json(file) if file.suffix.lower() == ".json" else None
    if rules.format == LABEL_STUDIO or is_label_studio(content):
        if not is_label_studio(content):
            raise UserError(f"{file} is no export of Label Studio: export as JSON")
        recordings, said = read_tasks(file, content)
        listing.said += said
        return [Source(file, place, one, alone=False, studio=True) for place, one in recordings]
    options = {"encoding": rules.encoding} if rules.encoding else {}
    several = {"ctm": ctm_format.read_all, "stm": stm_format.read_all}
    name = rules.format or file.suffix.lower().removeprefix(".")
    if name in several:
        recordings = several[name](file, **options)
        alone = len(recordings) == 1
        return [Source(file, f"{file}: {one.audio}", one, alone=alone) for one in recordings]
    recording = read_annotations(file, rules.format or None, **options)
    outlines = tuple(outline_tiers(file)) if file.suffix.lower() == ".eaf" else ()
    return [Source(file, str(file), recording, outlines)]


def _list_recording(
    source: Source, tiers: Sequence[Tier], split: str, rules: AnnotationRules, search: AudioSearch,
    listing: Listing, facts: Counter[str],
) -> None:  # fmt: skip
    """Add the utterances of one recording to the listing."""
    audio = search.find(source.file, source.recording.audio, source.alone)
    seconds = None
    if audio is not None:
        try:
            seconds = read_header(audio).seconds
        except UserError:  # validation says what is wrong with it
            facts["unreadable"] += 1
    if source.studio and audio is not None:  # an upload is stored under another name
        source = replace(source, recording=replace(source.recording, audio=audio.name))
    if source.studio and seconds is not None:
        tiers = fill_wholes(replace(source.recording, tiers=tuple(tiers)), seconds).tiers
    pieces: list[Piece] = []
    for tier in tiers:
        pieces += _cut_tier(source, tier, len(tiers) > 1, rules, listing, facts)
    pieces.sort(key=lambda piece: piece.start)
    shared = measure_overlaps(pieces)
    facts["overlapping"] += sum(overlap > OVERLAP for overlap in shared)
    padded = pad(pieces, rules.pieces.padding, seconds)
    name = audio.name if audio else Path((source.recording.audio or source.file.stem).replace("\\", "/")).name
    folder = audio.parent if audio else source.file.parent
    seen: set[tuple[str, float, float]] = set()
    for piece, overlap in zip(padded, shared, strict=True):
        key = piece.speaker, piece.start, piece.end
        if overlap > OVERLAP and rules.pieces.overlaps == "leave_out":
            listing.dropped.append((piece.place, "overlaps with another"))
        elif key in seen:
            listing.dropped.append((piece.place, "same time and speaker as another"))
        elif seconds is not None and piece.start >= seconds:
            listing.dropped.append((piece.place, "behind the end of the audio"))
        else:
            seen.add(key)
            row = Row(piece.place, folder, name, piece.text, piece.speaker, split, piece.start, piece.end)
            listing.rows.append(row)


def _cut_tier(
    source: Source, tier: Tier, several: bool, rules: AnnotationRules, listing: Listing, facts: Counter[str]
) -> list[Piece]:
    """The utterances of one tier."""
    by_speaker: dict[str, list[Piece]] = {}
    for segment in tier.segments:
        place = f"{source.place}: {tier.name} at {segment.start:.2f} s"
        text = " ".join(segment.text.split())
        noted = has_notes(text)
        if noted and rules.notes == "remove":
            text = remove_notes(text)
        if reason := _find_fault(segment, text, noted, rules.notes):
            listing.dropped.append((place, reason))
            continue
        facts["notes"] += noted
        speaker = _name_speaker(source, tier, segment, several, rules.speaker)
        words = _take_words(segment.words, rules.notes == "remove")
        piece = Piece(segment.start, segment.end, text, speaker, place, words)
        by_speaker.setdefault(speaker, []).append(piece)
        facts["without a speaker"] += not tier.speaker_of(segment)
    found = []
    for pieces in by_speaker.values():
        if tier.kind == "words":
            facts["words"] += len(pieces)
            pieces = join_words(pieces, rules.pieces)
        before = len(pieces)
        pieces = merge_short(pieces, rules.pieces)
        facts["merged"] += before - len(pieces)
        for piece in pieces:
            parts = split_long(piece, rules.pieces)
            facts["split"] += len(parts) > 1
            limit = rules.pieces.split_above
            facts["long"] += sum(0 < limit < part.seconds for part in parts)
            found += [
                part if number == 1 else replace(part, place=f"{part.place}, part {number}")
                for number, part in enumerate(parts, start=1)
            ]
    return found


def _find_fault(segment: Segment, text: str | None, noted: bool, notes: str) -> str | None:
    """Why an annotation is left out, None if it is not; ``text`` has no notes, None: one does not end."""
    if not segment.text.strip():
        return "empty annotation"
    if noted and notes == "leave_out":
        return "has a note in brackets"
    if text is None:
        return "bracket without its counterpart"
    if not text:
        return "nothing but notes in brackets"
    if not _BARE.apply(text):
        return "nothing but signs"
    return None if segment.end > segment.start else "no length"


def _name_speaker(source: Source, tier: Tier, segment: Segment, several: bool, by: str) -> str:
    name = (
        Path((source.recording.audio or "").replace("\\", "/")).stem if not source.alone else source.file.stem
    )
    if by == "tier":
        return tier.name
    if by == "participant":
        if speaker := tier.speaker_of(segment):
            return speaker
        return f"{name}-{tier.name}" if several else name
    return name


def _take_words(words: Iterable[Word], without_notes: bool) -> tuple[Word, ...]:
    """The words that stay in the text."""
    return tuple(
        word
        for word in words
        if word.text.strip() and (not without_notes or remove_notes(word.text) not in ("", None))
    )
