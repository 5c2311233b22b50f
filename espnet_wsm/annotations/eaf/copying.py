"""Write a copy of an .eaf with tiers more; all else stays as it is, byte for byte.

The XML is not written anew, which would change white space, the order of attributes, and lose what a program
does not know: new elements are put between the bytes of the old ones. The one thing changed is ELAN's
count of annotations, the property ``lastUsedAnnotationId``, from which it makes ids.

New time slots stand in order of time among the old ones. That changes no time of a file of ELAN's: its
slots without a value are between annotations that follow each other, and are not read by their place.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.annotations.eaf.drafts import TYPES, Draft, show_constraint, show_type
from espnet_wsm.annotations.eaf.media import list_media
from espnet_wsm.annotations.eaf.reading import open_eaf
from espnet_wsm.annotations.eaf.times import read_slots
from espnet_wsm.annotations.model import Tier
from espnet_wsm.annotations.text_files import write_new
from espnet_wsm.annotations.xml_document import Document, Element, show_tag
from espnet_wsm.errors import UserError

# Elements of a document, in the order that its schema wants.
_ORDER = ("LICENSE", "HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LOCALE", "LANGUAGE", "CONSTRAINT")


def add_tiers(source: Path, out: Path, tiers: Sequence[Tier], *, overwrite: bool = False) -> None:
    """Copy the .eaf ``source`` to ``out`` with ``tiers`` behind its own; ``source`` is only read.

    Words, characters and confidences become tiers that depend on the new ones. Times are those of the
    audio, in milliseconds.

    Raises:
        UserError: ``source`` cannot be read; ``out`` is the same file, or is there and ``overwrite`` is
            false; as `Draft.add_tier`.
    """
    if out.exists() and out.samefile(source):
        raise UserError(f"{out} is the file that is copied, which stays as it is: name another one")
    document = open_eaf(source)
    try:
        content = _Insertions(document, tiers).apply()
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    write_new(out, document.encode(content), overwrite)


class _Insertions:
    """What is put in where: pairs of places in the content, and what stands there in their place."""

    def __init__(self, document: Document, tiers: Sequence[Tier]):
        self.content, self.root = document.content, document.root
        self.newline = "\r\n" if b"\r\n" in self.content else "\n"
        self.edits: list[tuple[int, int, str]] = []
        self.draft = self._make_draft()
        for tier in tiers:
            self.draft.add_tier(tier)
        self._add_slots()
        for lines in self.draft.tiers:
            self._add("TIER", lines)
        self._add_types()
        self._raise_last_id()

    def apply(self) -> bytes:
        """The content with all edits; those at one place stay in their order."""
        parts, last = [], 0
        for start, end, text in sorted(self.edits, key=lambda edit: edit[:2]):
            parts += [self.content[last:start], text.encode("utf-8")]
            last = end
        return b"".join([*parts, self.content[last:]])

    def _make_draft(self) -> Draft:
        slots, annotations = [0], [0, *self._read_last_ids()]
        for element in self.root.walk():
            for key, numbers in (("TIME_SLOT_ID", slots), ("ANNOTATION_ID", annotations)):
                numbers += [
                    int(digits) for digits in re.findall("[0-9]{1,18}", element.attributes.get(key, ""))
                ]
        media = list_media(self.root)
        return Draft(
            max(slots),
            max(annotations),
            {tier.attributes.get("TIER_ID", "") for tier in self.root.find_all("TIER")},
            self._name_types(),
            media[0].origin if media else 0,
        )

    def _list_last_ids(self) -> list[Element]:
        return [
            property
            for header in self.root.find_all("HEADER")
            for property in header.find_all("PROPERTY")
            if property.attributes.get("NAME") == "lastUsedAnnotationId"
        ]

    def _read_last_ids(self) -> list[int]:
        return [int(one.text) for one in self._list_last_ids() if re.fullmatch("[0-9]{1,18}", one.text)]

    def _raise_last_id(self) -> None:
        for property in self._list_last_ids():
            if property.inner_end is not None:
                self.edits.append((property.inner_start, property.inner_end, str(self.draft.last_annotation)))

    def _name_types(self) -> dict[str, str]:
        """For each type the name of one that is the same in the file, else a name that is free."""
        there = {
            kind.attributes.get("LINGUISTIC_TYPE_ID", ""): kind.attributes.get("CONSTRAINTS")
            for kind in self.root.find_all("LINGUISTIC_TYPE")
        }
        names = {}
        for type, constraint in TYPES.items():
            number, name = 1, type
            while name in there and there[name] != constraint:
                number += 1
                name = f"{type} {number}"
            names[type] = name
        return names

    def _add_types(self) -> None:
        there = {kind.attributes.get("LINGUISTIC_TYPE_ID") for kind in self.root.find_all("LINGUISTIC_TYPE")}
        constraints = {one.attributes.get("STEREOTYPE") for one in self.root.find_all("CONSTRAINT")}
        for type in self.draft.used:
            if (name := self.draft.types[type]) not in there:
                self._add("LINGUISTIC_TYPE", [show_type(name, type)])
        # In a second round, as both may stand behind the same element.
        for constraint in dict.fromkeys(TYPES[type] for type in self.draft.used):
            if constraint is not None and constraint not in constraints:
                self._add("CONSTRAINT", [show_constraint(constraint)])

    def _add(self, name: str, lines: Sequence[str]) -> None:
        """Put an element behind the last one of its name, or of those that come before it in the schema."""
        for before in reversed(_ORDER[: _ORDER.index(name) + 1]):
            if found := self.root.find_all(before):
                self._insert(found[-1].end, self._find_break(found[-1]), lines)
                return
        raise UserError("there is neither HEADER nor TIME_ORDER: open and save the file in ELAN")

    def _insert(self, place: int, before: str, lines: Sequence[str]) -> None:
        shown = (before + line for line in lines) if before else (line.strip() for line in lines)
        self.edits.append((place, place, "".join(shown)))

    def _find_break(self, element: Element) -> str:
        """Line break and indentation before an element, nothing if it does not begin a line."""
        line = self.content[self.content.rfind(b"\n", 0, element.start) + 1 : element.start]
        return self.newline + line.decode("utf-8") if not line.strip() and element.start > len(line) else ""

    def _add_slots(self) -> None:
        """Put each slot behind the last one that is not later, so that they stay in order of time."""
        values = read_slots(self.root)
        order = self.root.find_all("TIME_ORDER")[0]
        slots = order.find_all("TIME_SLOT")
        if order.inner_end is None:
            place, separator = order.end, self._find_break(order)
            opened, closed = f"{show_tag('TIME_ORDER', {})}", f"{separator}</TIME_ORDER>"
            shown = [self._show_slot(*slot) for slot in sorted(self.draft.slots, key=lambda slot: slot[1])]
            between = f"{separator}    " if separator else ""
            text = opened + "".join(between + one for one in shown) + closed
            self.edits.append((order.start, place, text))
            return
        separator = (
            self._find_break(slots[0])
            if slots
            else self._find_break(order) and self._find_break(order) + "    "
        )
        latest, anchors = -1, []  # (time, place) of each slot that is later than all before it
        for slot in slots:
            value = values[slot.attributes["TIME_SLOT_ID"]]
            if value is not None and value >= latest:
                latest = value
                anchors.append((value, slot.end))
        known = 0
        for name, time in sorted(self.draft.slots, key=lambda slot: slot[1]):
            while known < len(anchors) and anchors[known][0] <= time:
                known += 1
            place = anchors[known - 1][1] if known else order.inner_start
            self._insert(place, separator, [self._show_slot(name, time)])

    def _show_slot(self, name: str, time: int) -> str:
        return show_tag("TIME_SLOT", {"TIME_SLOT_ID": name, "TIME_VALUE": str(time)}, close=True)
