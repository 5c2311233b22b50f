"""Bootstrap intervals against loops and known distributions, and comparisons of two systems."""

import tracemalloc

import numpy as np
import pytest
from simulated import FEW, draw_test_sets, simulate_pair, take_percentile

from espnet_wsm.errors import UserError
from espnet_wsm.scoring import significance
from espnet_wsm.scoring.seeds import compare_over_seeds
from espnet_wsm.scoring.significance import (
    Interval,
    Resampling,
    bootstrap_error_rate,
    compare_paired,
)


def simulate(number, generator, shift=0.0, mean_words=10):
    """(errors, words) of utterances whose error probabilities vary, so that errors come in clumps."""
    words = 1 + generator.poisson(mean_words - 1, number)
    wrong = np.clip(generator.beta(1, 3, number) + shift, 0, 1)
    return generator.binomial(words, wrong), words


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
        np.array(significance.resample_rates(significance.total_units([one], words, None), how)).ravel()
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
