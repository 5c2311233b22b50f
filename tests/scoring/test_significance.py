"""Bootstrap intervals against loops and known distributions; comparisons over utterances and over seeds."""

import math
import tracemalloc

import numpy as np
import pytest

from espnet_wsm.errors import UserError
from espnet_wsm.scoring import significance
from espnet_wsm.scoring.significance import (
    Interval,
    Resampling,
    bootstrap_error_rate,
    compare_over_seeds,
    compare_paired,
    find_t_quantile,
    summarise_seeds,
)

FEW = Resampling(replicates=200)


def simulate(number, generator, shift=0.0, mean_words=10):
    """(errors, words) of utterances whose error probabilities vary, so that errors come in clumps."""
    words = 1 + generator.poisson(mean_words - 1, number)
    wrong = np.clip(generator.beta(1, 3, number) + shift, 0, 1)
    return generator.binomial(words, wrong), words


def simulate_pair(number, generator, shift=0.0):
    """Two systems that find the same utterances hard."""
    words = 1 + generator.poisson(9, number)
    wrong = generator.beta(1, 3, number)
    errors = [generator.binomial(words, np.clip(wrong + extra, 0, 1)) for extra in (shift, 0)]
    return errors[0], errors[1], words


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


def test_interval_equals_that_of_a_loop():
    errors, words = simulate(30, np.random.default_rng(1))
    rates = []
    for drawn in draw_test_sets(30, FEW):
        wrong = total = 0
        for index in drawn:
            wrong += int(errors[index])
            total += int(words[index])
        rates.append(100 * wrong / total)
    found = bootstrap_error_rate(errors, words, resampling=FEW)
    assert found.estimate == 100 * sum(errors) / sum(words)
    assert found.low == pytest.approx(take_percentile(rates, 0.025), rel=1e-12)
    assert found.high == pytest.approx(take_percentile(rates, 0.975), rel=1e-12)
    assert found.low < found.estimate < found.high


def test_paired_comparison_equals_that_of_a_loop():
    errors_a, errors_b, words = simulate_pair(25, np.random.default_rng(2), shift=0.02)
    resampling = Resampling(300, seed=5, level=0.9)
    differences = []
    for drawn in draw_test_sets(25, resampling):
        total = sum(int(words[index]) for index in drawn)
        wrong_a, wrong_b = (sum(int(one[index]) for index in drawn) for one in (errors_a, errors_b))
        differences.append(100 * wrong_a / total - 100 * wrong_b / total)
    found = compare_paired(errors_a, errors_b, words, resampling=resampling)
    better = sum(difference > 0 for difference in differences)
    worse = sum(difference < 0 for difference in differences)
    assert found.difference.low == pytest.approx(take_percentile(differences, 0.05), abs=1e-12)
    assert found.difference.high == pytest.approx(take_percentile(differences, 0.95), abs=1e-12)
    assert found.improvement == better / 300
    assert found.p == 2 * (min(300 - better, 300 - worse) + 1) / 301
    assert found.rate_a == bootstrap_error_rate(errors_a, words, resampling=resampling)
    assert found.rate_b == bootstrap_error_rate(errors_b, words, resampling=resampling)
    assert found.units == 25 and 0 < better < 300


def test_groups_are_drawn_whole():
    errors, words = simulate(12, np.random.default_rng(3))
    groups = list("aabbbcddeefa")
    members = {name: [i for i, group in enumerate(groups) if group == name] for name in "abcdef"}
    rates = []
    for drawn in draw_test_sets(6, FEW):
        indices = [i for number in drawn for i in members["abcdef"[number]]]
        rates.append(100 * sum(errors[i] for i in indices) / sum(words[i] for i in indices))
    found = bootstrap_error_rate(errors, words, groups, FEW)
    assert found.low == pytest.approx(take_percentile(rates, 0.025), rel=1e-12)
    assert found.high == pytest.approx(take_percentile(rates, 0.975), rel=1e-12)


