"""Attention to means of keys and values against a loop, and against PyTorch's attention."""

import math

import pytest
import torch
from torch import nn

from espnet_wsm.mixing import PooledAttention

DIM, HEADS = 8, 2


def make(pool: int, dropout: float = 0.0) -> PooledAttention:
    torch.manual_seed(0)
    return PooledAttention(*(nn.Linear(DIM, DIM) for _ in range(4)), HEADS, pool, dropout).double()


@pytest.fixture(params=[1, 2, 4, 50])
def block(request) -> PooledAttention:
    return make(request.param)


def attend_by_loop(block: PooledAttention, x: torch.Tensor) -> torch.Tensor:
    """One utterance (T, D): every frame and head by itself, means of projected keys and values."""
    starts = range(0, len(x), block.pool)
    keys, values = (
        [torch.stack([layer(frame) for frame in x[s : s + block.pool]]).mean(0) for s in starts]
        for layer in (block.key, block.value)
    )
    size, out = DIM // HEADS, []
    for frame in x:
        query, parts = block.query(frame), []
        for part in (slice(h * size, (h + 1) * size) for h in range(HEADS)):
            weights = torch.stack([query[part] @ key[part] / math.sqrt(size) for key in keys]).softmax(0)
            parts.append(sum(weight * value[part] for weight, value in zip(weights, values, strict=True)))
        out.append(block.out(torch.cat(parts)))
    return torch.stack(out)


def test_it_equals_the_loop(block):
    x = torch.randn(1, 11, DIM, dtype=torch.float64)
    torch.testing.assert_close(block(x)[0], attend_by_loop(block, x[0]), atol=1e-12, rtol=0)


def test_blocks_of_one_frame_are_pytorchs_attention():
    block, attention = make(1), nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
    with torch.no_grad():
        parts = (block.query, block.key, block.value)
        attention.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        attention.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    attention.out_proj = block.out
    x = torch.randn(2, 9, DIM, dtype=torch.float64)
    mask = torch.arange(9).unsqueeze(0) >= torch.tensor([[9], [5]])
    expected = attention(x, x, x, key_padding_mask=mask, need_weights=False)[0]
    torch.testing.assert_close(block(x, mask)[~mask], expected[~mask], atol=1e-12, rtol=0)
    assert (make(2)(x, mask) - expected)[~mask].abs().max() > 1e-3


def test_neighbours_and_padding_do_not_change_an_utterance(block):
    lengths = [9, 4, 1]
    x = torch.randn(3, 9, DIM, dtype=torch.float64)
    mask = torch.arange(9).unsqueeze(0) >= torch.tensor(lengths).unsqueeze(1)
    batch = block(torch.where(mask.unsqueeze(-1), 1e6, x), mask)
    for b, length in enumerate(lengths):
        expected = attend_by_loop(block, x[b, :length])
        torch.testing.assert_close(batch[b, :length], expected, atol=1e-10, rtol=0)
        assert not batch[b, length:].any()


def test_an_all_padded_row_gives_zeros_and_no_gradient(block):
    x = torch.randn(2, 5, DIM, dtype=torch.float64, requires_grad=True)
    out = block(x, torch.tensor([[False] * 5, [True] * 5]))
    out.sum().backward()
    assert out[0].all() and not out[1].any()
    assert x.grad[0].any() and not x.grad[1].any()
    assert all(p.grad.isfinite().all() for p in block.parameters())


def test_gradients_are_exact_and_reach_every_parameter():
    block = make(2)
    x = torch.randn(2, 5, DIM, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[False] * 5, [False, False, False, True, True]])
    assert torch.autograd.gradcheck(lambda x: block(x, mask), x)
    block(x, mask).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def test_dropout_acts_in_training_only():
    block = make(2, dropout=0.5)
    x = torch.randn(1, 10, DIM, dtype=torch.float64)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_autocast_stays_close_to_float32():
    block, x = make(3).float(), torch.randn(2, 30, DIM)
    mask = torch.arange(30).unsqueeze(0) >= torch.tensor([[30], [13]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x, mask)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), block(x, mask), atol=0.03, rtol=0.03)


def test_blocks_without_frames_are_refused():
    with pytest.raises(ValueError, match="pool has to be at least 1, got 0"):
        make(0)
