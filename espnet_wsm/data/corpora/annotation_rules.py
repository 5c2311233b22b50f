"""How annotations are read, and what the user is told of it: what was chosen, and how to choose otherwise."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_wsm.annotations import FORMATS, Recording, Tier
from espnet_wsm.annotations.eaf import TierOutline
from espnet_wsm.data.corpora.listing import Listing
from espnet_wsm.data.corpora.pieces import OVERLAP, PieceRules
from espnet_wsm.data.corpora.tier_choice import TierWish, describe_tier, describe_tiers
from espnet_wsm.data.kaldi.lists import count, name_some
from espnet_wsm.errors import UserError

LABEL_STUDIO = "label_studio"
NOTES = ("remove", "leave_out", "keep")
SPEAKERS = ("participant", "tier", "file")


@dataclass(frozen=True)
class AnnotationRules:
    """How annotations are read.

    Args:
        format: of the files, if their suffix does not say it; also ``label_studio``.
        encoding: of text files that are neither UTF-8 nor marked.
        wish: which tiers to take.
        speaker: participant (where there is none the tier of the file), tier (its name, in all files the same
            person) or file.
        notes: what happens to notes in brackets: remove, leave_out (the utterance) or keep.
        audio: folder of the recordings, if they are not beside the annotations.
        pieces: how annotations become utterances.

    Raises:
        UserError: a value is none of its choices.
    """

    format: str = ""
    encoding: str = ""
    wish: TierWish = field(default_factory=TierWish)
    speaker: str = "participant"
    notes: str = "remove"
    audio: Path | None = None
    pieces: PieceRules = field(default_factory=PieceRules)

    def __post_init__(self) -> None:
        readable = [name for name, one in FORMATS.items() if one.read] + [LABEL_STUDIO]
        for name, choices in (("format", ["", *readable]), ("speaker", SPEAKERS), ("notes", NOTES)):
            if (value := getattr(self, name)) not in choices:
                raise UserError(f"--{name} {value}: there are {', '.join(filter(None, choices))}")


@dataclass(frozen=True)
class Source:
    """One recording of an annotation file. ``alone``: the file has no other."""

    file: Path
    place: str
    recording: Recording
    outlines: tuple[TierOutline, ...] = ()
    alone: bool = True
    studio: bool = False


def tell_tiers(
    sources: Sequence[Source], taken: Sequence[Sequence[Tier]], rules: AnnotationRules, listing: Listing
) -> None:
    """Say which tiers are taken and which are not; UserError if none is in any file."""
    chosen: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for source, tiers in zip(sources, taken, strict=True):
        known = {outline.name: outline for outline in source.outlines}
        names = {tier.name for tier in tiers}
        for tier in source.recording.tiers:
            (chosen if tier.name in names else others)[describe_tier(tier.name, known)] += 1
        if not tiers:
            listing.dropped.append((source.place, "no such tier" if rules.wish else "no tier with text"))
    if not chosen:
        first = sources[0] if sources else None
        there = describe_tiers(first.recording, first.outlines) if first else "nothing"
        wish = rules.wish
        wished = " ".join(
            f"{name} {value}"
            for name, value in (
                ("--tier", " ".join(wish.names)),
                ("--tier_type", wish.type),
                ("--tier_number", wish.number),
            )
            if value
        )
        raise UserError(
            f"{first.place if first else 'the export'} has no tier "
            f"{f'for {wished}' if wished else 'with text'}"
            f"{'' if len(sources) < 2 else ', nor have the others'}; it has {there}: "
            "choose with --tier NAME, --tier_type TYPE or --tier_number N"
        )
    listing.said.append(f"tiers taken: {_name_counts(chosen, len(sources))}")
    if others:
        listing.said.append(
            f"tiers not taken: {_name_counts(others, len(sources))}; choose others with --tier, --tier_type "
            "or --tier_number"
        )


def _name_counts(counts: Mapping[str, int], all_files: int) -> str:
    return name_some(
        name if number == all_files else f"{name} [in {number} of {all_files}]"
        for name, number in counts.items()
    )


def tell_facts(facts: Counter[str], rules: AnnotationRules, listing: Listing) -> None:
    """Say what was done without being asked for, and with which option it is done otherwise."""
    said, pieces = listing.said, rules.pieces
    if facts["without a speaker"] and rules.speaker == "participant":
        said.append(
            "speakers: where a tier has no participant, each tier of each file is a speaker of its own; "
            "--speaker tier if tiers are called as people are, --speaker file if each file has one speaker"
        )
    if facts["notes"] and rules.notes == "remove":
        said.append(
            f"notes in brackets are removed from {count(facts['notes'], 'utterance')}; --notes keep, or "
            "--notes leave_out for the utterances"
        )
    if facts["overlapping"] and pieces.overlaps == "keep":
        said.append(
            f"{count(facts['overlapping'], 'utterance')} overlapping with another for more than "
            f"{OVERLAP:g} s; --overlaps leave_out leaves them out"
        )
    if facts["words"]:
        said.append(
            f"{count(facts['words'], 'word')} joined to utterances at pauses of more than "
            f"{pieces.longest_pause:g} s (--longest_pause)"
        )
    if facts["merged"]:
        said.append(f"{count(facts['merged'], 'annotation')} joined with the one before (--merge_below)")
    if facts["split"]:
        said.append(f"{count(facts['split'], 'utterance')} split at pauses between words (--split_above)")
    if facts["long"]:
        said.append(
            f"{count(facts['long'], 'utterance')} longer than {pieces.split_above:g} s and without times of "
            "words, or without a pause, not split"
        )
