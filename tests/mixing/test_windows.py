"""Means over windows against slow loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.mixing import masked_mean, weighted_windowed_mean, windowed_mean


def lengths_to_mask(lengths: list[int], size: int) -> torch.Tensor:
    return torch.arange(size).unsqueeze(0) >= torch.tensor(lengths).unsqueeze(1)


def mean_by_loop(
    x: torch.Tensor, first: int, last: int, lengths: list[int], log_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Frame by frame, with weights in float64 relative to the largest of each window."""
    out = torch.zeros_like(x)
    for b, length in enumerate(lengths):
        for t in range(length):
            near = [j for j in range(length) if t + first <= j <= t + last]
            scores = [0.0 if log_weights is None else log_weights[b, j].item() for j in near]
            weights = [math.exp(score - max(scores)) for score in scores]
            for j, weight in zip(near, weights, strict=True):
                out[b, t] += x[b, j] * (weight / sum(weights))
    return out


windows = st.tuples(st.integers(-20, 20), st.integers(0, 25)).map(lambda w: (w[0], w[0] + w[1]))
batches = st.lists(st.integers(0, 12), min_size=1, max_size=4)


def draw(lengths: list[int], seed: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(lengths), max(1, *lengths, 1), channels, generator=generator).double()


@settings(deadline=None, max_examples=100)
@given(lengths=batches, window=windows | st.integers(0, 15), seed=st.integers(0, 1000))
def test_means_equal_the_loop_reference(lengths, window, seed):
    x = draw(lengths, seed)
    mask = lengths_to_mask(lengths, x.size(1))
    first, last = (-window, window) if isinstance(window, int) else window
    expected = mean_by_loop(x, first, last, lengths)
    torch.testing.assert_close(windowed_mean(x, window, mask), expected, atol=1e-12, rtol=0)
    if min(lengths) == max(lengths) == x.size(1):
        torch.testing.assert_close(windowed_mean(x, window), expected, atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=100)
@given(lengths=batches, window=windows, seed=st.integers(0, 1000), spread=st.sampled_from([0.0, 1.0, 1000.0]))
def test_weighted_means_equal_the_loop_reference(lengths, window, seed, spread):
    """Weights may differ by more than any float can hold: a window far below the largest has its own mean."""
    x = draw(lengths, seed)
    weights = spread * draw(lengths, seed + 1, channels=1).squeeze(-1)
    mask = lengths_to_mask(lengths, x.size(1))
    expected = mean_by_loop(x, *window, lengths, weights)
    torch.testing.assert_close(weighted_windowed_mean(x, weights, window, mask), expected, atol=1e-11, rtol=0)


def test_the_loop_reference_is_not_trivial():
    x = torch.tensor([[[0.0], [2.0], [4.0], [100.0]]])
    assert mean_by_loop(x, -1, 1, [3])[0, :, 0].tolist() == [1.0, 2.0, 3.0, 0.0]
    assert mean_by_loop(x, 1, 2, [3])[0, :, 0].tolist() == [3.0, 4.0, 0.0, 0.0]
    weights = torch.tensor([[0.0, math.log(3.0), -torch.inf, 0.0]])
    assert mean_by_loop(x, -1, 1, [3], weights)[0, :, 0].tolist() == pytest.approx([1.5, 1.5, 2.0, 0.0])


def test_equal_weights_give_the_plain_mean():
    x = torch.randn(2, 30, 4, dtype=torch.float64)
    weights = torch.full((2, 30), 7.0, dtype=torch.float64)
    for window in ((-3, 9), (4, 6), (-100, 100)):
        torch.testing.assert_close(weighted_windowed_mean(x, weights, window), windowed_mean(x, window))


@pytest.mark.parametrize("window", [0, 2, 4, 5, 6, 1000])
def test_a_window_over_everything_is_the_global_mean(window):
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    mask = lengths_to_mask([6, 4], 6)
    local, whole = windowed_mean(x, window, mask), masked_mean(x, mask)
    covers = window >= 5
    assert torch.allclose(local[0], whole[0].expand_as(local[0])) == covers
    assert torch.allclose(local[1, :4], whole[1].expand_as(local[1, :4])) == (window >= 3)
    assert not local[1, 4:].any()


def test_one_frame_is_its_own_mean_and_a_window_without_a_frame_gives_zeros():
    x = torch.randn(2, 1, 4)
    for window in (0, 1, 50, (-3, 0)):
        assert torch.equal(windowed_mean(x, window), x)
        assert torch.equal(weighted_windowed_mean(x, torch.randn(2, 1), window), x)
    for window in ((1, 3), (-9, -2), (10**6, 10**7)):
        assert not windowed_mean(x, window).any()
        assert not weighted_windowed_mean(x, torch.randn(2, 1), window).any()


def test_no_frame_gives_no_mean():
    x = torch.randn(2, 0, 4)
    for window in (0, 1, 50, (-2, 3), (2, 3)):
        for mask in (None, torch.zeros(2, 0, dtype=torch.bool)):
            assert windowed_mean(x, window, mask).shape == x.shape
            assert weighted_windowed_mean(x, x[..., 0], window, mask).shape == x.shape


