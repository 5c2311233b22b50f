"""Means over time against slow loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.mixing import block_mean, masked_mean


def lengths_to_mask(lengths: list[int], size: int) -> torch.Tensor:
    return torch.arange(size).unsqueeze(0) >= torch.tensor(lengths).unsqueeze(1)


def masked_mean_by_loop(x: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    out = torch.zeros(x.size(0), x.size(2), dtype=x.dtype)
    for b, length in enumerate(lengths):
        for t in range(length):
            out[b] += x[b, t] / length
    return out


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_means_equal_the_loop_reference(lengths, seed):
    size = max(1, *lengths) if len(lengths) > 1 else max(1, lengths[0])
    x = torch.randn(len(lengths), size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mask = lengths_to_mask(lengths, size)
    torch.testing.assert_close(masked_mean(x, mask), masked_mean_by_loop(x, lengths), atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    size=st.integers(1, 15),
    seed=st.integers(0, 1000),
)
def test_means_over_blocks_equal_the_loop_reference(lengths, size, seed):
    frames = max(1, *lengths, 1)
    x = torch.randn(len(lengths), frames, 3, generator=torch.Generator().manual_seed(seed)).double()
    means, padded = block_mean(x, size, lengths_to_mask(lengths, frames))
    begins = range(0, frames, size)
    assert means.shape == (len(lengths), len(begins), 3)
    for b, length in enumerate(lengths):
        for s, begin in enumerate(begins):
            inside = [x[b, t] for t in range(begin, min(begin + size, length))]
            assert padded[b, s] == (not inside)
            expected = sum(inside) / len(inside) if inside else torch.zeros(3).double()
            torch.testing.assert_close(means[b, s], expected, atol=1e-12, rtol=0)


def test_the_loop_reference_is_not_trivial():
    x = torch.tensor([[[0.0], [2.0], [4.0], [100.0]]])
    assert masked_mean_by_loop(x, [3])[0, 0].item() == 2.0


def test_without_a_mask_every_frame_counts():
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    torch.testing.assert_close(masked_mean(x), masked_mean_by_loop(x, [7, 7]))
    means, padded = block_mean(x, 3)
    assert torch.equal(means[:, 2], x[:, 6]) and not padded.any()


def test_one_frame_is_its_own_mean():
    x = torch.randn(2, 1, 4)
    assert torch.equal(masked_mean(x), x[:, 0])


def test_an_all_padded_row_gives_zeros_even_from_infinities():
    x = torch.full((2, 5, 3), torch.inf)
    x[0] = 1.0
    mask = lengths_to_mask([5, 0], 5)
    assert torch.equal(masked_mean(x, mask), torch.tensor([[1.0] * 3, [0.0] * 3]))


def test_gradients_are_exact_in_float64():
    x = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    mask = lengths_to_mask([6, 3], 6)
    assert torch.autograd.gradcheck(lambda x: masked_mean(x, mask), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    x = (60.0 + torch.randn(2, 3000, 4, generator=torch.Generator().manual_seed(0))).to(dtype)
    mask = lengths_to_mask([3000, 1234], 3000)
    out = masked_mean(x, mask)
    assert out.dtype == dtype
    assert torch.equal(out, masked_mean(x.float(), mask).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_lower_the_accumulation(dtype):
    x = 60.0 + torch.randn(1, 3000, 4)
    with torch.autocast("cpu", dtype=dtype):
        inside = masked_mean(x)
    assert torch.equal(inside, masked_mean(x))
