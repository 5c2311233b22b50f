"""Every block on the CPU and on a GPU: values, gradients, half precision, loss scaling.

What is compared with is float64 on the CPU, so that the tests say something on the CPU too.
"""

import copy

import pytest
import torch
from torch import nn

from espnet_wsm.mixing import (
    GatedConvolution,
    HeadWindows,
    PooledAttention,
    SummaryMixing,
    WindowedSummaryMixing,
    weighted_windowed_mean,
    windowed_mean,
)
from espnet_wsm.mixing.block import MixingBlock

DIM, FRAMES = 16, 70
HEADS = [(1, 9), (-40, 20)]


def pool_attention() -> PooledAttention:
    return PooledAttention(*(nn.Linear(DIM, DIM) for _ in range(4)), heads=2, pool=3)


BLOCKS = {
    "wsm": lambda: WindowedSummaryMixing(DIM, width=12, window=[1, 30], dropout=0.3),
    "causal": lambda: WindowedSummaryMixing(DIM, width=12, window=[1, 30], causal=True, dropout=0.3),
    "deep": lambda: WindowedSummaryMixing(
        DIM, width=12, hidden=[10], shared_projection=False, combine_activation="gelu", dropout=0.3
    ),
    "local": lambda: WindowedSummaryMixing(DIM, width=12, global_summary=False, heads=2, dropout=0.3),
    "sm": lambda: SummaryMixing(DIM, width=12, dropout=0.3),
    "heads": lambda: HeadWindows(DIM, HEADS, dropout=0.3),
    "plain heads": lambda: HeadWindows(DIM, HEADS, key_weights=False, dropout=0.3),
    "pooled attention": pool_attention,
    "gated convolution": lambda: GatedConvolution(DIM, rank=4),
}


@pytest.fixture(params=list(BLOCKS))
def block(request) -> nn.Module:
    """With weights that all show; on the CPU, in float32."""
    torch.manual_seed(0)
    block = BLOCKS[request.param]()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    return block


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three utterances and their padding mask, on the CPU, in float32."""
    x = torch.randn(3, FRAMES, DIM, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(FRAMES).unsqueeze(0) >= torch.tensor([[FRAMES], [41], [1]])


def differentiate(block: nn.Module, run, x: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """Output and gradients of input and parameters, with the same dropout in every call."""
    torch.manual_seed(3)
    x = x.detach().requires_grad_(True)
    out = run(x, mask)
    loss = (out.float() if out.dtype.itemsize < 4 else out).square().mean()
    return [out.detach(), *torch.autograd.grad(loss, [x, *block.parameters()])]


def largest_difference(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Of each tensor the greatest difference over its own greatest value; of these the greatest.

    A tensor that is all but zero, as the gradient of the keys' bias, is compared with the largest instead.
    """
    assert all(value.isfinite().all() for value in found)
    found, expected = ([value.double().cpu() for value in values] for values in (found, expected))
    least = 1e-3 * max(float(value.abs().max()) for value in expected)
    return max(
        float((one - other).abs().max()) / max(least, float(other.abs().max()))
        for one, other in zip(found, expected, strict=True)
    )


def test_values_and_gradients_in_float32_are_those_of_float64(block, batch, device, record_property):
    x, mask = batch
    block.eval()
    exact = copy.deepcopy(block).double()
    expected = differentiate(exact, exact, x.double(), mask)
    block.to(device)
    found = differentiate(block, block, x.to(device), mask.to(device))
    assert {value.device.type for value in found} == {device.type}
    difference = largest_difference(found, expected)
    record_property("relative difference", difference)
    assert difference < 2e-5


def test_without_padding_the_mask_changes_nothing(block, batch, device):
    x = batch[0].to(device)
    block.eval().to(device)
    with torch.no_grad():
        masked = block(x, torch.zeros(x.shape[:2], dtype=torch.bool, device=device))
        torch.testing.assert_close(block(x, None), masked, atol=1e-5, rtol=1e-5)


