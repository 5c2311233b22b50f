"""The largest batch that fits, found in few trials."""

import math
from collections.abc import Callable


def predict_largest(peaks: dict[int, int], limit: int) -> int:
    """Utterances that fit into ``limit`` bytes if the peak grows in a straight line, 1 or more.

    Args:
        peaks: size of a batch -> its peak in bytes, two of them.
        limit: bytes.
    """
    (small, low), (large, high) = sorted(peaks.items())
    slope = max(1.0, (high - low) / (large - small))
    return max(1, math.floor(large + (limit - high) / slope))


def find_largest(
    fits: Callable[[int], bool], guess: int, tolerance: float, trials: int, most: int = 100_000
) -> tuple[int, int | None]:
    """Largest batch that was seen to fit, and the smallest that was seen not to.

    Args:
        fits: whether a batch of that size fits; a larger one never fits where a smaller one does not.
        guess: size to begin with.
        tolerance: relative; the search ends when both sizes are that close, or are neighbours.
        trials: at the latest after so many calls of ``fits``.
        most: size beyond which nothing is tried.

    Returns:
        the two sizes: 0 if none has fitted, None if none has failed.
    """
    good, bad = 0, None
    step = 2 * tolerance
    for _ in range(trials):
        if bad is not None and bad - good <= max(1, tolerance * good):
            break
        if bad is None:
            size = min(most, guess if good == 0 else max(good + 1, math.ceil(good * (1 + step))))
            step = step if good == 0 else 2 * step
        else:
            size = (good + bad) // 2 if good else max(1, min(bad - 1, math.floor(bad * (1 - step))))
            step = step if good else min(0.9, 2 * step)
        if fits(size):
            good = size
        else:
            bad = size
        if good == most or bad == 1:
            break
    return good, bad
