"""Head windows against their equation, and against the attention that they stand for."""

import math

import pytest
import torch
from torch.nn.functional import gelu

from espnet_wsm.mixing import HeadWindows

DIM = 8
WINDOWS = [(1, 3), (-4, -2), (-1, 1), (-50, 50)]


def make_block(**keys) -> HeadWindows:
    """Every weight away from its start, so that every part counts."""
    torch.manual_seed(0)
    block = HeadWindows(DIM, WINDOWS, **keys)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return block


KEYS = {
    "all": {},
    "plain means": {"key_weights": False},
    "without frames": {"per_frame_width": 0},
    "limited": {"max_look_ahead": 2},
    "of the past": {"max_look_ahead": 0, "key_weights": False},
    "without the utterance": {"global_summary": False, "per_frame_width": 3},
}


@pytest.fixture(params=list(KEYS))
def block(request) -> HeadWindows:
    return make_block(**KEYS[request.param]).double()


def mix_by_loop(block: HeadWindows, x: torch.Tensor) -> torch.Tensor:
    """One utterance (T, D), frame by frame and head by head."""
    length, size = x.size(0), DIM // len(WINDOWS)
    values = [block.value(frame) for frame in x]
    out = []
    for t in range(length):
        heads = []
        for h, (first, last) in enumerate(block.windows):
            near = [j for j in range(length) if t + first <= j <= t + last]
            weights = [1.0 if block.key is None else block.key(x[j])[h].exp() for j in near]
            summed = sum((w * values[j][h * size :][:size] for w, j in zip(weights, near, strict=True)))
            heads.append(summed / sum(weights) if near else torch.zeros(size).double())
        mixed = block.out(torch.cat(heads))
        if block.global_out is not None:
            seen = values if block.sees_everything else values[: t + 1]
            mixed = mixed + block.global_out(sum(seen) / len(seen))
        if block.frame is not None:
            mixed = mixed + block.combine(gelu(block.frame(x[t])))
        out.append(mixed)
    return torch.stack(out)


@pytest.mark.parametrize("length", [1, 2, 9])
def test_the_block_equals_its_equation(block, length):
    x = torch.randn(length, DIM, dtype=torch.float64)
    torch.testing.assert_close(block(x.unsqueeze(0))[0], mix_by_loop(block, x), atol=1e-12, rtol=0)


def test_no_window_goes_beyond_the_limit():
    assert make_block(max_look_ahead=2).windows == ((1, 2), (-4, -2), (-1, 1), (-50, 2))
    assert make_block(max_look_ahead=0).windows == ((0, 0), (-4, -2), (-1, 0), (-50, 0))
    assert make_block().windows == make_block(max_look_ahead=50).windows == tuple(WINDOWS)
    for keys, expected in (
        ({"max_look_ahead": 2}, 2),
        ({"max_look_ahead": 100}, 50),
        ({"global_summary": False}, 50),
        ({}, math.inf),
    ):
        assert make_block(**keys).look_ahead == expected


def test_neighbours_and_padding_do_not_change_an_utterance(block):
    lengths = [9, 4, 1, 0]
    x = torch.randn(4, 9, DIM, dtype=torch.float64)
    mask = torch.arange(9).unsqueeze(0) >= torch.tensor(lengths).unsqueeze(1)
    batch = block(x.masked_fill(mask.unsqueeze(-1), 1e6), mask)
    for b, length in enumerate(lengths):
        if length:
            expected = mix_by_loop(block, x[b, :length])
            torch.testing.assert_close(batch[b, :length], expected, atol=1e-10, rtol=0)
        assert not batch[b, length:].any()


def test_gradients_are_exact_and_reach_every_parameter(block):
    x = torch.randn(2, 5, DIM, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[False] * 5, [False, False, False, True, True]])
    assert torch.autograd.gradcheck(lambda x: block(x, mask), x)
    block(x, mask).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def test_at_its_start_it_is_attention_that_looks_evenly_at_its_windows():
    """The teacher of each head is uniform within its window; rows without a frame in it are left out."""
    torch.manual_seed(1)
    block = HeadWindows(DIM, WINDOWS)
    attention = torch.nn.MultiheadAttention(DIM, len(WINDOWS), batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight[: 2 * DIM] = 0.0  # of queries and keys: equal scores
        attention.in_proj_bias.copy_(torch.randn(3 * DIM))
        attention.in_proj_bias[: 2 * DIM] = 0.0
    block.value.load_state_dict(
        {"weight": attention.in_proj_weight[2 * DIM :], "bias": attention.in_proj_bias[2 * DIM :]}
    )
    block.out.load_state_dict(attention.out_proj.state_dict())
    length = 40
    x = torch.randn(1, length, DIM)
    offset = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    allowed = torch.stack([(offset >= first) & (offset <= last) for first, last in WINDOWS])  # (H, T, T)
    expected, _ = attention(x, x, x, attn_mask=~allowed)
    inside = slice(4, length - 3)
    torch.testing.assert_close(block(x)[:, inside], expected[:, inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_close_to_float32(dtype):
    block = make_block()
    x = torch.randn(2, 30, DIM)
    with torch.autocast("cpu", dtype=dtype):
        out = block(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), block(x), atol=0.1, rtol=0.03)
    assert block.to(dtype)(x.to(dtype)).isfinite().all()


def test_large_key_weights_overflow_nowhere():
    block = make_block()
    with torch.no_grad():
        block.key.weight.mul_(1000.0)
    x = torch.randn(2, 30, DIM, requires_grad=True)
    out = block(x)
    out.sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()


def test_the_compiled_block_gives_the_same_values_and_gradients():
    torch.manual_seed(0)
    block = HeadWindows(DIM, [(1, 3), (-4, 2)]).double()
    torch._dynamo.reset()
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 7, DIM, dtype=torch.float64)
    mask = torch.arange(7).unsqueeze(0) >= torch.tensor([[7], [4]])
    torch.testing.assert_close(compiled(x, mask), block(x, mask), atol=1e-12, rtol=0)
    found = torch.autograd.grad(compiled(x, mask).sum(), list(block.parameters()))
    expected = torch.autograd.grad(block(x, mask).sum(), list(block.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-8)


def test_it_has_as_many_weights_as_attention():
    block = HeadWindows(512, [(-5, 5)] * 8)
    count = sum(p.numel() for p in block.parameters())
    assert count == 512 * (3 * 512 + 8 + 512) + 512 + 512 + 256
    assert math.isclose(
        count, sum(p.numel() for p in torch.nn.MultiheadAttention(512, 8).parameters()), rel_tol=0.01
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(windows=[]), "got 8 and 0"),
        (dict(windows=[(0, 1)] * 3), "got 8 and 3"),
        (dict(windows=[(2, 1)] * 4), r"got \(2, 1\)"),
        (dict(windows=[(0, 1, 2)] * 4), r"got \(0, 1, 2\)"),
        (dict(windows=[(0.5, 1)] * 4), r"got \(0.5, 1\)"),
        (dict(windows=WINDOWS, per_frame_width=-1), "0 or more, got -1"),
        (dict(windows=WINDOWS, max_look_ahead=-1), "max_look_ahead is a number of frames, 0 or more, got -1"),
    ],
)
def test_sizes_that_cannot_work_are_refused_with_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        HeadWindows(DIM, **arguments)