def test_an_all_padded_row_gives_zeros_even_from_infinities():
    x = torch.full((2, 5, 3), torch.inf)
    x[0] = 1.0
    mask = lengths_to_mask([5, 0], 5)
    for window in (1, 9, (0, 2)):
        for out in (windowed_mean(x, window, mask), weighted_windowed_mean(x, x[..., 0], window, mask)):
            assert torch.equal(out[0], torch.ones(5, 3)) and not out[1].any()


def test_an_infinite_frame_spoils_its_own_windows_alone():
    x = torch.ones(1, 40, 2)
    x[0, 20] = torch.inf
    for out in (windowed_mean(x, (-2, 5)), weighted_windowed_mean(x, torch.zeros(1, 40), (-2, 5))):
        spoilt = ~out.isfinite().all(dim=-1)[0]
        assert spoilt.nonzero().squeeze(1).tolist() == list(range(15, 23))
        assert torch.equal(out[0, ~spoilt], torch.ones(32, 2))


@pytest.mark.parametrize(
    ("window", "message"), [(-1, "cannot be negative, got -1"), ((3, 2), r"or later, got \[3, 2\]")]
)
def test_a_window_that_cannot_be_is_refused_with_its_value(window, message):
    with pytest.raises(ValueError, match=message):
        windowed_mean(torch.zeros(1, 2, 3), window)
    with pytest.raises(ValueError, match=message):
        weighted_windowed_mean(torch.zeros(1, 2, 3), torch.zeros(1, 2), window)


@pytest.mark.parametrize("window", [1, 3, 20, (1, 2), (-4, -3), (-9, 9)])
def test_gradients_are_exact_in_float64(window):
    x = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    k = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    mask = lengths_to_mask([6, 3], 6)
    assert torch.autograd.gradcheck(lambda x: windowed_mean(x, window, mask), x)
    assert torch.autograd.gradgradcheck(lambda x: windowed_mean(x, window, mask), x)
    assert torch.autograd.gradcheck(lambda x, k: weighted_windowed_mean(x, k, window, mask), (x, k))


@pytest.mark.parametrize("spread", [1.0, 200.0])
def test_gradients_of_weights_of_any_size_are_finite_and_right(spread):
    x = torch.randn(1, 30, 2, dtype=torch.float64, requires_grad=True)
    k = (spread * torch.randn(1, 30, dtype=torch.float64)).requires_grad_(True)
    found = torch.autograd.grad(weighted_windowed_mean(x, k, (-2, 3)).pow(2).sum(), (x, k))
    scores = torch.full((30, 30), -torch.inf, dtype=torch.float64)
    for t in range(30):
        scores[t, max(0, t - 2) : t + 4] = 0.0
    attended = torch.softmax(scores + k[0], dim=-1) @ x[0]
    expected = torch.autograd.grad(attended.pow(2).sum(), (x, k))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-8)


def test_second_derivatives_of_weighted_means_are_refused():
    x = torch.randn(1, 6, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        weighted_windowed_mean(x, x[..., 0], 2).pow(2).sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_no_gradient_reaches_padding():
    x = torch.randn(1, 8, 2, requires_grad=True)
    for mean in (
        lambda x, mask: windowed_mean(x, 2, mask),
        lambda x, mask: weighted_windowed_mean(x, x[..., 0], 2, mask),
    ):
        x.grad = None
        mean(x, lengths_to_mask([5], 8)).sum().backward()
        assert x.grad[0, :5].all() and not x.grad[0, 5:].any()


def test_long_utterances_keep_float32_accuracy():
    """A float32 running sum of 200,000 frames far from zero loses its digits; ours must not."""
    x = 100.0 + torch.randn(1, 200_000, 1, generator=torch.Generator().manual_seed(0))
    window = 5
    tail = x[0, -2 * window - 1 :, 0].double().mean().item()
    naive = x.cumsum(1)
    naive = ((naive[0, -1] - naive[0, -2 * window - 2]) / (2 * window + 1)).item()
    assert abs(naive - tail) > 1e-3, "the reference case is too easy"
    assert abs(windowed_mean(x, window)[0, -window - 1].item() - tail) < 1e-5
    for window in (5, 300, 70_000):
        exact = windowed_mean(x.double(), window)
        torch.testing.assert_close(windowed_mean(x, window).double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    x = (60.0 + torch.randn(2, 3000, 4, generator=torch.Generator().manual_seed(0))).to(dtype)
    mask = lengths_to_mask([3000, 1234], 3000)
    k = x[..., 0]
    for mean in (
        lambda x: windowed_mean(x, 300, mask),
        lambda x: windowed_mean(x, (10, 300), mask),
        lambda x: weighted_windowed_mean(x, k.to(x.dtype), (10, 300), mask),
    ):
        out = mean(x)
        assert out.dtype == dtype
        assert torch.equal(out, mean(x.float()).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_lower_the_accumulation(dtype):
    x = 60.0 + torch.randn(1, 3000, 4)
    with torch.autocast("cpu", dtype=dtype):
        inside = windowed_mean(x, 20), weighted_windowed_mean(x, x[..., 0], 20)
    assert torch.equal(inside[0], windowed_mean(x, 20))
    assert torch.equal(inside[1], weighted_windowed_mean(x, x[..., 0], 20))