def test_groups_of_one_utterance_change_nothing():
    errors_a, errors_b, words = simulate_pair(40, np.random.default_rng(4))
    by_group = compare_paired(errors_a, errors_b, words, [f"speaker{i}" for i in range(40)], FEW)
    assert by_group == compare_paired(errors_a, errors_b, words, resampling=FEW)


def test_blocks_change_nothing(monkeypatch):
    errors, words = simulate(50, np.random.default_rng(5))
    whole = bootstrap_error_rate(errors, words)
    for cells in (1, 777):
        monkeypatch.setattr(significance, "CELLS_AT_ONCE", cells)
        assert bootstrap_error_rate(errors, words) == whole


def test_same_seed_gives_the_same_interval_and_another_seed_a_close_one():
    errors, words = simulate(200, np.random.default_rng(6))
    first, second, other = (bootstrap_error_rate(errors, words, None, Resampling(seed=s)) for s in (7, 7, 8))
    assert first == second != other
    width = first.high - first.low
    assert abs(first.low - other.low) < 0.05 * width and abs(first.high - other.high) < 0.05 * width


def test_large_test_set_fits_into_memory():
    errors, words = simulate(2000, np.random.default_rng(7))
    tracemalloc.start()
    bootstrap_error_rate(errors, words)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # the indices alone would be 160 MB


def test_interval_covers_the_true_rate_as_often_as_it_says():
    """The true rate is the mean 1/4 of the beta distribution."""
    generator = np.random.default_rng(8)
    trials = 600
    intervals = [
        bootstrap_error_rate(*simulate(150, generator), resampling=Resampling(500, seed))
        for seed in range(trials)
    ]
    covered = sum(one.low <= 25 <= one.high for one in intervals) / trials
    assert 0.92 <= covered <= 0.97
    # A binomial interval, which takes words for independent, would miss far more often.
    half = [1.96 * (rate * (100 - rate) / 1500) ** 0.5 for rate in (one.estimate for one in intervals)]
    binomial = sum(abs(one.estimate - 25) <= h for one, h in zip(intervals, half, strict=True)) / trials
    assert binomial < 0.85


