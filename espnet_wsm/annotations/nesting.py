"""Which words are within which utterance, in formats that hold them as tiers of their own."""

from collections.abc import Sequence
from dataclasses import replace

from espnet_wsm.annotations.model import Segment, Span, Tier

WORDS, CHARACTERS = " - words", " - characters"  # what stands behind the name of the tier that they belong to


def find_owners(wholes: Sequence[Span], parts: Sequence[Span]) -> list[int] | None:
    """For each part the index of the whole that it is within, None if one of them is within none.

    Both are in order of their starts. Of wholes that overlap the last one that will do is taken.
    """
    owners, candidates, following = [], [], 0
    for part in parts:
        while following < len(wholes) and wholes[following].start <= part.start:
            candidates.append(following)
            following += 1
        # Parts only start later from here on: what has ended by then is out.
        candidates = [index for index in candidates if wholes[index].end >= part.start]
        fitting = [index for index in candidates if wholes[index].end >= part.end]
        if not fitting:
            return None
        owners.append(fitting[-1])
    return owners


def group_parts[S: Span](wholes: Sequence[Span], parts: Sequence[S]) -> list[tuple[S, ...]] | None:
    """For each whole the parts within it, None if a part is within none."""
    owners = find_owners(wholes, parts)
    if owners is None:
        return None
    groups: list[list[S]] = [[] for _ in wholes]
    for owner, part in zip(owners, parts, strict=True):
        groups[owner].append(part)
    return [tuple(group) for group in groups]


def nest_words(tier: Tier, words: Sequence) -> Tier | None:
    """The tier with each word in its segment, None if a word is within no segment."""
    groups = group_parts(tier.segments, words)
    if groups is None:
        return None
    segments: list[Segment] = [
        replace(segment, words=group) for segment, group in zip(tier.segments, groups, strict=True)
    ]
    return replace(tier, segments=tuple(segments))
