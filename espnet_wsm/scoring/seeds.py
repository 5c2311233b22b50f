"""Two systems over their training seeds: how far rates vary from seed to seed, and whether one is better.

Rates, differences and their sign are as in :mod:`espnet_wsm.scoring.significance`.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from espnet_wsm.errors import UserError
from espnet_wsm.scoring.significance import (
    USUAL,
    Interval,
    Resampling,
    make_interval,
    rates_of,
    resample_rates,
    total_units,
)


@dataclass(frozen=True)
class SeedSummary:
    """Rates of one system over training seeds, see :func:`summarise_seeds`; None for too few seeds."""

    seeds: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SeedComparison:
    """Two systems over their training seeds, see :func:`compare_over_seeds`.

    ``verdict`` is ``A better``, ``B better`` or ``no difference``; ``caution`` says which source of noise is
    not covered.
    """

    rate_a: SeedSummary
    rate_b: SeedSummary
    difference: Interval
    verdict: str
    caution: str | None


def summarise_seeds(rates: Sequence[float], level: float = 0.95) -> SeedSummary:
    """Mean and sample standard deviation over seeds, and Student's interval of the mean.

    The interval is mean +- t * sd / sqrt(n), with the quantile t for n - 1 degrees of freedom, because a few
    runs estimate their own spread poorly. One seed has no deviation; two have no interval (it would be about
    13 deviations wide).

    Args:
        rates: Error rate of each seed, in percent.
        level: Level of the interval.

    Raises:
        UserError: no rate, or one that is not finite.
    """
    values = np.asarray(rates, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise UserError(f"rates over seeds are {list(rates)}: give one finite number per seed, at least one")
    number, mean = len(values), float(values.mean())
    deviation = float(values.std(ddof=1)) if number > 1 else None
    if number < 3:
        return SeedSummary(number, mean, deviation, None, None)
    half = find_t_quantile(level, number - 1) * deviation / math.sqrt(number)
    return SeedSummary(number, mean, deviation, mean - half, mean + half)


def compare_over_seeds(
    errors_a: ArrayLike,
    errors_b: ArrayLike,
    words: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resampling: Resampling = USUAL,
) -> SeedComparison:
    """Say whether A or B is better, if both were trained with several seeds and decoded the same test set.

    A difference has two sources of noise, the utterances and the seeds. Looking at only one of them finds
    differences where there are none. So each replicate draws utterances (the same for all runs of both
    systems) and, for each system separately, seeds, and computes

        d_r = A(utterances of r) - B(utterances of r) + f_A (A(seeds of r) - A) - f_B (B(seeds of r) - B),

    where A() is the mean rate over the runs. There is a difference if the interval of the d_r does not
    include 0. A few seeds underestimate their spread: S seeds drawn from S have a variance of (S - 1) / S of
    the sample variance, and are not normal. The factor f_A = sqrt(S_A / (S_A - 1)) * t / z corrects for this,
    with Student's t for Welch's degrees of freedom and the normal quantile z. In simulations with a large
    variation between seeds, f = 1 finds a difference between equal systems 18 % of the time with two seeds
    and 11 % with three; with f it is about 5 % at most. If seeds hardly vary, the interval is too wide rather
    than too narrow; two seeds reveal only large differences.

    With one seed each, only the noise of the test set is covered, and the verdict holds for these two models,
    not for how they were trained; ``caution`` says so.

    Args:
        errors_a: (S_A, n) errors of A per seed and utterance.
        errors_b: (S_B, n) errors of B; the number of seeds may differ, and they need not be the same seeds.
        words, groups, resampling: As in :func:`bootstrap_error_rate`, with the same errors.

    Source: resampling of both rows and columns as in Owen, "The pigeonhole bootstrap", Annals of Applied
    Statistics 2007. The factor is ours; the simulation is in the tests.
    """
    runs_a, runs_b = _check_runs("A", errors_a), _check_runs("B", errors_b)
    seeds_a, seeds_b = len(runs_a), len(runs_b)
    totals = total_units([*runs_a, *runs_b], words, groups)
    observed = rates_of(totals.sum(0))
    observed_a, observed_b = observed[:seeds_a], observed[seeds_a:]
    # Mean rates over seeds as fractions of integers with a common denominator: equal rates are equal floats.
    total_a, total_b = totals[:, :seeds_a].sum(1), totals[:, seeds_a:-1].sum(1)
    means = np.stack([seeds_b * total_a, seeds_a * total_b, seeds_a * seeds_b * totals[:, -1]], axis=1)
    estimate_a, estimate_b = rates_of(means.sum(0))
    rates_a, rates_b = resample_rates(means, resampling).T
    # The worse system draws its seeds first, so that swapping A and B only flips the sign.
    sign, first, second = (1, observed_a, observed_b)
    if estimate_a < estimate_b:
        sign, first, second = (-1, observed_b, observed_a)
    generator = np.random.default_rng([resampling.seed, 1])
    deviation = _draw_seed_deviations(first, resampling.replicates, generator)
    deviation -= _draw_seed_deviations(second, resampling.replicates, generator)
    widening = _find_t_widening(observed_a, observed_b, resampling.level)
    difference = rates_a - rates_b + sign * widening * deviation
    interval = make_interval(estimate_a - estimate_b, difference, resampling.level)
    return SeedComparison(
        summarise_seeds(observed_a, resampling.level),
        summarise_seeds(observed_b, resampling.level),
        interval,
        interval.verdict,
        _find_unseen_noise(seeds_a, seeds_b),
    )


def find_t_quantile(level: float, freedom: float) -> float:
    """The t with P(|T| <= t) = ``level`` for Student's T with ``freedom`` >= 1 degrees of freedom."""
    from scipy.special import stdtrit  # a quarter of a second, which scoring one system does without

    if not 0 < level < 1 or freedom < 1:
        raise ValueError(f"level {level:g}, freedom {freedom:g}: give 0 < level < 1 and freedom >= 1")
    return float(stdtrit(freedom, (1 + level) / 2))


