"""What has to be in one set: utterances of one text or speaker, and those that overlap in a recording."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from espnet_wsm.data.kaldi.directory import Utterance

LARGEST_GROUP = 0.5  # share of the utterances; with a larger one nothing is left to divide

Key = Callable[[Utterance], str]


def choose_groups(utterances: Sequence[Utterance], keys: Sequence[tuple[str, Key]]) -> tuple[list[str], str]:
    """A group for each utterance, and what the groups are called.

    Overlapping utterances are in one group, and with them all that have the same key, by the first of
    ``keys`` that leaves no group too large. Where none does, utterances that overlap are together, whatever
    their keys; where these are too many, groups are those of the first key alone.

    Args:
        utterances: parts of recordings or whole ones.
        keys: names of what utterances can be grouped by, with functions that give it.
    """
    (name, key), *_ = keys
    alone = [key(each) for each in utterances]
    pairs = find_overlaps(utterances)
    if not pairs:
        return alone, name
    by_time = ("stretches in which utterances overlap", lambda each: each.id)
    for name_tried, tried in (*keys, by_time):
        groups = join_groups([tried(each) for each in utterances], pairs)
        if max(Counter(groups).values()) <= LARGEST_GROUP * len(groups):
            return groups, name_tried
    return alone, name


def join_groups(keys: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """For each place the smallest key of its group: equal keys, and the places of each pair, are together."""
    root = {key: key for key in keys}

    def find(key: str) -> str:
        while root[key] != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for one, other in pairs:
        first, second = sorted((find(keys[one]), find(keys[other])))
        root[second] = first
    return [find(key) for key in keys]


def find_overlaps(utterances: Sequence[Utterance]) -> list[tuple[int, int]]:
    """Places of parts of one recording and channel that overlap; of a chain each with one before it."""
    places: dict[tuple[str, int | None], list[int]] = defaultdict(list)
    for place, each in enumerate(utterances):
        if each.is_part:
            places[str(each.audio), each.channel].append(place)
    pairs = []
    for those in places.values():
        those.sort(key=lambda place: utterances[place].start)
        last, end = those[0], 0.0
        for place in those:
            each = utterances[place]
            if each.start < end:
                pairs.append((last, place))
            if each.end is None or each.end > end:
                last, end = place, float("inf") if each.end is None else each.end
    return pairs
