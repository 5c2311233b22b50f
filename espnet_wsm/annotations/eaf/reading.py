"""Read an .eaf of version 2 or 3."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_wsm.annotations.clock import parse_confidence
from espnet_wsm.annotations.eaf.media import list_media
from espnet_wsm.annotations.eaf.times import Annotation, fill_slots, find_times, read_slots
from espnet_wsm.annotations.model import (
    Character,
    Recording,
    Segment,
    Span,
    Tier,
    Word,
    from_milliseconds,
    sort_spans,
)
from espnet_wsm.annotations.nesting import group_parts, nest_words
from espnet_wsm.annotations.xml_document import Document, Element, read_document
from espnet_wsm.errors import UserError

# The beginning of the name of a linguistic type -> the kind of its tiers.
_KINDS = {"words": re.compile(r"words?\b", re.I), "characters": re.compile(r"characters?\b", re.I)}
_CONFIDENCE = re.compile("confidence", re.I)
_TIMED = {"Time_Subdivision", "Included_In"}


@dataclass
class _RawTier:
    name: str
    line: int
    type: str
    speaker: str | None
    parent: str | None
    language: str | None
    constraint: str | None = None
    annotations: list[Annotation] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """By its linguistic type; what has times of its parent alone is of the first kind."""
        timed = self.constraint is None or self.constraint in _TIMED
        found = (kind for kind, name in _KINDS.items() if timed and name.match(self.type))
        return next(found, "utterances")


def open_eaf(path: Path) -> Document:
    """Read the XML of an .eaf.

    Raises:
        UserError: it cannot be read, or is no .eaf of version 2 or 3 in milliseconds.
    """
    document = read_document(path)
    root = document.root
    if root.name != "ANNOTATION_DOCUMENT":
        raise UserError(f"{path} is no .eaf but holds <{root.name}>: name a file that ELAN wrote")
    version = root.attributes.get("FORMAT") or root.attributes.get("VERSION") or "2"
    if version.split(".")[0] not in ("2", "3"):
        raise UserError(
            f"{path} is of version {version}: open and save it in a current ELAN, which writes 3.0"
        )
    for header in root.find_all("HEADER"):
        if (unit := header.attributes.get("TIME_UNITS", "milliseconds")) != "milliseconds":
            raise UserError(f"{path}, line {header.line}: times are in {unit}: save it in milliseconds")
    return document


def read(path: Path) -> Recording:
    """Read the tiers of an .eaf.

    Tiers whose linguistic type is named ``words`` or ``characters`` are of that kind. If such a tier
    depends on another and has times, its annotations become the words of those around them; a tier of type
    ``confidence`` becomes their confidences, if it holds nothing but numbers from 0 to 1. All other tiers
    stay tiers, dependent ones with the times of their parents (several to one parent divide its time
    evenly). Times count from the beginning of the audio, also where that was given an offset in ELAN.
    Annotations may overlap.

    Raises:
        UserError: as :func:`open_eaf`; a tier or an annotation lacks something, is there twice, or has no
            times; the message names the file, and the line and the annotation.
    """
    root = open_eaf(path).root
    try:
        media = list_media(root)
        slots, tiers = read_slots(root), _read_tiers(root)
        annotations = [annotation for tier in tiers for annotation in tier.annotations]
        fill_slots(slots, annotations)
        times = find_times(annotations, slots)
        builder = _Builder(tiers, times, media[0].origin if media else 0)
        languages = {tier.language for tier in tiers}
        return Recording(
            media[0].path if media else None,
            builder.build(),
            language=languages.pop() if len(languages) == 1 else None,
        )
    except UserError as error:
        raise UserError(
            f"{path}, {error}" if str(error).startswith("line ") else f"{path}: {error}"
        ) from None


@dataclass(frozen=True)
class TierOutline:
    """What ELAN knows of a tier besides its annotations: linguistic type, and the tier that it depends on."""

    name: str
    type: str
    parent: str | None


def outline_tiers(path: Path) -> list[TierOutline]:
    """The tiers in the order of the file, those too that `read` takes into others.

    Raises:
        UserError: the file cannot be read, or is no .eaf of version 2 or 3.
    """
    return [
        TierOutline(get("TIER_ID", ""), get("LINGUISTIC_TYPE_REF", ""), get("PARENT_REF"))
        for get in (tier.attributes.get for tier in open_eaf(path).root.find_all("TIER"))
    ]


def _read_tiers(root: Element) -> list[_RawTier]:
    constraints = {
        kind.attributes.get("LINGUISTIC_TYPE_ID"): kind.attributes.get("CONSTRAINTS")
        for kind in root.find_all("LINGUISTIC_TYPE")
    }
    tiers: dict[str, _RawTier] = {}
    seen: set[str] = set()
    for element in root.find_all("TIER"):
        get = element.attributes.get
        name, type = get("TIER_ID"), get("LINGUISTIC_TYPE_REF", "")
        if not name or name in tiers:
            raise UserError(
                f"line {element.line}: tier {name or 'without a name'} is there twice or has no name: "
                "rename it in ELAN"
            )
        tiers[name] = tier = _RawTier(
            name,
            element.line,
            type,
            get("PARTICIPANT", "").strip() or None,
            get("PARENT_REF"),
            get("LANG_REF"),
            constraints.get(type),
        )
        for holder in element.find_all("ANNOTATION"):
            for child in holder.children:
                annotation = _read_annotation(child, name)
                if annotation.id in seen:
                    raise annotation.refuse("is there twice: open and save the file in ELAN")
                seen.add(annotation.id)
                tier.annotations.append(annotation)
    return list(tiers.values())


def _read_annotation(element: Element, tier: str) -> Annotation:
    get = element.attributes.get
    value = "".join(child.text for child in element.find_all("ANNOTATION_VALUE"))
    # XML has made all line ends line feeds, but for those that are written as character references.
    value = re.sub("\r\n?", "\n", value)
    annotation = Annotation(get("ANNOTATION_ID") or "without an id", tier, element.line, value)
    if element.name == "ALIGNABLE_ANNOTATION":
        annotation.slots = get("TIME_SLOT_REF1", ""), get("TIME_SLOT_REF2", "")
    elif element.name == "REF_ANNOTATION":
        annotation.parent, annotation.previous = get("ANNOTATION_REF", ""), get("PREVIOUS_ANNOTATION")
    else:
        raise annotation.refuse(f"is a {element.name}, which is unknown: open and save the file in ELAN")
    return annotation


class _Builder:
    """Tiers of a recording from those of the file."""

    def __init__(self, tiers: Sequence[_RawTier], times: dict[str, tuple[int, int]], origin: int):
        self.tiers = {tier.name: tier for tier in tiers}
        self.times = times
        self.origin = origin
        self.confidences: dict[str, float] = {}
        self.absorbed: set[str] = set()

    def build(self) -> list[Tier]:
        """The tiers in the order of the file, without those that others have taken in."""
        for tier in self.tiers.values():
            self._take_confidences(tier)
        built = {}
        for tier in self.tiers.values():
            if tier.name in self.absorbed:
                continue
            segments = self._make_spans(tier, Segment)
            built[tier.name] = Tier(tier.name, segments, tier.kind, tier.speaker)
        for tier in self.tiers.values():
            parent = built.get(tier.parent or "")
            if (
                parent is None
                or tier.kind != "words"
                or parent.kind != "utterances"
                or tier.constraint not in _TIMED
            ):
                continue
            nested = None
            if not any(segment.words for segment in parent.segments):
                words, characters = self._make_words(tier)
                nested = nest_words(parent, words)
            if nested is not None:
                built[parent.name] = nested
                for name in (tier.name, *characters):
                    built.pop(name, None)
        return list(built.values())

    def _take_confidences(self, tier: _RawTier) -> None:
        """Take the values of a tier of confidences as such, if all are."""
        if (
            not _CONFIDENCE.match(tier.type)
            or tier.constraint != "Symbolic_Association"
            or not tier.annotations
        ):
            return
        try:
            found = {str(one.parent): parse_confidence(one.value.strip()) for one in tier.annotations}
        except UserError:  # a tier of that name with other values stays a tier
            return
        self.confidences |= found
        self.absorbed.add(tier.name)

    def _make_spans[S: Span](self, tier: _RawTier, made: type[S]) -> tuple[S, ...]:
        return sort_spans(self._make_span(annotation, made) for annotation in tier.annotations)

    def _make_span[S: Span](self, annotation: Annotation, made: type[S]) -> S:
        start, end = (from_milliseconds(time + self.origin) for time in self.times[annotation.id])
        try:
            return made(start, end, annotation.value, self.confidences.get(annotation.id))
        except UserError as error:
            raise annotation.refuse(f"cannot be taken: {error}") from None

    def _make_words(self, tier: _RawTier) -> tuple[Sequence[Word], Iterable[str]]:
        """The annotations of a tier as words with their characters, and the name of the tier of these."""
        words = self._make_spans(tier, Word)
        for other in self.tiers.values():
            if other.parent == tier.name and other.kind == "characters" and other.constraint in _TIMED:
                groups = group_parts(words, self._make_spans(other, Character))
                if groups is not None:
                    return [
                        Word(word.start, word.end, word.text, word.confidence, group)
                        for word, group in zip(words, groups, strict=True)
                    ], [other.name]
        return words, []
