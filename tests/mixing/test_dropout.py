"""Dropout that draws few numbers and keeps none."""

import pytest
import torch
import torch.nn.functional as F

from espnet_wsm.meters import SavedBytes
from espnet_wsm.mixing.dropout import LeanDropout

SIZE = (3, 50, 401)  # no multiple of four


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
def test_a_share_of_the_elements_is_dropped_and_the_others_are_scaled(p):
    torch.manual_seed(0)
    x = torch.rand(SIZE) + 1
    y = LeanDropout(p)(x)
    dropped = y == 0
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert abs(dropped.float().mean() - p) < 4 * deviation
    torch.testing.assert_close(y[~dropped], x[~dropped] / (1 - p), rtol=1e-4, atol=0)


def test_elements_are_dropped_independently_of_their_neighbours():
    """Four of them share a draw."""
    torch.manual_seed(0)
    dropped = LeanDropout(0.3)(torch.ones(80_000)).view(-1, 8) == 0
    together = torch.corrcoef(dropped.float().T)
    assert (together - torch.eye(8)).abs().max() < 4 / 10_000**0.5


def test_the_gradient_passes_where_the_element_did_and_nothing_is_kept():
    dropout, x = LeanDropout(0.2), torch.rand(SIZE, requires_grad=True)
    counter = SavedBytes(dropout)
    with counter.hooks():
        y = dropout(x)
    assert counter.count()["saved_with_parameters_bytes"] == 0
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, y)


def test_seeds_come_from_pytorch_and_differ_from_call_to_call():
    dropout, x = LeanDropout(0.5), torch.ones(SIZE)

    def twice() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(7)
        return dropout(x), dropout(x)

    first, second = twice()
    assert not torch.equal(first, second)
    assert all(map(torch.equal, twice(), (first, second)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_precisions_keep_the_mean(dtype):
    torch.manual_seed(0)
    y = LeanDropout(0.1)(torch.ones(SIZE, dtype=dtype))
    assert y.dtype == dtype
    assert y.double().mean() == pytest.approx(1.0, abs=6e-3)


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.5, False)])
def test_the_ends_and_evaluation_are_those_of_pytorch(p, training):
    x = torch.rand(SIZE)
    assert torch.equal(LeanDropout(p).train(training)(x), F.dropout(x, p, training))


def test_transforms_of_torch_func_see_plain_operations():
    dropout, x = LeanDropout(0.5), torch.ones(4, 6)
    y = torch.func.vmap(dropout, randomness="different")(x)
    assert set(y.unique().tolist()) <= {0.0, 2.0}