def test_an_utterance_alone_equals_the_same_in_a_padded_batch(block, batch, device, record_property):
    x, mask = (tensor.to(device) for tensor in batch)
    block.eval().to(device)
    lengths = (~mask).sum(dim=1).tolist()
    with torch.no_grad():
        together = block(x.masked_fill(mask.unsqueeze(-1), 1e4), mask)
        alone = [block(x[b : b + 1, :length], None)[0] for b, length in enumerate(lengths)]
    if isinstance(block, MixingBlock):
        assert not together[mask].any()
    difference = largest_difference([together[b, :n] for b, n in enumerate(lengths)], alone)
    record_property("relative difference", difference)
    assert difference < 2e-5


def test_the_lean_backward_pass_repeats_the_dropout_of_this_device(block, batch, device):
    if not isinstance(block, MixingBlock):
        pytest.skip("has no backward pass of its own")
    x, mask = (tensor.to(device) for tensor in batch)
    block.train().to(device)
    found, expected = (differentiate(block, run, x, mask) for run in (block, block.mix))
    assert largest_difference(found, expected) < 2e-5
    changed = differentiate(block.eval(), block, x, mask)
    assert largest_difference(found, changed) > 0.01, "there was no dropout"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_values_and_gradients_stay_close_to_float32(
    block, batch, device, dtype, record_property
):
    x, mask = (tensor.to(device) for tensor in batch)
    block.eval().to(device)

    def run(*arguments: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype):
            return block(*arguments)

    difference = largest_difference(differentiate(block, run, x, mask), differentiate(block, block, x, mask))
    record_property("relative difference", difference)
    assert 0 < difference < (0.1 if dtype == torch.bfloat16 else 0.02)


def test_a_scaled_step_in_float16_is_taken_and_one_that_overflows_is_not(block, batch, device):
    x, mask = (tensor.to(device) for tensor in batch)
    block.train().to(device)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(device.type, init_scale=1024.0)

    def step(factor: float) -> bool:
        """Whether anything has changed."""
        before = [parameter.detach().clone() for parameter in block.parameters()]
        with torch.autocast(device.type, torch.float16):
            loss = block(x, mask).float().square().mean() * factor
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return any(not torch.equal(*pair) for pair in zip(before, block.parameters(), strict=True))

    assert step(1.0) and scaler.get_scale() == 1024.0
    assert not step(float("inf")) and scaler.get_scale() == 512.0
    assert step(1.0)
    assert all(parameter.isfinite().all() for parameter in block.parameters())


@pytest.mark.parametrize("window", [0, 10, (3, 40), (-50, -2)], ids=str)
def test_windowed_means_are_those_of_float64(device, window):
    """Their sums have a backward pass of their own, as have those with weights."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 300, 4, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, 300, generator=generator, dtype=torch.float64)
    mask = torch.arange(300).unsqueeze(0) >= torch.tensor([[300], [170]])
    bounds = (-window, window) if isinstance(window, int) else window

    def run(dtype: torch.dtype, place: torch.device | str) -> list[torch.Tensor]:
        values, logs = (t.to(place, dtype).detach().requires_grad_(True) for t in (x, weights))
        own = mask.to(place)
        plain = windowed_mean(values, window, own)
        weighted = weighted_windowed_mean(values, logs, bounds, own)
        loss = (plain.square() + weighted.square()).sum()
        return [plain.detach(), weighted.detach(), *torch.autograd.grad(loss, [values, logs])]

    assert largest_difference(run(torch.float32, device), run(torch.float64, "cpu")) < 2e-5


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_is_compiled_stays_close_to_float32(dtype):
    block = WindowedSummaryMixing(DIM, window=3).cuda()
    x = torch.randn(2, 300, DIM, device="cuda")
    expected = block(x)
    with torch.autocast("cuda", dtype=dtype):
        out = torch.compile(block)(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), expected, atol=0.03, rtol=0.03)