def test_utterances_of_few_speakers_need_speakers_resampled():
    generator = np.random.default_rng(9)
    trials, speakers, each = 300, 40, 10
    groups = [index // each for index in range(speakers * each)]
    covered = {"utterances": 0, "speakers": 0}
    for seed in range(trials):
        wrong = np.repeat(generator.beta(2, 6, speakers), each)  # mean 1/4
        words = np.full(len(wrong), 10)
        errors = generator.binomial(words, wrong)
        for name, labels in (("utterances", None), ("speakers", groups)):
            interval = bootstrap_error_rate(errors, words, labels, Resampling(300, seed))
            covered[name] += interval.low <= 25 <= interval.high
    assert covered["utterances"] / trials < 0.75
    assert covered["speakers"] / trials > 0.90


def test_equal_systems_differ_as_rarely_as_the_level_says():
    generator = np.random.default_rng(10)
    trials = 600
    found = [
        compare_paired(*simulate_pair(100, generator), resampling=Resampling(400, seed))
        for seed in range(trials)
    ]
    rejected = sum(one.difference.verdict != "no difference" for one in found) / trials
    assert 0.02 < rejected < 0.08
    assert sum(one.p < 0.05 for one in found) / trials == pytest.approx(rejected, abs=0.01)


def test_pairing_narrows_the_interval_of_systems_that_err_alike():
    errors_a, errors_b, words = simulate_pair(300, np.random.default_rng(11), shift=0.03)
    paired = compare_paired(errors_a, errors_b, words)
    other = Resampling(seed=1)
    alone_a, alone_b = (
        np.array(significance._resample_rates(significance._total_units([one], words, None), how)).ravel()
        for one, how in ((errors_a, Resampling()), (errors_b, other))
    )
    low, high = np.quantile(alone_a - alone_b, [0.025, 0.975])
    assert paired.difference.high - paired.difference.low < 0.7 * (high - low)
    assert paired.difference.verdict == "B better" and low < 0


def test_identical_systems_do_not_differ():
    errors, words = simulate(60, np.random.default_rng(12))
    found = compare_paired(errors, errors, words)
    assert found.difference == Interval(0.0, 0.0, 0.0)
    assert (found.p, found.improvement, found.difference.verdict) == (1.0, 0.0, "no difference")


def test_swapping_the_systems_turns_the_sign():
    errors_a, errors_b, words = simulate_pair(80, np.random.default_rng(13), shift=0.15)
    forth = compare_paired(errors_a, errors_b, words)
    back = compare_paired(errors_b, errors_a, words)
    assert forth.difference.low == pytest.approx(-back.difference.high, abs=1e-12)
    assert forth.difference.high == pytest.approx(-back.difference.low, abs=1e-12)
    assert (forth.rate_a, forth.rate_b, forth.p) == (back.rate_b, back.rate_a, back.p)
    assert forth.improvement > 0.99 and back.improvement < 0.01
    assert (forth.difference.verdict, back.difference.verdict) == ("B better", "A better")


def test_example_by_hand():
    """Two utterances: all four test sets are equally likely, and B is better in all that hold the first."""
    found = compare_paired([2, 0], [0, 0], [4, 4])
    assert (found.rate_a.estimate, found.rate_b.estimate) == (25.0, 0.0)
    assert (found.rate_a.low, found.rate_a.high) == (0.0, 50.0)
    assert found.improvement == pytest.approx(0.75, abs=0.02)
    assert found.p == pytest.approx(0.5, abs=0.03)
    assert found.difference.verdict == "no difference"
    assert "only 2 were resampled" in found.caution


@pytest.mark.parametrize(("units", "careful"), [(29, True), (30, False)])
def test_few_units_are_pointed_out(units, careful):
    found = compare_paired([1] * units, [0] * units, [5] * units, resampling=FEW)
    assert (found.caution is not None) == careful


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "0 utterances to resample"),
        (([1], [2]), "1 utterance to resample"),
        (([1, 2], [3]), r"errors has shape \(2,\), expected \(1,\)"),
        (([1, 2, 0], [3, 0, 4]), "reference words of utterance 1 .* is 0: give a whole number, 1 or more"),
        (([1, -2], [3, 4]), "errors of utterance 1 .* is -2"),
        (([1, 0.5], [3, 4]), "errors of utterance 1 .* is 0.5"),
        (([1, float("nan")], [3, 4]), "errors of utterance 1 .* is nan"),
        (([1, 2], [3, 4], ["a"]), "1 groups for 2 utterances"),
        (([1, 2], [3, 4], ["a", "a"]), "1 group to resample"),
    ],
)
def test_bad_counts_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        bootstrap_error_rate(*arguments)
    errors, *rest = arguments
    with pytest.raises(UserError, match=message):
        compare_over_seeds([errors], [errors], *rest)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replicates": 99}, "replicates is 99: give 100 or more"),
        ({"seed": -1}, "seed is -1"),
        ({"level": 1.0}, "level is 1"),
        ({"level": float("nan")}, "level is nan"),
    ],
)
def test_bad_settings_quote_the_value(values, message):
    with pytest.raises(UserError, match=message):
        Resampling(**values)


@pytest.mark.parametrize("rates", [[], [float("nan"), 1.0], [[1.0]]])
def test_bad_rates_over_seeds_are_refused(rates):
    with pytest.raises(UserError, match="give one finite number per seed"):
        summarise_seeds(rates)


@pytest.mark.parametrize("errors", [[1, 2], [], np.zeros((0, 2))])
def test_errors_without_an_axis_of_seeds_are_refused(errors):
    with pytest.raises(UserError, match="errors of A have shape"):
        compare_over_seeds(errors, [[1, 2]], [3, 4])
