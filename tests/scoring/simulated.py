"""Utterances of two systems that were never run, and the resampling of them in plain loops."""

import numpy as np

from espnet_wsm.scoring.significance import Resampling

FEW = Resampling(replicates=200)


def simulate_pair(number, generator, shift=0.0):
    """Two systems that find the same utterances hard."""
    words = 1 + generator.poisson(9, number)
    wrong = generator.beta(1, 3, number)
    errors = [generator.binomial(words, np.clip(wrong + extra, 0, 1)) for extra in (shift, 0)]
    return errors[0], errors[1], words


def draw_test_sets(units, resampling):
    """The drawn indices, one replicate at a time."""
    generator = np.random.default_rng(resampling.seed)
    return [generator.integers(units, size=units) for _ in range(resampling.replicates)]


def take_percentile(values, share):
    """Linear interpolation between the two nearest ranks."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
