"""How reliable error rates are: bootstrap intervals, paired differences, and variation between seeds.

Rates and their differences are in percent of the reference words. A difference is A - B, so a positive one
means that B makes fewer errors. All functions give the same results for the same arguments.
"""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.errors import UserError

FEW_UNITS = 30
MIN_REPLICATES = 100
CELLS_AT_ONCE = 2_000_000  # resampled indices in memory at a time, about 50 MB with all that depends on them


@dataclass(frozen=True)
class Resampling:
    """How often and with which seed to resample, and the level of intervals.

    Args:
        replicates: Number of test sets to draw, 100 or more; with 10,000, the ends of an interval are stable
            to two digits.
        seed: Seed of the random numbers, 0 or more.
        level: Share of the replicates in an interval, between 0 and 1, e.g. 0.95.

    Raises:
        UserError: a value is out of range.
    """

    replicates: int = 10_000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.replicates < MIN_REPLICATES:
            raise UserError(f"replicates is {self.replicates}: give {MIN_REPLICATES} or more, 10000 is usual")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}: give 0 or more")
        if not 0 < self.level < 1:
            raise UserError(f"level is {self.level:g}: give a share between 0 and 1, e.g. 0.95")


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval around it, in percent or percentage points."""

    estimate: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``A better``, ``B better`` or ``no difference``, for the interval of a difference A - B."""
        if self.high < 0:
            return "A better"
        return "B better" if self.low > 0 else "no difference"


@dataclass(frozen=True)
class PairedComparison:
    """Two systems on the same utterances, see :func:`compare_paired`. ``units`` were resampled."""

    units: int
    rate_a: Interval
    rate_b: Interval
    difference: Interval
    improvement: float
    p: float

    @property
    def caution(self) -> str | None:
        """Why the intervals should not be relied on, None if there were enough units."""
        if self.units >= FEW_UNITS:
            return None
        return f"only {self.units} were resampled: below about {FEW_UNITS} the intervals come out too narrow"


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


def bootstrap_error_rate(
    errors: ArrayLike,
    words: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resampling: Resampling = Resampling(),
) -> Interval:
    """Interval of an error rate: what the rate could have been on other utterances of the same kind.

    Errors come in clusters, so a binomial interval over words is too narrow. The remedy is to draw n of the n
    utterances with replacement, many times, and to compute the rate of each such test set,
    100 * sum(errors) / sum(words); the interval holds the middle ``level`` of these rates (percentiles).

    The utterances must be independent of each other. If several come from one speaker or recording, they are
    not, and the interval is too narrow; give the speakers as ``groups``, and whole groups are drawn.
    With fewer than about 30 utterances or groups, the interval is still too narrow.

    Args:
        errors: (n,) number of substitutions, deletions and insertions in each utterance.
        words: (n,) number of reference words (or characters) of each utterance, 1 or more.
        groups: (n,) speaker or other group of each utterance.
        resampling: Number of replicates, seed and level.

    Raises:
        UserError: fewer than 2 utterances or groups, lengths that differ, negative or fractional counts, an
            utterance without reference words.

    Source: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004.
    """
    totals = _total_units([errors], words, groups)
    (rates,) = _resample_rates(totals, resampling).T
    return _make_interval(_rates_of(totals.sum(0))[0], rates, resampling.level)


def compare_paired(
    errors_a: ArrayLike,
    errors_b: ArrayLike,
    words: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resampling: Resampling = Resampling(),
) -> PairedComparison:
    """Compare two systems that decoded the same utterances, by a paired bootstrap.

    The intervals of two rates overlap too easily, because most of their width is due to utterances that are
    hard for both systems. Here both systems are scored on each resampled test set, and their difference
    d = rate(A) - rate(B) is resampled. The R replicates d_r give its percentile interval; the probability of
    improvement #(d_r > 0) / R, which is how often B makes fewer errors; and the two-sided
    p = 2 min(#(d_r <= 0) + 1, #(d_r >= 0) + 1) / (R + 1), at most 1.

    With one run of each system, the result holds only for these two runs. It does not say whether another
    training seed would reverse it, see :func:`compare_over_seeds`.

    Args:
        errors_a: (n,) errors of A in each utterance.
        errors_b: (n,) errors of B in the same utterances.
        words, groups, resampling: As in :func:`bootstrap_error_rate`, with the same errors.

    Source: Bisani and Ney 2004; the p value is the usual inversion of the percentile interval (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993).
    """
    totals = _total_units([errors_a, errors_b], words, groups)
    estimate_a, estimate_b = _rates_of(totals.sum(0))
    rates_a, rates_b = _resample_rates(totals, resampling).T
    difference = rates_a - rates_b
    at_most, at_least = int((difference <= 0).sum()), int((difference >= 0).sum())
    return PairedComparison(
        units=len(totals),
        rate_a=_make_interval(estimate_a, rates_a, resampling.level),
        rate_b=_make_interval(estimate_b, rates_b, resampling.level),
        difference=_make_interval(estimate_a - estimate_b, difference, resampling.level),
        improvement=float((difference > 0).mean()),
        p=min(1.0, 2 * (min(at_most, at_least) + 1) / (len(difference) + 1)),
    )


