"""The mixing blocks against their equations."""

import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import gelu, linear

from espnet_wsm.mixing import SummaryMixing, WindowedSummaryMixing, masked_mean, windowed_mean
from espnet_wsm.mixing.summary import HeadwiseLinear

DIM = 8


def blocks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {
        "sm": SummaryMixing(DIM, width=6),
        "wsm": WindowedSummaryMixing(DIM, width=6, window=2),
        "local": WindowedSummaryMixing(DIM, width=6, window=2, global_summary=False),
        "multi_scale": WindowedSummaryMixing(DIM, width=6, window=[1, 4]),
        "heads": WindowedSummaryMixing(DIM, width=6, window=2, heads=2),
        "two_projections": WindowedSummaryMixing(DIM, width=6, window=2, shared_projection=False),
        "causal": WindowedSummaryMixing(DIM, width=6, window=2, causal=True),
        "causal_local": WindowedSummaryMixing(
            DIM, width=6, window=[0, 1, 40], global_summary=False, causal=True
        ),
        "causal_sm": SummaryMixing(DIM, width=6, causal=True),
        "authors": SummaryMixing(DIM, width=6, hidden=[10], combine_activation="gelu"),
        "deep": WindowedSummaryMixing(
            DIM,
            width=6,
            window=2,
            heads=2,
            hidden=[4, 10],
            shared_projection=False,
            combine_activation="gelu",
        ),
        "causal_deep": WindowedSummaryMixing(
            DIM, width=6, window=1, hidden=[4], shared_projection=False, causal=True
        ),
    }


@pytest.fixture(params=list(blocks()))
def block(request) -> torch.nn.Module:
    return blocks()[request.param].double()


def mix_by_loop(block, x: torch.Tensor) -> torch.Tensor:
    """The equations for one utterance (T, D), frame by frame, with c applied to the concatenation."""

    def project(projection, frame):
        for layer in projection.modules():
            if isinstance(layer, HeadwiseLinear):
                size = frame.numel() // layer.heads
                parts = [part(frame[i * size : (i + 1) * size]) for i, part in enumerate(layer.blocks)]
                frame = gelu(torch.cat(parts))
        return frame

    length = x.size(0)
    f = [project(block.frame, x[t]) for t in range(length)]
    s = [project(block.summary, x[t]) for t in range(length)]
    local = s if block.local_summary is None else [project(block.local_summary, x[t]) for t in range(length)]
    out = []
    for t in range(length):
        parts = [f[t]]
        for window in block.windows:
            begin, end = (t - 2 * window, t) if block.causal else (t - window, t + window)
            near = [local[j] for j in range(length) if begin <= j <= end]
            parts.append(sum(near) / len(near))
        if block.global_summary:
            seen = s[: t + 1] if block.causal else s
            parts.append(sum(seen) / len(seen))
        combined = block.combine(torch.cat(parts))
        out.append(gelu(combined) if block.combine_activation == "gelu" else combined)
    return torch.stack(out)


def test_every_block_equals_its_equation(block):
    x = torch.randn(9, DIM, dtype=torch.float64)
    torch.testing.assert_close(block(x.unsqueeze(0))[0], mix_by_loop(block, x), atol=1e-12, rtol=0)


def test_one_frame_alone_is_mixed_too(block):
    x = torch.randn(1, DIM, dtype=torch.float64)
    torch.testing.assert_close(block(x.unsqueeze(0))[0], mix_by_loop(block, x), atol=1e-12, rtol=0)


def test_a_causal_block_sees_no_frame_after_another(block):
    x = torch.randn(1, 12, DIM, dtype=torch.float64)
    changed = x.clone()
    changed[:, 7:] = torch.randn(1, 5, DIM, dtype=torch.float64)
    same = (block(x) == block(changed)).all(dim=-1)[0].tolist()
    first_changed = 7 if block.causal else 0 if block.global_summary else 7 - max(block.windows)
    assert same == [True] * first_changed + [False] * (12 - first_changed)
    assert block.look_ahead == (0 if block.causal else math.inf if block.global_summary else 2)


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6), window=st.integers(0, 15))
def test_a_causal_block_mixes_a_stream_as_it_mixes_the_whole(sizes, window):
    torch.manual_seed(0)
    block = WindowedSummaryMixing(DIM, width=4, window=window, shared_projection=False, causal=True).double()
    x = torch.randn(2, sum(sizes), DIM, dtype=torch.float64)
    memory = block.start_stream()
    mixed = torch.cat([block.stream(piece, memory) for piece in x.split(sizes, dim=1)], dim=1)
    torch.testing.assert_close(mixed, block(x), atol=1e-12, rtol=0)


