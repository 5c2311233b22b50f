"""The largest batch that fits."""

import pytest

from espnet_wsm.benchmark.gpu.search import find_largest, predict_largest


class Card:
    """Says which batches fit, and remembers which were tried."""

    def __init__(self, largest: int):
        self.largest, self.tried = largest, []

    def __call__(self, size: int) -> bool:
        self.tried.append(size)
        return size <= self.largest


@pytest.mark.parametrize("largest", [1, 2, 5, 17, 100, 1234])
@pytest.mark.parametrize("error", [0.2, 0.9, 1.0, 1.1, 3.0])
def test_the_search_ends_at_what_fits_whatever_the_guess(largest, error):
    card = Card(largest)
    good, bad = find_largest(card, max(1, round(largest * error)), 0.04, 100)
    assert good <= largest < bad
    assert bad - good <= max(1, 0.04 * good)
    assert len(set(card.tried)) == len(card.tried)


def test_a_good_guess_needs_few_trials():
    card = Card(500)
    assert find_largest(card, 490, 0.04, 100)[0] in range(480, 501)
    assert len(card.tried) <= 4


def test_what_is_known_when_the_trials_are_used_up():
    card = Card(10_000)
    assert find_largest(card, 10, 0.04, 3) == (max(card.tried), None)
    assert len(card.tried) == 3


def test_where_not_one_fits_nothing_does():
    assert find_largest(Card(0), 40, 0.04, 100) == (0, 1)


def test_nothing_is_tried_beyond_the_most():
    card = Card(10**9)
    assert find_largest(card, 70, 0.04, 100, most=100) == (100, None)
    assert max(card.tried) == 100


def test_the_prediction_follows_the_line_through_two_peaks():
    assert predict_largest({2: 1200, 6: 1600}, 3000) == 20  # 1000 at rest, 100 for each
    assert predict_largest({2: 1200, 6: 1600}, 100) == 1
    assert predict_largest({2: 1000, 6: 1000}, 1010) == 16  # no growth is taken as one byte
