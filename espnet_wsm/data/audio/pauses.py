"""Where in a recording it is quietest, so that it is not cut within a word."""

from collections.abc import Iterable, Iterator

import numpy as np

from espnet_wsm.frames import HOP, SAMPLE_RATE

LONGEST_SECONDS = 10  # of a piece: as utterances of training sets are
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


def cut_at_pauses(blocks: Iterable[np.ndarray], longest: int, most: int) -> Iterator[tuple[np.ndarray, bool]]:
    """The pieces of a recording, and whether each is the last one; none of no samples.

    It is one piece if it has no more than ``most`` samples. Else each ends where it is quietest, between half
    and all of ``longest`` samples from its beginning; the last one may be shorter, but not below a quarter of
    that. All but the last are multiples of ``HOP``. No more than ``most`` samples, or 1.5 times ``longest``,
    and a block are held.

    Args:
        blocks: (N,) samples at 16 kHz each.
        longest: multiple of ``2 * HOP``, no more than ``most``.
        most: see above.
    """
    held, come = np.zeros(0, np.float32), 0
    for block in blocks:
        come += len(block)
        held = np.concatenate([held, block]) if len(held) else block
        while come > most and len(held) >= 1.5 * longest:
            end = find_quietest(held, longest // 2, longest)
            yield held[:end], False
            held = held[end:]
    while come > most and len(held) > longest:
        # Two are left, the shorter of them a quarter of the longest or more.
        end = find_quietest(held, len(held) // 2 - longest // 4, len(held) // 2 + longest // 4)
        yield held[:end], False
        held = held[end:]
    if len(held):
        yield held, True