def test_a_stream_of_a_block_that_needs_the_whole_utterance_does_not_begin():
    with pytest.raises(ValueError, match="averages over the whole utterance"):
        WindowedSummaryMixing(DIM).start_stream()


def test_long_streams_keep_float32_accuracy():
    """The sum of the frames before is not lost beside that of a piece."""
    torch.manual_seed(0)
    block = WindowedSummaryMixing(DIM, width=4, window=3, causal=True).eval()
    x = torch.randn(1, 60_000, DIM)
    memory = block.start_stream()
    with torch.inference_mode():
        mixed = torch.cat([block.stream(piece, memory) for piece in x.split(97, dim=1)], dim=1)
        torch.testing.assert_close(mixed, block(x), atol=1e-5, rtol=0)
        torch.testing.assert_close(mixed.double(), block.double()(x.double()), atol=1e-5, rtol=0)


def test_without_hidden_layers_a_block_has_its_names_its_start_and_its_values():
    """Bit for bit: models that are trained have these names, and seeds these weights."""
    torch.manual_seed(5)
    block = WindowedSummaryMixing(DIM, width=6, window=2)
    torch.manual_seed(5)
    f, s, c = torch.nn.Linear(DIM, 6), torch.nn.Linear(DIM, 6), torch.nn.Linear(18, DIM)
    parts = {"frame.blocks.0": f, "summary.blocks.0": s, "combine": c}
    expected = {f"{name}.{own}": p for name, part in parts.items() for own, p in part.named_parameters()}
    state = block.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    x = torch.randn(2, 9, DIM)
    summary, (of_frame, of_window, of_all) = gelu(s(x)), c.weight.split(6, dim=1)
    mixed = linear(gelu(f(x)), of_frame, c.bias) + linear(windowed_mean(summary, 2), of_window)
    assert torch.equal(block(x), mixed + linear(masked_mean(summary).unsqueeze(1), of_all))


def test_neighbours_and_padding_do_not_change_an_utterance(block):
    lengths = [9, 4, 1]
    x = torch.randn(3, 9, DIM, dtype=torch.float64)
    mask = torch.arange(9).unsqueeze(0) >= torch.tensor(lengths).unsqueeze(1)
    batch = block(x, mask)
    for b, length in enumerate(lengths):
        torch.testing.assert_close(batch[b, :length], mix_by_loop(block, x[b, :length]), atol=1e-10, rtol=0)
        assert not batch[b, length:].any()


@settings(deadline=None, max_examples=25)
@given(length=st.integers(1, 40), pad=st.integers(0, 30), window=st.integers(0, 50))
def test_alone_equals_padded_for_any_length(length, pad, window):
    torch.manual_seed(length)
    block = WindowedSummaryMixing(DIM, width=4, window=window).double()
    x = torch.randn(1, length, DIM, dtype=torch.float64)
    padded = torch.cat([x, torch.full((1, pad, DIM), 1e6, dtype=torch.float64)], dim=1)
    mask = torch.arange(length + pad).unsqueeze(0) >= length
    torch.testing.assert_close(block(padded, mask)[:, :length], block(x), atol=1e-10, rtol=0)


def test_an_all_padded_row_gives_zeros(block):
    x = torch.randn(2, 5, DIM, dtype=torch.float64)
    mask = torch.tensor([[False] * 5, [True] * 5])
    out = block(x, mask)
    assert out[0].all() and not out[1].any()


def test_gradients_are_exact_and_reach_every_parameter(block):
    x = torch.randn(2, 5, DIM, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[False] * 5, [False, False, False, True, True]])
    assert torch.autograd.gradcheck(lambda x: block(x, mask), x)
    block(x, mask).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def test_a_window_over_the_utterance_makes_local_equal_global():
    block = WindowedSummaryMixing(DIM, width=6, window=100).double()
    x = torch.randn(1, 12, DIM, dtype=torch.float64)
    _frame, local, whole = block.combine.weight.data.split(6, dim=1)
    before = block(x)
    local.copy_(local + whole)
    whole.zero_()
    torch.testing.assert_close(block(x), before, atol=1e-12, rtol=0)


