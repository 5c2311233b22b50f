"""The stretches of a recording in which nothing is annotated."""

import math
from collections.abc import Iterable

from espnet_wsm.annotations.model import Tier

# Seconds in milliseconds may be a whole number but for the last digits: 1.001 * 1000 is below 1001.
_SLACK = 1e-3


def floor_milliseconds(seconds: float) -> int:
    """The last whole millisecond that is not later."""
    return math.floor(seconds * 1000 + _SLACK)


def find_untranscribed(
    tiers: Iterable[Tier], window: tuple[int, int], shortest: int = 0
) -> list[tuple[int, int]]:
    """Where no tier has an annotation with text, in milliseconds, in order.

    Annotations without text are taken for places that are still to be transcribed.

    Args:
        tiers: any number, whose annotations may overlap.
        window: start and end of what is looked at, in milliseconds.
        shortest: milliseconds; what is shorter is left out.
    """
    begin, end = window
    found = []
    for start, stop in sorted(_list_transcribed(tiers)):
        found.append((begin, min(start, end)))
        begin = max(begin, stop)
    found.append((begin, end))
    return [(start, stop) for start, stop in found if stop - start >= max(shortest, 1)]


def _list_transcribed(tiers: Iterable[Tier]) -> Iterable[tuple[int, int]]:
    """In whole milliseconds, within which the times lie."""
    for tier in tiers:
        for segment in tier.segments:
            if segment.text.strip() and segment.end > segment.start:
                yield floor_milliseconds(segment.start), math.ceil(segment.end * 1000 - _SLACK)
