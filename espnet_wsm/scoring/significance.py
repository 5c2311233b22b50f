"""How reliable error rates are: bootstrap intervals and paired differences.

Rates and their differences are in percent of the reference words. A difference is A - B, so a positive one
means that B makes fewer errors. All functions give the same results for the same arguments.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

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


USUAL = Resampling()


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


def bootstrap_error_rate(
    errors: ArrayLike,
    words: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resampling: Resampling = USUAL,
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
    totals = total_units([errors], words, groups)
    (rates,) = resample_rates(totals, resampling).T
    return make_interval(rates_of(totals.sum(0))[0], rates, resampling.level)


def compare_paired(
    errors_a: ArrayLike,
    errors_b: ArrayLike,
    words: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resampling: Resampling = USUAL,
) -> PairedComparison:
    """Compare two systems that decoded the same utterances, by a paired bootstrap.

    The intervals of two rates overlap too easily, because most of their width is due to utterances that are
    hard for both systems. Here both systems are scored on each resampled test set, and their difference
    d = rate(A) - rate(B) is resampled. The R replicates d_r give its percentile interval; the probability of
    improvement #(d_r > 0) / R, which is how often B makes fewer errors; and the two-sided
    p = 2 min(#(d_r <= 0) + 1, #(d_r >= 0) + 1) / (R + 1), at most 1.

    With one run of each system, the result holds only for these two runs. It does not say whether another
    training seed would reverse it, see :func:`espnet_wsm.scoring.seeds.compare_over_seeds`.

    Args:
        errors_a: (n,) errors of A in each utterance.
        errors_b: (n,) errors of B in the same utterances.
        words, groups, resampling: As in :func:`bootstrap_error_rate`, with the same errors.

    Source: Bisani and Ney 2004; the p value is the usual inversion of the percentile interval (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993).
    """
    totals = total_units([errors_a, errors_b], words, groups)
    estimate_a, estimate_b = rates_of(totals.sum(0))
    rates_a, rates_b = resample_rates(totals, resampling).T
    difference = rates_a - rates_b
    at_most, at_least = int((difference <= 0).sum()), int((difference >= 0).sum())
    return PairedComparison(
        units=len(totals),
        rate_a=make_interval(estimate_a, rates_a, resampling.level),
        rate_b=make_interval(estimate_b, rates_b, resampling.level),
        difference=make_interval(estimate_a - estimate_b, difference, resampling.level),
        improvement=float((difference > 0).mean()),
        p=min(1.0, 2 * (min(at_most, at_least) + 1) / (len(difference) + 1)),
    )


def name_verdict(verdict: str, a: str, b: str) -> str:
    """A verdict with the names of the two systems."""
    return {"A better": f"{a} better", "B better": f"{b} better"}.get(verdict, verdict)


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


def total_units(
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


def rates_of(totals: np.ndarray) -> np.ndarray:
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


def resample_rates(totals: np.ndarray, resampling: Resampling) -> np.ndarray:
    """(replicates, k) rates, all k for the same drawn units.

    ``scipy.stats.bootstrap`` draws the same units, but gathers each of them, which takes three times as long.
    """
    blocks = [weights.astype(np.float64) @ totals for weights in _draw_weights(len(totals), resampling)]
    return rates_of(np.concatenate(blocks))


def make_interval(estimate: float, replicates: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high))
