"""How sure a model is of a frame."""

import math

import pytest
import torch

from espnet_wsm.recognition.confidence import measure_confidence


def test_it_goes_from_all_alike_to_one_alone():
    alike = torch.full((2, 3, 7), -math.log(7))
    torch.testing.assert_close(measure_confidence(alike), torch.zeros(2, 3), atol=1e-6, rtol=0)
    alone = torch.tensor([0.0, -math.inf, -math.inf])
    assert measure_confidence(alone) == 1.0
    assert measure_confidence(torch.zeros(4, 1)).tolist() == [1.0] * 4


def test_it_is_the_formula_and_grows_with_the_highest_probability():
    probs = torch.tensor([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1], [0.98, 0.01, 0.01]], dtype=torch.float64)
    found = measure_confidence(probs.log())
    expected = [1 - (sum(p ** (1 / 3) for p in row) - 1) / (3 ** (2 / 3) - 1) for row in probs.tolist()]
    assert found.tolist() == pytest.approx(expected)
    assert found.tolist() == sorted(found.tolist())
