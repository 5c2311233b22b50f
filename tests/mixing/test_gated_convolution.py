"""The gated convolution against a loop."""

import pytest
import torch
from torch import nn

from espnet_wsm.mixing import GatedConvolution

DIM = 6


def make(rank: int = 3, kernel: int = 5) -> GatedConvolution:
    """One that adds something: it starts with nothing."""
    torch.manual_seed(0)
    block = GatedConvolution(DIM, rank, kernel, alpha=6.0)
    nn.init.normal_(block.lora_B.weight)
    return block.double()


def convolve_by_loop(block: GatedConvolution, x: torch.Tensor) -> torch.Tensor:
    """One utterance (T, D), frame by frame and tap by tap."""
    a, gate = (block.lora_A.weight @ x.T).T.chunk(2, dim=1)
    u = [a[t] * torch.sigmoid(gate[t]) for t in range(len(x))]
    kernel = block.lora_conv.weight[:, 0]  # (r, kernel)
    reach = (kernel.size(1) - 1) // 2
    out = []
    for t in range(len(x)):
        near = [j for j in range(-reach, reach + 1) if 0 <= t + j < len(x)]
        mixed = sum(kernel[:, j + reach] * u[t + j] for j in near)
        out.append(6.0 / len(kernel) * (block.lora_B.weight @ mixed))
    return torch.stack(out)


@pytest.mark.parametrize("kernel", [1, 5, 31])
def test_it_equals_the_loop_alone_and_in_a_padded_batch(kernel):
    block, lengths = make(kernel=kernel), [9, 4, 1]
    x = torch.randn(3, 9, DIM, dtype=torch.float64)
    mask = torch.arange(9).unsqueeze(0) >= torch.tensor(lengths).unsqueeze(1)
    batch = block(torch.where(mask.unsqueeze(-1), 1e6, x), mask)
    for b, length in enumerate(lengths):
        expected = convolve_by_loop(block, x[b, :length])
        torch.testing.assert_close(batch[b, :length], expected, atol=1e-12, rtol=0)
        torch.testing.assert_close(block(x[b : b + 1, :length])[0], expected, atol=1e-12, rtol=0)
        assert not batch[b, length:].any()


def test_it_starts_with_nothing_and_can_learn():
    block = GatedConvolution(DIM)
    x = torch.randn(2, 20, DIM)
    out = block(x)
    assert not out.any() and out.shape == x.shape
    (out * torch.randn(out.shape)).sum().backward()
    assert block.lora_B.weight.grad.any()


def test_gradients_are_exact_and_reach_every_parameter():
    block = make()
    x = torch.randn(2, 5, DIM, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[False] * 5, [False, False, False, True, True]])
    assert torch.autograd.gradcheck(lambda x: block(x, mask), x)
    block(x, mask).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def test_autocast_stays_close_to_float32():
    block, x = make(rank=8, kernel=15).float(), torch.randn(2, 50, DIM)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x)
    assert out.dtype == torch.bfloat16
    exact = block(x)
    assert (out - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("kernel", [0, 4, -1])
def test_a_kernel_without_a_middle_is_refused(kernel):
    with pytest.raises(ValueError, match=f"kernel has to be an odd number of frames, got {kernel}"):
        GatedConvolution(DIM, kernel=kernel)
