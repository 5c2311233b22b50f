"""Tiers as XML of .eaf: one of segments, and those that depend on it, of words, characters, confidences."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from espnet_wsm.annotations.clock import show_confidence
from espnet_wsm.annotations.model import Span, Tier, to_milliseconds
from espnet_wsm.annotations.nesting import CHARACTERS, WORDS
from espnet_wsm.annotations.xml_document import escape_text, show_tag
from espnet_wsm.errors import UserError

CONFIDENCE = " - confidence"
CONSTRAINTS = {
    "Time_Subdivision": "Time subdivision of parent annotation's time interval, no time gaps allowed "
    "within this interval",
    "Symbolic_Subdivision": "Symbolic subdivision of a parent annotation. Annotations refering to the "
    "same parent are ordered",
    "Symbolic_Association": "1-1 association with a parent annotation",
    "Included_In": "Time alignable annotations within the parent annotation's time interval, gaps are "
    "allowed",
}
# Linguistic type -> its constraint, None for tiers that depend on no other.
TYPES: dict[str, str | None] = {
    "utterances": None,
    "words": None,
    "characters": None,
    "words in utterances": "Included_In",
    "characters in words": "Included_In",
    "confidence": "Symbolic_Association",
}


def show_type(name: str, type: str) -> str:
    """A LINGUISTIC_TYPE element."""
    constraint = TYPES[type]
    return show_tag(
        "LINGUISTIC_TYPE",
        {
            "CONSTRAINTS": constraint,
            "GRAPHIC_REFERENCES": "false",
            "LINGUISTIC_TYPE_ID": name,
            "TIME_ALIGNABLE": "false" if constraint == "Symbolic_Association" else "true",
        },
        close=True,
    )


def show_constraint(name: str) -> str:
    """A CONSTRAINT element."""
    return show_tag("CONSTRAINT", {"DESCRIPTION": CONSTRAINTS[name], "STEREOTYPE": name}, close=True)


@dataclass
class Draft:
    """Time slots and tiers to be put into a file.

    Args:
        last_slot, last_annotation: numbers of the last ids that are taken.
        names: of tiers that are there.
        types: what the linguistic types are called in the file, where it is not as in ``TYPES``.
        origin: milliseconds of the audio at which the file's times begin.
        language: id of a LANGUAGE, None for none.
    """

    last_slot: int = 0
    last_annotation: int = 0
    names: set[str] = field(default_factory=set)
    types: dict[str, str] = field(default_factory=dict)
    origin: int = 0
    language: str | None = None
    slots: list[tuple[str, int]] = field(default_factory=list)
    tiers: list[list[str]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)

    def add_tier(self, tier: Tier) -> None:
        """Add a tier, with tiers for what its segments hold.

        Raises:
            UserError: there is a tier of that name; segments or words overlap, or have no length in
                milliseconds, neither of which ELAN can show in a tier.
        """
        self._add_timed(tier.name, tier.kind, tier.segments, tier.speaker)
        words = [word for segment in tier.segments for word in segment.words]
        if words:
            bounds = [_find_times(segment) for segment in tier.segments for _ in segment.words]
            name = tier.name + WORDS
            self._add_timed(name, "words in utterances", words, tier.speaker, tier.name, bounds)
        characters = [character for word in words for character in word.characters]
        if characters:
            bounds = [_find_times(word) for word in words for _ in word.characters]
            name, parent = tier.name + CHARACTERS, tier.name + WORDS
            self._add_timed(name, "characters in words", characters, tier.speaker, parent, bounds)

    def _open(self, name: str, type: str, speaker: str | None, parent: str | None) -> list[str]:
        if name in self.names:
            raise UserError(f"there is a tier {name} already: name the new one otherwise")
        self.names.add(name)
        if type not in self.used:
            self.used.append(type)
        attributes = {
            "LANG_REF": self.language,
            "LINGUISTIC_TYPE_REF": self.types.get(type, type),
            "PARENT_REF": parent,
            "PARTICIPANT": speaker,
            "TIER_ID": name,
        }
        lines = [show_tag("TIER", attributes)]
        self.tiers.append(lines)
        return lines

    def _next_id(self) -> str:
        self.last_annotation += 1
        return f"a{self.last_annotation}"

    def _add_slot(self, time: int) -> str:
        self.last_slot += 1
        self.slots.append((f"ts{self.last_slot}", time))
        return f"ts{self.last_slot}"

    def _add_timed(
        self,
        name: str,
        type: str,
        spans: Sequence[Span],
        speaker: str | None,
        parent: str | None = None,
        bounds: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """Add a tier of annotations with times, within ``bounds`` if given, and one of their confidences."""
        lines = self._open(name, type, speaker, parent)
        ids = []
        last = 0
        for index, span in enumerate(spans):
            start, end = _find_times(span)
            if bounds:
                start, end = max(start, bounds[index][0]), min(end, bounds[index][1])
            self._check(name, span, start, end, last)
            last = end
            ids.append(self._next_id())
            attributes = {
                "ANNOTATION_ID": ids[-1],
                "TIME_SLOT_REF1": self._add_slot(start - self.origin),
                "TIME_SLOT_REF2": self._add_slot(end - self.origin),
            }
            lines += _show_annotation("ALIGNABLE_ANNOTATION", attributes, span.text)
        lines.append("</TIER>")
        self._add_confidences(name, spans, ids, speaker)

    def _check(self, name: str, span: Span, start: int, end: int, last: int) -> None:
        what = f"tier {name}: {span.text[:40]!r} at {span.start:g} s"
        if end <= start:
            raise UserError(
                f"{what} lasts less than a millisecond, and ELAN cannot show it: lengthen it or leave it out"
            )
        if start < last:
            raise UserError(
                f"{what} begins before the one before it ends, at {last / 1000:g} s, and a tier of ELAN's "
                "cannot hold both: put them on two tiers"
            )
        if start < self.origin:
            raise UserError(
                f"{what} lies before {self.origin / 1000:g} s, where the file's times begin: leave it out"
            )

    def _add_confidences(
        self, parent: str, spans: Sequence[Span], ids: Sequence[str], speaker: str | None
    ) -> None:
        """Add a tier of the confidences of annotations, if one of them has any."""
        if all(span.confidence is None for span in spans):
            return
        lines = self._open(parent + CONFIDENCE, "confidence", speaker, parent)
        for span, id in zip(spans, ids, strict=True):
            if span.confidence is not None:
                attributes = {"ANNOTATION_ID": self._next_id(), "ANNOTATION_REF": id}
                lines += _show_annotation("REF_ANNOTATION", attributes, show_confidence(span.confidence))
        lines.append("</TIER>")


def _find_times(span: Span) -> tuple[int, int]:
    return to_milliseconds(span.start), to_milliseconds(span.end)


def _show_annotation(name: str, attributes: dict[str, str | None], value: str) -> list[str]:
    shown = f"<ANNOTATION_VALUE>{escape_text(value)}</ANNOTATION_VALUE>" if value else "<ANNOTATION_VALUE/>"
    return [
        "    <ANNOTATION>",
        f"        {show_tag(name, attributes)}",
        f"            {shown}",
        f"        </{name}>",
        "    </ANNOTATION>",
    ]
