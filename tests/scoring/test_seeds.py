"""Comparisons over training seeds, against loops and simulations, and Student's quantiles."""

import math

import numpy as np
import pytest
from simulated import FEW, draw_test_sets, simulate_pair, take_percentile

from espnet_wsm.errors import UserError
from espnet_wsm.scoring.seeds import compare_over_seeds, find_t_quantile, summarise_seeds
from espnet_wsm.scoring.significance import Interval, Resampling, compare_paired


def simulate_seeds(seeds, spread, generator, shift=0.0, number=100):
    """(S, n) errors of A, of B and (n,) words; each run errs more or less often by its own random amount."""
    words = np.full(number, 10)
    hard = generator.normal(0.3, 0.12, number)
    runs = [
        [
            generator.binomial(words, np.clip(hard + extra + generator.normal(0, spread), 0, 1))
            for _ in range(seeds)
        ]
        for extra in (shift, 0)
    ]
    return np.array(runs[0]), np.array(runs[1]), words


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (29, 2.0452), (1000, 1.9623)],
)
def test_t_quantiles_are_those_of_the_tables(freedom, expected):
    assert find_t_quantile(0.95, freedom) == pytest.approx(expected, abs=6e-5)


def test_t_quantiles_of_other_levels():
    assert find_t_quantile(0.5, 1) == pytest.approx(1.0)  # Cauchy
    assert find_t_quantile(0.99, 5) == pytest.approx(4.0321, abs=6e-5)
    edges = np.linspace(0, find_t_quantile(0.95, 1.5), 100_001)
    density = (1 + edges**2 / 1.5) ** -1.25
    norm = math.gamma(1.25) / (math.gamma(0.75) * math.sqrt(1.5 * math.pi))
    assert 2 * norm * np.trapezoid(density, edges) == pytest.approx(0.95, abs=1e-6)
    for level, freedom in ((1.0, 3), (0.0, 3), (0.95, 0.5)):
        with pytest.raises(ValueError, match="0 < level < 1"):
            find_t_quantile(level, freedom)


def test_summary_over_seeds_by_hand():
    found = summarise_seeds([10.0, 12.0, 14.0])
    assert (found.seeds, found.mean, found.deviation) == (3, 12.0, 2.0)
    assert found.high - found.mean == pytest.approx(4.30265 * 2 / 3**0.5, rel=1e-5)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    two = summarise_seeds([10.0, 12.0])
    assert (two.mean, two.deviation, two.low, two.high) == (11.0, pytest.approx(2**0.5), None, None)
    assert summarise_seeds([10.0]).deviation is None


def test_comparison_over_seeds_equals_that_of_a_loop():
    errors_a, errors_b, words = simulate_seeds(3, 0.02, np.random.default_rng(14), shift=0.03, number=20)
    errors_b = errors_b[:2]
    rates = [[100 * run.sum() / words.sum() for run in side] for side in (errors_a, errors_b)]
    means = [sum(side) / len(side) for side in rates]
    assert means[0] > means[1]
    spreads = [
        sum((r - m) ** 2 for r in side) / (len(side) - 1) for side, m in zip(rates, means, strict=True)
    ]
    parts = [spreads[0] / 3, spreads[1] / 2]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 1)
    widening = find_t_quantile(0.95, freedom) / 1.959964
    generator = np.random.default_rng([0, 1])
    picks = [generator.integers(seeds, size=(FEW.replicates, seeds)) for seeds in (3, 2)]
    differences = []
    for replicate, drawn in enumerate(draw_test_sets(20, FEW)):
        total = sum(words[i] for i in drawn)
        parts = []
        for side, (errors, seeds) in enumerate(((errors_a, 3), (errors_b, 2))):
            utterances = sum(100 * sum(run[i] for i in drawn) / total for run in errors) / seeds
            chosen = sum(rates[side][pick] for pick in picks[side][replicate]) / seeds
            parts.append(utterances + (seeds / (seeds - 1)) ** 0.5 * widening * (chosen - means[side]))
        differences.append(parts[0] - parts[1])
    found = compare_over_seeds(errors_a, errors_b, words, resampling=FEW)
    assert found.difference.estimate == pytest.approx(means[0] - means[1])
    assert found.difference.low == pytest.approx(take_percentile(differences, 0.025), rel=1e-6)
    assert found.difference.high == pytest.approx(take_percentile(differences, 0.975), rel=1e-6)
    assert found.rate_a == summarise_seeds(rates[0]) and found.rate_b.seeds == 2
    assert found.caution is None