def _check_runs(name: str, errors: ArrayLike) -> np.ndarray:
    runs = np.asarray(errors)
    if runs.ndim != 2 or not len(runs):
        raise UserError(f"errors of {name} have shape {runs.shape}: give (seeds, utterances), 1 seed or more")
    return runs


def _draw_seed_deviations(rates: np.ndarray, replicates: int, generator: np.random.Generator) -> np.ndarray:
    """(replicates,) mean of the drawn seeds minus mean of all, scaled to the variance of a mean of S runs."""
    number = len(rates)
    if not np.ptp(rates):
        return np.zeros(replicates)
    means = rates[generator.integers(number, size=(replicates, number))].mean(1)
    return math.sqrt(number / (number - 1)) * (means - rates.mean())


def _find_t_widening(rates_a: np.ndarray, rates_b: np.ndarray, level: float) -> float:
    """t / z with Welch's degrees of freedom; 1 if the seeds do not vary."""
    varying = [rates for rates in (rates_a, rates_b) if np.ptp(rates)]
    if not varying:
        return 1.0
    parts = np.array([rates.var(ddof=1) / len(rates) for rates in varying])
    parts /= parts.max()  # only their ratio matters, and the squares of tiny values would underflow
    freedom = parts.sum() ** 2 / sum(
        part**2 / (len(rates) - 1) for part, rates in zip(parts, varying, strict=True)
    )
    return find_t_quantile(level, freedom) / NormalDist().inv_cdf((1 + level) / 2)


def _find_unseen_noise(seeds_a: int, seeds_b: int) -> str | None:
    single = [name for name, seeds in (("A", seeds_a), ("B", seeds_b)) if seeds == 1]
    if not single:
        return None
    return (
        f"one seed of {' and '.join(single)}: only the test set's noise is seen there, "
        "training again may turn the result"
    )
