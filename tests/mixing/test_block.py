"""The lean backward pass against autograd's own, through the plain form."""

import pytest
import torch

from espnet_wsm.mixing import HeadWindows, SummaryMixing, WindowedSummaryMixing
from espnet_wsm.mixing.block import MixingBlock

DIM = 8
HEADS = [(1, 3), (-4, 2)]
BLOCKS = {
    "sm": lambda: SummaryMixing(DIM, width=6, dropout=0.3),
    "wsm": lambda: WindowedSummaryMixing(DIM, width=6, window=[1, 4], dropout=0.3),
    "local": lambda: WindowedSummaryMixing(DIM, width=6, global_summary=False, heads=2, dropout=0.3),
    "causal": lambda: WindowedSummaryMixing(DIM, width=6, window=[1, 4], causal=True, dropout=0.3),
    "deep": lambda: WindowedSummaryMixing(
        DIM, width=6, hidden=[10], shared_projection=False, combine_activation="gelu", dropout=0.3
    ),
    "heads": lambda: HeadWindows(DIM, HEADS, dropout=0.3),
    "limited heads": lambda: HeadWindows(DIM, HEADS, dropout=0.3, max_look_ahead=1),
    "plain heads": lambda: HeadWindows(DIM, HEADS, key_weights=False, dropout=0.3),
}


@pytest.fixture(params=list(BLOCKS))
def block(request) -> MixingBlock:
    torch.manual_seed(0)
    block = BLOCKS[request.param]()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return block


def differentiate(block: MixingBlock, run, x: torch.Tensor, mask=None) -> list[torch.Tensor]:
    """Output and gradients, with the same dropout in every call."""
    torch.manual_seed(3)
    out = run(x, mask)
    loss = (out.float() * torch.linspace(-1, 1, DIM)).pow(2).sum()
    wanted = [t for t in (x, *block.parameters()) if t.requires_grad]
    return [out, *torch.autograd.grad(loss, wanted)]


def make_batch(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(3, 9, DIM, dtype=dtype, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    return x, torch.arange(9).unsqueeze(0) >= torch.tensor([[9], [4], [1]])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_outputs_and_gradients_are_those_of_the_plain_form(block, training, padded):
    block.double().train(training)
    x, mask = make_batch()
    mask = mask if padded else None
    found, expected = (differentiate(block, run, x, mask) for run in (block, block.mix))
    assert torch.equal(found[0], expected[0])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_reaches_the_backward_pass(block, dtype):
    """Which usually runs outside of it."""

    def run_under_autocast(run):
        def call(*args):
            with torch.autocast("cpu", dtype):
                return run(*args)

        return call

    x, mask = make_batch(torch.float32)
    runs = (run_under_autocast(block), run_under_autocast(block.mix))
    found, expected = (differentiate(block, run, x, mask) for run in runs)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, atol=0.05 * other.abs().max().item(), rtol=0)


def test_what_is_frozen_has_no_gradient_and_costs_none(block):
    x, mask = make_batch(torch.float32)
    first = next(block.parameters())
    first.requires_grad_(False)
    found, expected = (differentiate(block, run, x, mask) for run in (block, block.mix))
    assert len(found) == len(list(block.parameters())) + 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_block_that_has_changed_its_mode_since_repeats_its_dropout(block):
    x, mask = make_batch()
    block.double()
    expected = differentiate(block, block.mix, x, mask)
    torch.manual_seed(3)
    out = block(x, mask)
    block.eval()
    loss = (out.float() * torch.linspace(-1, 1, DIM)).pow(2).sum()
    (gradient,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(gradient, expected[1], atol=1e-12, rtol=1e-10)
    assert not block.training


def test_the_backward_pass_leaves_the_random_numbers_alone(block):
    x, mask = make_batch(torch.float32)
    torch.manual_seed(3)
    out = block(x, mask)
    expected = torch.get_rng_state()
    out.sum().backward()
    assert torch.equal(torch.get_rng_state(), expected)


def test_other_parameters_are_those_that_are_differentiated(block):
    """torch.func.functional_call puts them in for the forward pass alone."""
    x, mask = make_batch(torch.float32)
    block.eval()
    others = {name: (2 * p).detach().requires_grad_(True) for name, p in block.named_parameters()}
    out = torch.func.functional_call(block, others, (x, mask))
    found = torch.autograd.grad(out.pow(2).sum(), list(others.values()))
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            parameter.copy_(others[name])
    expected = torch.autograd.grad(block.mix(x, mask).pow(2).sum(), list(block.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_transforms_of_torch_func_get_the_plain_form():
    block = BLOCKS["wsm"]().eval()
    x, _ = make_batch(torch.float32)
    per_utterance = torch.func.vmap(torch.func.grad(lambda one: block(one.unsqueeze(0)).pow(2).sum()))(
        x.detach()
    )
    (expected,) = torch.autograd.grad(block.mix(x).pow(2).sum(), x)
    torch.testing.assert_close(per_utterance, expected, atol=1e-5, rtol=1e-4)


def test_second_derivatives_are_refused(block):
    x, mask = make_batch(torch.float32)
    (gradient,) = torch.autograd.grad(block(x, mask).pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def count_kept(run, x: torch.Tensor, excluded: list[torch.Tensor]) -> int:
    """Bytes that autograd keeps, without the input and the parameters."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = run(x)
    del out
    for tensor in (x, *excluded):
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def test_nothing_but_the_input_is_kept(block):
    x = torch.randn(2, 500, DIM, requires_grad=True)
    parameters = list(block.parameters())
    assert count_kept(block, x, parameters) == 0
    assert count_kept(block.mix, x, parameters) > 2 * x.nbytes
