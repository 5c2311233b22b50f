"""Which tiers of a recording hold what is said, where nobody names them.

Field recordings have the same speech many times over: reference numbers, text, words, glosses, translations.
Without names, the tiers of one linguistic type are taken, of the outermost level that holds more than numbers
and labels (``tx`` below ``ref``): a type that others depend on before one without (text before translation),
then the outermost with the most letters, or below labels the first in the file. Then a tier is left out if it
is the same in finer pieces, or the same again: all of its annotations lie within those of another tier of
that speaker, which are as many or fewer.
"""

import fnmatch
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espnet_wsm.annotations import Recording, Tier
from espnet_wsm.annotations.eaf import TierOutline
from espnet_wsm.annotations.nesting import find_owners
from espnet_wsm.errors import UserError

LABELS = 0.8  # share of annotations that are one word with a digit (``story.012``), in a tier of labels


@dataclass(frozen=True)
class TierWish:
    """Which tiers are asked for; what is None or empty does not matter.

    Args:
        names: patterns, with ``*`` for anything and ``?`` for a character, of which a name has to fit one.
        type: pattern of the linguistic type in ELAN.
        number: place among the tiers of a file, from 1.
    """

    names: tuple[str, ...] = ()
    type: str = ""
    number: int | None = None

    def __post_init__(self) -> None:
        if self.number is not None and self.number < 1:
            raise UserError(f"--tier_number {self.number}: the first tier is 1")

    def __bool__(self) -> bool:
        return bool(self.names or self.type or self.number)


def has_letters(tier: Tier) -> bool:
    """Whether a tier holds text, and not only numbers and signs."""
    return any(map(str.isalpha, "".join(segment.text for segment in tier.segments)))


def choose_tiers(
    recording: Recording, outlines: Sequence[TierOutline] = (), wish: TierWish | None = None
) -> list[Tier]:
    """The tiers to take of a recording, in its order; none if no tier is as wished, or none holds text."""
    known = {outline.name: outline for outline in outlines}
    if wish:
        return [
            tier
            for number, tier in enumerate(recording.tiers, start=1)
            if wish.number in (None, number)
            and (not wish.names or any(_fits(tier.name, name) for name in wish.names))
            and (not wish.type or (tier.name in known and _fits(known[tier.name].type, wish.type)))
        ]
    groups: dict[tuple[int, str], list[Tier]] = defaultdict(list)
    for tier in recording.tiers:
        if tier.kind != "characters" and has_letters(tier):
            type = known[tier.name].type if tier.name in known else ""
            groups[_find_depth(tier.name, known), type].append(tier)
    spoken = {key: tiers for key, tiers in groups.items() if not all(map(_holds_labels, tiers))} or groups
    if not spoken:
        return []
    level = min(depth for depth, _ in spoken)
    parents = {outline.parent for outline in outlines}

    def rank(tiers: Sequence[Tier]) -> tuple[bool, int]:
        return any(tier.name in parents for tier in tiers), 0 if level else _count_letters(tiers)

    # max takes the first of equals.
    tiers = max((tiers for (depth, _), tiers in spoken.items() if depth == level), key=rank)
    return [tier for tier in tiers if not any(_repeats(tier, other, tiers) for other in tiers)]


def describe_tiers(recording: Recording, outlines: Sequence[TierOutline] = ()) -> str:
    """``A_utt (type utt), A_ft (type ft, of A_utt)``."""
    known = {outline.name: outline for outline in outlines}
    return ", ".join(describe_tier(tier.name, known) for tier in recording.tiers) or "none"


def describe_tier(name: str, known: Mapping[str, TierOutline]) -> str:
    """The name of a tier with its type and parent, where there are any."""
    outline = known.get(name)
    more = [f"type {outline.type}"] if outline and outline.type else []
    more += [f"of {outline.parent}"] if outline and outline.parent else []
    return f"{name} ({', '.join(more)})" if more else name


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _find_depth(name: str, known: Mapping[str, TierOutline]) -> int:
    depth, outline = 0, known.get(name)
    while outline and outline.parent in known and depth < len(known):
        depth, outline = depth + 1, known[outline.parent]
    return depth


def _holds_labels(tier: Tier) -> bool:
    texts = [text for text in (segment.text.strip() for segment in tier.segments) if text]
    labels = [text for text in texts if re.search(r"\d", text) and not re.search(r"\s", text)]
    return len(labels) > LABELS * len(texts)


def _count_letters(tiers: Sequence[Tier]) -> int:
    return sum(map(str.isalpha, "".join(segment.text for tier in tiers for segment in tier.segments)))


def _repeats(tier: Tier, other: Tier, order: Sequence[Tier]) -> bool:
    """Whether all of a tier lies within another one of that speaker; of two that are alike, the second."""
    parts, wholes = ([each for each in one.segments if each.text.strip()] for one in (tier, other))
    if tier is other or tier.speaker != other.speaker or len(wholes) > len(parts):
        return False
    if find_owners(wholes, parts) is None:
        return False
    return (
        len(wholes) < len(parts)
        or find_owners(parts, wholes) is None
        or order.index(other) < order.index(tier)
    )
