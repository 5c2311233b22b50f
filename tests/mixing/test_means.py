"""Means over time against slow loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.mixing import block_mean, masked_mean, running_mean
from espnet_wsm.mixing.means import CHUNK


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


def running_mean_by_loop(x: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    out = torch.zeros_like(x)
    for b, length in enumerate(lengths):
        for t in range(length):
            out[b, t] = sum(x[b, j] for j in range(t + 1)) / (t + 1)
    return out


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_running_means_equal_the_loop_reference(lengths, seed):
    size = max(1, *lengths, 1)
    x = torch.randn(len(lengths), size, 3, generator=torch.Generator().manual_seed(seed)).double()
    expected = running_mean_by_loop(x, lengths)
    found = running_mean(x, lengths_to_mask(lengths, size))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    if min(lengths) == size:
        torch.testing.assert_close(running_mean(x), expected, atol=1e-12, rtol=0)


def test_the_loop_reference_of_running_means_is_not_trivial():
    x = torch.tensor([[[2.0], [4.0], [0.0], [100.0]]])
    assert running_mean_by_loop(x, [3])[0, :, 0].tolist() == [2.0, 3.0, 2.0, 0.0]


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_running_means_go_on_from_chunk_to_chunk_and_end_in_the_mean(length):
    x = torch.randn(2, length, 3, dtype=torch.float64)
    found = running_mean(x)
    expected = x.cumsum(1) / torch.arange(1, length + 1).unsqueeze(-1)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(found[:, -1], masked_mean(x), atol=1e-12, rtol=0)
    first = length // 3
    total = x[:, :first].sum(1, keepdim=True)
    torch.testing.assert_close(
        running_mean(x[:, first:], None, total, first), found[:, first:], atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_running_means_of_long_utterances_keep_their_digits(dtype):
    """A running sum in float32 of 200,000 frames far from zero loses some; ours must not."""
    x = (100.0 + torch.randn(1, 200_000, 1, generator=torch.Generator().manual_seed(0))).to(dtype)
    exact = running_mean(x.double())
    if dtype == torch.float32:
        torch.testing.assert_close(running_mean(x).double(), exact, rtol=2e-7, atol=0)
        one_by_one = np.add.accumulate(x[0, :, 0].numpy(), dtype=np.float32)[-1] / 200_000
        assert abs(one_by_one - exact[0, -1, 0].item()) > 1e-4, "the reference case is too easy"
    else:
        assert running_mean(x).dtype == dtype
        assert torch.equal(running_mean(x), running_mean(x.float()).to(dtype))
        torch.testing.assert_close(running_mean(x.float()).double(), exact, rtol=2e-7, atol=0)


def test_running_means_ignore_padding_and_an_infinite_frame_spoils_what_follows_alone():
    x = torch.full((2, 300, 3), torch.inf)
    x[0] = 1.0
    mask = lengths_to_mask([300, 0], 300)
    assert torch.equal(running_mean(x, mask), torch.cat([torch.ones(1, 300, 3), torch.zeros(1, 300, 3)]))
    x[0, 200] = torch.inf
    spoilt = ~running_mean(x, mask)[0].isfinite().all(dim=-1)
    assert spoilt.tolist() == [False] * 200 + [True] * 100


def test_gradients_of_running_means_are_exact_in_float64():
    x = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    mask = lengths_to_mask([6, 3], 6)
    assert torch.autograd.gradcheck(lambda x: running_mean(x, mask), x)
    assert torch.autograd.gradgradcheck(lambda x: running_mean(x, mask), x)


def test_autocast_does_not_lower_the_accumulation_of_running_means():
    x = 60.0 + torch.randn(1, 3000, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = running_mean(x)
    assert torch.equal(inside, running_mean(x))
