"""What confidences are worth, and the function that makes probabilities of them."""

import math

import numpy as np
import pytest

from espnet_wsm.errors import UserError
from espnet_wsm.recognition.calibration import (
    Calibration,
    Rated,
    find_auc,
    find_calibration_error,
    fit_calibration,
    measure_reliability,
    read_calibration,
    write_calibration,
)


def draw(number: int, seed: int = 0) -> Rated:
    """Confidences of which the square is the probability of being right."""
    generator = np.random.default_rng(seed)
    confidences = generator.random(number)
    return Rated(tuple(confidences), tuple(generator.random(number) < confidences**2))


def test_an_overconfident_model_is_put_right():
    calibration = fit_calibration(draw(5000))
    words = draw(5000, seed=1)
    found = measure_reliability(words, calibration)
    assert found.ece > 0.15 > 0.03 > found.ece_calibrated
    assert calibration(0.5) == pytest.approx(0.25, abs=0.05)
    assert (found.words, found.right) == (5000, sum(words.right))
    assert found.auc == pytest.approx(measure_reliability(words).auc)
    assert 0 < calibration(0.0) < 1 / 5000 and 0.999 < calibration(1.0) < 1


def test_the_auc_counts_pairs_and_ties_half():
    assert find_auc(np.array([0.9, 0.8, 0.1]), np.array([True, True, False])) == 1.0
    assert find_auc(np.array([0.5, 0.5, 0.7, 0.1]), np.array([True, False, False, True])) == 0.125
    assert find_auc(np.array([0.5]), np.array([True])) is None


def test_the_calibration_error_weighs_bins_by_their_words():
    confidences, right = np.array([0.95, 0.95, 1.0, 0.05]), np.array([True, False, True, False])
    high = np.mean([0.95, 0.95, 1.0])
    assert find_calibration_error(confidences, right) == pytest.approx((3 * (high - 2 / 3) + 0.05) / 4)


@pytest.mark.parametrize("right", [[True] * 60, [False] * 60, [True, False] * 10])
def test_too_few_words_are_refused(right):
    with pytest.raises(UserError, match=f"^{len(right)} words, {sum(right)} of them right"):
        fit_calibration(Rated((0.5,) * len(right), tuple(right)))


def test_a_file_keeps_it_and_a_damaged_one_is_named(tmp_path):
    calibration = fit_calibration(draw(200))
    write_calibration(tmp_path / "c.json", calibration, {"set": "dev"})
    assert read_calibration(tmp_path / "c.json") == (calibration, {"set": "dev"})
    write_calibration(tmp_path / "c.json", None, {})
    assert read_calibration(tmp_path / "c.json") == (None, {})
    for content in ("{}", "[", '{"calibration": {"confidences": [1], "shares": [2]}}', '{"calibration": 3}'):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(UserError, match=r"c\.json is damaged .*run stage 5 again"):
            read_calibration(tmp_path / "c.json")


@pytest.mark.parametrize(
    "points", [((), ()), ((0.5, 0.2), (0, 1)), ((0.1,), (0.1, 0.2)), ((0.1,), (1.5,)), ((math.nan,), (0.5,))]
)
def test_points_that_are_no_function_are_refused(points):
    with pytest.raises(UserError, match="calibration"):
        Calibration(*points)