def name_verdict(verdict: str, a: str, b: str) -> str:
    """A verdict with the names of the two systems."""
    return {"A better": f"{a} better", "B better": f"{b} better"}.get(verdict, verdict)


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
    resampling: Resampling = Resampling(),
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
    totals = _total_units([*runs_a, *runs_b], words, groups)
    observed = _rates_of(totals.sum(0))
    observed_a, observed_b = observed[:seeds_a], observed[seeds_a:]
    # Mean rates over seeds as fractions of integers with a common denominator: equal rates are equal floats.
    total_a, total_b = totals[:, :seeds_a].sum(1), totals[:, seeds_a:-1].sum(1)
    means = np.stack([seeds_b * total_a, seeds_a * total_b, seeds_a * seeds_b * totals[:, -1]], axis=1)
    estimate_a, estimate_b = _rates_of(means.sum(0))
    rates_a, rates_b = _resample_rates(means, resampling).T
    # The worse system draws its seeds first, so that swapping A and B only flips the sign.
    sign, first, second = (1, observed_a, observed_b)
    if estimate_a < estimate_b:
        sign, first, second = (-1, observed_b, observed_a)
    generator = np.random.default_rng([resampling.seed, 1])
    deviation = _draw_seed_deviations(first, resampling.replicates, generator)
    deviation -= _draw_seed_deviations(second, resampling.replicates, generator)
    widening = _find_t_widening(observed_a, observed_b, resampling.level)
    difference = rates_a - rates_b + sign * widening * deviation
    interval = _make_interval(estimate_a - estimate_b, difference, resampling.level)
    return SeedComparison(
        summarise_seeds(observed_a, resampling.level),
        summarise_seeds(observed_b, resampling.level),
        interval,
        interval.verdict,
        _find_unseen_noise(seeds_a, seeds_b),
    )


def find_t_quantile(level: float, freedom: float) -> float:
    """The t with P(|T| <= t) = ``level`` for Student's T with ``freedom`` >= 1 degrees of freedom.

    With T = sqrt(freedom) tan(u), the probability is proportional to the integral of cos(u)^(freedom - 1).
    Gauss-Legendre quadrature computes it to more than six digits, and bisection inverts it.
    """
    if not 0 < level < 1 or freedom < 1:
        raise ValueError(f"level {level:g}, freedom {freedom:g}: give 0 < level < 1 and freedom >= 1")
    nodes, weights = np.polynomial.legendre.leggauss(64)
    log_norm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(math.pi)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        inside = angle * math.exp(log_norm) * (weights @ np.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))
        low, high = (angle, high) if inside < level else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def _check_counts(name: str, values: ArrayLike, shape: tuple[int, ...], least: int) -> np.ndarray:
    """``values`` as float64, in which sums of counts are exact; UserError if they are not counts."""
    array = np.asarray(values)
    if array.shape != shape:
        raise UserError(f"{name} has shape {array.shape}, expected {shape}: give one count per utterance")
    numbers = array.astype(np.float64)
    wrong = ~(np.isfinite(numbers) & (numbers >= least) & (numbers == np.floor(numbers)))
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{name} of utterance {index} (from 0) is {array[index]}: give a whole number, {least} or more"
        )
    return numbers


def _check_runs(name: str, errors: ArrayLike) -> np.ndarray:
    runs = np.asarray(errors)
    if runs.ndim != 2 or not len(runs):
        raise UserError(f"errors of {name} have shape {runs.shape}: give (seeds, utterances), 1 seed or more")
    return runs


def _total_units(
    errors: Sequence[ArrayLike], words: ArrayLike, groups: Sequence[Hashable] | None
) -> np.ndarray:
    """(units, k + 1): the k error counts and the number of words of each utterance or group."""
    shape = (np.size(words),)
    columns = [_check_counts("errors", one, shape, least=0) for one in errors]
    columns.append(_check_counts("reference words", words, shape, least=1))
    totals = np.stack(columns, axis=1)
    if groups is not None:
        if len(groups) != len(totals):
            raise UserError(f"{len(groups)} groups for {len(totals)} utterances: give one per utterance")
        numbers: dict[Hashable, int] = {}
        index = [numbers.setdefault(group, len(numbers)) for group in groups]
        grouped = np.zeros((len(numbers), totals.shape[1]))
        np.add.at(grouped, index, totals)
        totals = grouped
    if len(totals) < 2:
        what = count(len(totals), "utterance" if groups is None else "group")
        raise UserError(f"{what} to resample: an interval needs 2 at least, and about 30 to be right")
    return totals


def _rates_of(totals: np.ndarray) -> np.ndarray:
    """(..., k) rates in percent from (..., k + 1) errors and words."""
    return 100 * totals[..., :-1] / totals[..., -1:]


def _draw_weights(units: int, resampling: Resampling) -> Iterator[np.ndarray]:
    """Blocks of (replicates, units): how often each unit was drawn. Each row sums to ``units``."""
    generator = np.random.default_rng(resampling.seed)
    rows = max(1, CELLS_AT_ONCE // units)
    for start in range(0, resampling.replicates, rows):
        size = min(rows, resampling.replicates - start)
        drawn = generator.integers(units, size=(size, units))
        drawn += units * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)


def _resample_rates(totals: np.ndarray, resampling: Resampling) -> np.ndarray:
    """(replicates, k) rates, all k for the same drawn units."""
    blocks = [weights.astype(np.float64) @ totals for weights in _draw_weights(len(totals), resampling)]
    return _rates_of(np.concatenate(blocks))


def _make_interval(estimate: float, replicates: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high))


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
