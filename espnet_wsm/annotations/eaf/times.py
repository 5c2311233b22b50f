"""Times of annotations: of slots, also without a value, and of what has no times but its parent's."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from espnet_wsm.annotations.xml_document import Element
from espnet_wsm.errors import UserError


@dataclass
class Annotation:
    """An annotation as it stands in the file: slots for one with times, else the id of its parent."""

    id: str
    tier: str
    line: int
    value: str
    slots: tuple[str, str] | None = None
    parent: str | None = None
    previous: str | None = None

    def refuse(self, fault: str) -> UserError:
        """A UserError about this annotation."""
        return UserError(f"line {self.line}: annotation {self.id} of tier {self.tier} {fault}")


def read_slots(root: Element) -> dict[str, int | None]:
    """Milliseconds by id, None for slots without a value, in the order of the file.

    Raises:
        UserError: there is no TIME_ORDER, an id is missing or there twice, or a value is no whole number.
    """
    order = root.find_all("TIME_ORDER")
    if not order:
        raise UserError("there is no TIME_ORDER: open and save the file in ELAN")
    slots: dict[str, int | None] = {}
    for slot in order[0].find_all("TIME_SLOT"):
        name, value = slot.attributes.get("TIME_SLOT_ID"), slot.attributes.get("TIME_VALUE")
        if not name or name in slots:
            raise UserError(
                f"line {slot.line}: time slot {name or 'without an id'} is there twice or has no id: "
                "correct it"
            )
        if value is not None and not re.fullmatch(r"\d{1,11}", value, re.ASCII):
            raise UserError(
                f"line {slot.line}: time slot {name} is at {value!r}: it has to be a whole number of "
                "milliseconds"
            )
        slots[name] = None if value is None else int(value)
    return slots


def fill_slots(slots: dict[str, int | None], annotations: Iterable[Annotation]) -> None:
    """Give slots without a value times evenly between their neighbours, as ELAN shows them.

    Neighbours are those of the annotations of a tier that follow each other, each beginning at the slot where
    the one before it ends. A slot that is in no such row is taken between the slots with values around it
    in the file. What has no neighbour on one side stays without.
    """
    following = {
        (annotation.tier, annotation.slots[0]): annotation.slots[1]
        for annotation in annotations
        if annotation.slots
    }
    for (tier, first), second in list(following.items()):
        if slots.get(first) is None or second not in slots or slots[second] is not None:
            continue
        row = [second]
        while slots.get(row[-1]) is None and (after := following.get((tier, row[-1]))) and after not in row:
            row.append(after)
        _spread(slots, first, row)
    ids = list(slots)
    valued = [place for place, name in enumerate(ids) if slots[name] is not None]
    for left, right in pairwise(valued):
        if right > left + 1:
            _spread(slots, ids[left], ids[left + 1 : right + 1])


def _spread(slots: dict[str, int | None], first: str, row: Sequence[str]) -> None:
    """Even times from the slot ``first`` to the last one of ``row``, if that has a value."""
    start, end = slots[first], slots.get(row[-1])
    if start is not None and end is not None and end >= start:
        for place, name in enumerate(row[:-1], start=1):
            slots[name] = start + (end - start) * place // len(row)


def find_times(annotations: Sequence[Annotation], slots: dict[str, int | None]) -> dict[str, tuple[int, int]]:
    """Start and end in milliseconds by id of the annotation.

    Annotations without slots have the times of their parent. Where several of a tier have one parent, they
    divide its time evenly in their order, as ELAN shows them.

    Raises:
        UserError: a slot is missing or has no time; an annotation ends before it starts; a parent is missing,
            or an annotation is its own; the message names line and annotation.
    """
    times: dict[str, tuple[int, int]] = {}
    siblings: dict[tuple[str, str], list[Annotation]] = {}
    children: dict[str, set[tuple[str, str]]] = {}
    known = {annotation.id for annotation in annotations}
    for annotation in annotations:
        if annotation.slots:
            times[annotation.id] = _look_up(annotation, slots)
        elif annotation.parent not in known:
            raise annotation.refuse(f"belongs to {annotation.parent}, which is not there: delete it in ELAN")
        else:
            key = (annotation.tier, annotation.parent)
            siblings.setdefault(key, []).append(annotation)
            children.setdefault(annotation.parent, set()).add(key)
    waiting = list(times)
    while waiting:
        parent = waiting.pop()
        start, end = times[parent]
        for key in children.get(parent, ()):
            row = _order(siblings[key])
            borders = [start + (end - start) * place // len(row) for place in range(len(row) + 1)]
            for annotation, left, right in zip(row, borders, borders[1:], strict=False):
                times[annotation.id] = left, right
                waiting.append(annotation.id)
    if lost := next((annotation for annotation in annotations if annotation.id not in times), None):
        raise lost.refuse("belongs to itself, by others: delete it in ELAN")
    return times


def _look_up(annotation: Annotation, slots: dict[str, int | None]) -> tuple[int, int]:
    assert annotation.slots is not None
    found = []
    for name in annotation.slots:
        if name not in slots:
            raise annotation.refuse(
                f"has the time slot {name}, which is not there: open and save the file in ELAN"
            )
        if (value := slots[name]) is None:
            raise annotation.refuse(f"has the time slot {name} without a time: align it in ELAN")
        found.append(value)
    start, end = found
    if end < start:
        raise annotation.refuse(f"ends at {end} ms, before it starts at {start} ms: correct it in ELAN")
    return start, end


def _order(row: list[Annotation]) -> list[Annotation]:
    """Annotations with one parent, each after its PREVIOUS_ANNOTATION.

    They stay in the order of the file where that does not lead through all of them.
    """
    after = {annotation.previous: annotation for annotation in row}
    ordered: list[Annotation] = []
    name: str | None = None
    while (annotation := after.get(name)) is not None and len(ordered) < len(row):
        ordered.append(annotation)
        name = annotation.id
    return ordered if len({annotation.id for annotation in ordered}) == len(row) else row