def test_window_changes_the_local_summary_only():
    torch.manual_seed(0)
    near = WindowedSummaryMixing(DIM, window=1)
    far = WindowedSummaryMixing(DIM, window=5)
    far.load_state_dict(near.state_dict())
    x = torch.randn(1, 20, DIM)
    assert not torch.allclose(near(x), far(x))


def test_heads_divide_the_parameters_of_the_projections():
    one, four = (WindowedSummaryMixing(16, width=32, heads=h) for h in (1, 4))
    count = {
        h: sum(p.numel() for p in m.frame.parameters() if p.dim() == 2) for h, m in ((1, one), (4, four))
    }
    assert count[1] == 4 * count[4] == 16 * 32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_stays_close_to_float32(dtype):
    block = WindowedSummaryMixing(DIM, window=3)
    x = torch.randn(2, 30, DIM)
    with torch.autocast("cpu", dtype=dtype):
        out = block(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), block(x), atol=0.03, rtol=0.03)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_parameters_run(dtype):
    out = WindowedSummaryMixing(DIM, window=3).to(dtype)(torch.randn(1, 10, DIM, dtype=dtype))
    assert out.dtype == dtype and out.isfinite().all()


def test_dropout_acts_in_training_only():
    block = WindowedSummaryMixing(DIM, window=2, dropout=0.5)
    x = torch.randn(1, 10, DIM)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


@pytest.mark.parametrize("causal", [False, True])
def test_the_compiled_block_gives_the_same_values_and_gradients(causal):
    """One graph for all lengths, forward and backward, without the code generator."""
    block = WindowedSummaryMixing(DIM, width=6, window=2, causal=causal)
    torch._dynamo.reset()
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    for length in (7, 11):
        x = torch.randn(2, length, DIM)
        mask = torch.arange(length).unsqueeze(0) >= torch.tensor([[length], [4]])
        torch.testing.assert_close(compiled(x, mask), block(x, mask), atol=1e-6, rtol=1e-5)
        block.zero_grad()
        compiled(x, mask).sum().backward()
        from_compiled = [p.grad.clone() for p in block.parameters()]
        block.zero_grad()
        block(x, mask).sum().backward()
        for one, other in zip(from_compiled, block.parameters(), strict=True):
            torch.testing.assert_close(one, other.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.slow
def test_the_code_generator_makes_the_same_of_the_sums():
    """Which is the part of torch.compile that the backends of the other tests leave out."""
    block = WindowedSummaryMixing(DIM, width=6, window=2).eval()
    x = torch.randn(2, 11, DIM)
    mask = torch.arange(11).unsqueeze(0) >= torch.tensor([[11], [4]])
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(block, fullgraph=True)(x, mask)
        torch.testing.assert_close(compiled, block(x, mask), atol=1e-6, rtol=1e-5)


def test_saved_memory_is_linear_in_time_and_independent_of_the_window():
    """Counts what autograd keeps, which is exact, instead of timing."""

    def saved_bytes(length: int, window: int) -> int:
        block = WindowedSummaryMixing(DIM, width=4, window=window)
        kept: dict[int, int] = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = block(torch.randn(1, length, DIM))
        del out
        return sum(kept.values())

    base = saved_bytes(1000, 5)
    assert saved_bytes(1000, 5) == saved_bytes(1000, 50) == saved_bytes(1000, 400)
    assert saved_bytes(4000, 5) < 4.1 * base


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(dim=8, width=6, heads=4), "multiple of heads, got width=6 and heads=4"),
        (dict(dim=6, width=8, heads=4), "multiple of heads, got dim=6 and heads=4"),
        (dict(dim=8, window=-2), "0 or more, got -2"),
        (dict(dim=8, window=2.5), "0 or more, got 2.5"),
        (dict(dim=8, window=[1, True]), "0 or more, got True"),
        (dict(dim=8, window=[]), "at least one value"),
        (dict(dim=8, width=0), "width has to be at least 1, got 0"),
        (dict(dim=8, hidden=[8, 0]), "hidden has to be multiples of heads, got hidden=0 and heads=1"),
        (dict(dim=8, heads=4, hidden=[6]), "hidden has to be multiples of heads, got hidden=6 and heads=4"),
        (dict(dim=8, combine_activation="relu"), "one of none, gelu, got 'relu'"),
    ],
)
def test_sizes_that_cannot_work_are_refused_with_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        WindowedSummaryMixing(**arguments)
