"""Where in a recording it is quietest, so that it is not cut within a word."""

import numpy as np

from espnet_wsm.frames import HOP, SAMPLE_RATE

WIDTH = round(0.3 * SAMPLE_RATE)  # samples that are to be quiet, half of them before the cut


def find_quietest(samples: np.ndarray, first: int, last: int) -> int:
    """The place from ``first`` to ``last`` around which 0.3 s have the least energy; a multiple of ``HOP``.

    Args:
        samples: (N,) at 16 kHz; what lies beyond them is silence.
        first: lowest place, in samples.
        last: highest place, ``first + HOP`` or more.
    """
    places = np.arange(-(-first // HOP), last // HOP + 1) * HOP
    begin = places[0] - WIDTH // 2
    part = samples[max(0, begin) : places[-1] + WIDTH // 2].astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(part**2)])
    ends = [np.clip(places + side - max(0, begin), 0, len(part)) for side in (-WIDTH // 2, WIDTH // 2)]
    return int(places[np.argmin(sums[ends[1]] - sums[ends[0]])])