def test_one_seed_each_shows_the_noise_of_the_test_set_alone():
    errors_a, errors_b, words = simulate_pair(60, np.random.default_rng(15), shift=0.1)
    found = compare_over_seeds([errors_a], [errors_b], words)
    assert found.difference == compare_paired(errors_a, errors_b, words).difference
    assert found.verdict == "B better"
    assert "one seed of A and B: only the test set's noise is seen" in found.caution
    three = compare_over_seeds([errors_a], [errors_b] * 3, words)
    assert three.caution.startswith("one seed of A:")


def test_equal_systems_over_noisy_seeds_rarely_differ():
    """One seed each finds differences that are none half of the time; several seeds see the noise."""
    rejected = {}
    for seeds in (1, 2, 3, 5):
        generator = np.random.default_rng([16, seeds])
        trials = 300
        verdicts = [
            compare_over_seeds(
                *simulate_seeds(seeds, 0.04, generator), resampling=Resampling(300, seed)
            ).verdict
            for seed in range(trials)
        ]
        rejected[seeds] = 1 - verdicts.count("no difference") / trials
    assert rejected[1] > 0.4
    assert max(rejected[seeds] for seeds in (2, 3, 5)) < 0.08


def test_clear_difference_over_seeds_is_found_and_swapping_turns_it():
    errors_a, errors_b, words = simulate_seeds(3, 0.01, np.random.default_rng(17), shift=0.1)
    forth = compare_over_seeds(errors_a, errors_b, words)
    back = compare_over_seeds(errors_b, errors_a, words)
    assert (forth.verdict, back.verdict) == ("B better", "A better")
    assert forth.difference.low == pytest.approx(-back.difference.high, abs=1e-12)
    assert forth.difference.high == pytest.approx(-back.difference.low, abs=1e-12)


@pytest.mark.parametrize(("seeds_a", "seeds_b"), [(1, 1), (2, 3), (3, 3), (7, 3)])
def test_identical_runs_over_seeds_do_not_differ(seeds_a, seeds_b):
    """The rate is 1/3: its means over different numbers of seeds must not differ by rounding."""
    errors, words = np.array([1, 4, 2, 0]), np.array([5, 6, 7, 3])
    found = compare_over_seeds([errors] * seeds_a, [errors] * seeds_b, words)
    assert found.difference == Interval(0.0, 0.0, 0.0) and found.verdict == "no difference"


def test_groups_reach_the_comparison_over_seeds():
    errors_a, errors_b, words = simulate_seeds(2, 0.01, np.random.default_rng(18))
    groups = [index // 10 for index in range(100)]
    by_group = compare_over_seeds(errors_a, errors_b, words, groups, FEW)
    assert by_group.difference != compare_over_seeds(errors_a, errors_b, words, resampling=FEW).difference


@pytest.mark.parametrize("rates", [[], [float("nan"), 1.0], [[1.0]]])
def test_bad_rates_over_seeds_are_refused(rates):
    with pytest.raises(UserError, match="give one finite number per seed"):
        summarise_seeds(rates)


@pytest.mark.parametrize("errors", [[1, 2], [], np.zeros((0, 2))])
def test_errors_without_an_axis_of_seeds_are_refused(errors):
    with pytest.raises(UserError, match="errors of A have shape"):
        compare_over_seeds(errors, [[1, 2]], [3, 4])
