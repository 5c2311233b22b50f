"""What the mixing blocks share: parts computed from the input, merged linearly, and a lean backward pass."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from espnet_wsm.mixing.dropout import LeanDropout
from espnet_wsm.mixing.means import zero_padding
from espnet_wsm.mixing.stream_memory import StreamMemory
from espnet_wsm.mixing.transforms import is_transformed

# Values of ``combine_activation``.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "gelu": F.gelu}


class MixingBlock(nn.Module):
    """Autograd keeps every part of a block for the backward pass, several times the size of its input.

        h_t = a(sum_i W_i p_i + b)        p_i = parts of x: of the frame, of a window, of the utterance

    All parts are cheap to compute from the input. So only the input is kept, and the backward pass computes
    the parts anew, with the same dropout; the products with W_i, half of the block, are not repeated. Outputs
    and gradients are those of the plain form. Second derivatives are not available. ``torch.compile``, which
    plans memory itself, the transforms of ``torch.func``, and blocks whose ``keeps_input_alone`` is set to
    False get the plain form.

    Args:
        dropout: of the parts, 0 to 1.
        combine_activation: a, ``none`` or ``gelu``.
    """

    def __init__(self, dropout: float = 0.0, combine_activation: str = "none") -> None:
        super().__init__()
        self.dropout = LeanDropout(dropout)
        self.keeps_input_alone = True
        if combine_activation not in ACTIVATIONS:
            raise ValueError(
                f"combine_activation has to be one of {', '.join(ACTIVATIONS)}, got {combine_activation!r}"
            )
        self.combine_activation = combine_activation
        # First and last frame of each window relative to its frame, and whether there is a part of the whole
        # utterance: what a block says of itself for streams.
        self.spans: Sequence[tuple[int, int]] = ()
        self.sees_everything = False

    def make_parts(
        self, x: Tensor, padding_mask: Tensor | None, memory: StreamMemory | None = None
    ) -> list[Tensor]:
        """The parts, after their dropout: (B, T, W_i), or (B, 1, W_i) for one of the whole utterance.

        With a ``memory``, ``x`` is a piece of a stream without padding.
        """
        raise NotImplementedError

    def get_merging(self) -> tuple[Sequence[Tensor], Tensor]:
        """W_i, (D, W_i) each, in the order of the parts, and b, (D,)."""
        raise NotImplementedError

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Mix over time.

        Args:
            x: (B, T, dim).
            padding_mask: (B, T) bool, True = padded; None = no padding.

        Returns:
            (B, T, dim), zeros at padded frames. Valid frames depend neither on the other utterances of the
            batch nor on what the padding holds, as long as it is finite.
        """
        lean = self.keeps_input_alone and torch.is_grad_enabled()
        if not lean or is_transformed():
            return self.mix(x, padding_mask)
        return _KeepInput.apply(self, padding_mask, x, *self.parameters())

    def mix(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """The plain form of :meth:`forward`, same arguments and results."""
        merged = _merge(self.make_parts(x, padding_mask), *self.get_merging())
        return zero_padding(ACTIVATIONS[self.combine_activation](merged), padding_mask)

    @property
    def look_ahead(self) -> float:
        """Frames after a frame that its output depends on; infinite for the whole utterance."""
        return math.inf if self.sees_everything else max(0, *(last for _, last in self.spans), 0)

    def start_stream(self) -> StreamMemory:
        """The memory of a stream that begins, for :meth:`stream`.

        Raises:
            ValueError: the block needs the whole utterance.
        """
        if self.sees_everything:
            raise ValueError("it averages over the whole utterance, which a stream has only at its end")
        return StreamMemory(max(0, *(-first for first, _ in self.spans), 0))

    def stream(self, x: Tensor, memory: StreamMemory) -> Tensor:
        """Mix the next piece of a stream, whose outputs one after the other are those of the whole.

        A block that looks ahead needs what comes next: put ``memory.open`` to :attr:`look_ahead` (or the
        length of the piece, if that is less), drop so many of the outputs, and begin the next piece with
        these frames; with the last piece put it to 0.

        Args:
            x: (B, T, dim) of any T from 1 on, without padding.
            memory: of :meth:`start_stream`, for all pieces of a stream; it is changed.

        Returns:
            (B, T, dim).
        """
        merged = _merge(self.make_parts(x, None, memory), *self.get_merging())
        return ACTIVATIONS[self.combine_activation](merged)


def _merge(parts: Sequence[Tensor], weights: Sequence[Tensor], bias: Tensor) -> Tensor:
    """(B, T, D). Each part is merged by itself: one of the whole utterance once, not for each frame."""
    merged = F.linear(parts[0], weights[0], bias)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        merged = merged + F.linear(part, weight)
    return merged


class _Ingredients(nn.Module):
    """Parts and merging of a block, as a module that can be called with other parameters."""

    def __init__(self, block: MixingBlock) -> None:
        super().__init__()
        self.block = block

    def forward(
        self, x: Tensor, padding_mask: Tensor | None
    ) -> tuple[list[Tensor], Sequence[Tensor], Tensor]:
        return self.block.make_parts(x, padding_mask), *self.block.get_merging()


class _KeepInput(torch.autograd.Function):
    """:meth:`MixingBlock.mix`, for whose backward pass only the input is kept."""

    @staticmethod
    def forward(
        ctx: Any, block: MixingBlock, padding_mask: Tensor | None, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.block, ctx.names = block, [name for name, _ in block.named_parameters()]
        ctx.training = block.training
        ctx.random_state = None
        if block.training and block.dropout.p > 0:
            ctx.random_state = torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()
        kind = x.device.type
        ctx.autocast = torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.save_for_backward(padding_mask, x, *parameters)
        return block.mix(x, padding_mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        padding_mask, *inputs = ctx.saved_tensors
        needed = ctx.needs_input_grad[2:]
        leaves = [t.detach().requires_grad_(need) for t, need in zip(inputs, needed, strict=True)]
        gradient = zero_padding(gradient, padding_mask)
        parts, weights, bias = _compute_again(ctx, leaves, padding_mask)
        if ctx.block.combine_activation != "none":
            with ctx.autocast, torch.no_grad():
                merged = _merge(parts, weights, bias).requires_grad_()
            with torch.enable_grad():
                activated = ACTIVATIONS[ctx.block.combine_activation](merged)
            (gradient,) = torch.autograd.grad(activated, merged, gradient)
        outputs = [(bias, gradient.sum(dim=(0, 1), dtype=bias.dtype))]
        for part, weight in zip(parts, weights, strict=True):
            # A part of the whole utterance, (B, 1, W), has the gradients of all frames.
            of_product = gradient.sum(dim=1, keepdim=True) if part.size(1) == 1 else gradient
            of_part = of_product @ weight.to(gradient.dtype)
            of_weight = of_product.flatten(0, 1).T @ part.to(gradient.dtype).flatten(0, 1)
            outputs += [(part, of_part.to(part.dtype)), (weight, of_weight.to(weight.dtype))]
        differentiable = [pair for pair in outputs if pair[0].requires_grad]
        results, gradients = zip(*differentiable, strict=True)
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(torch.autograd.grad(results, wanted, gradients, allow_unused=True))
        return None, None, *(next(found) if need else None for need in needed)


def _compute_again(
    ctx: Any, leaves: Sequence[Tensor], padding_mask: Tensor | None
) -> tuple[list[Tensor], Sequence[Tensor], Tensor]:
    """Parts and merging as the forward pass had them, as functions of ``leaves``: input and parameters."""
    x, *parameters = leaves
    named = {f"block.{name}": value for name, value in zip(ctx.names, parameters, strict=True)}
    mode = ctx.block.training
    with (
        torch.random.fork_rng([x.device] if x.is_cuda else [], enabled=ctx.random_state is not None),
        torch.enable_grad(),
        ctx.autocast,
    ):
        if ctx.random_state is not None:
            torch.cuda.set_rng_state(ctx.random_state, x.device) if x.is_cuda else torch.set_rng_state(
                ctx.random_state
            )
        ctx.block.train(ctx.training)
        try:
            return torch.func.functional_call(_Ingredients(ctx.block), named, (x, padding_mask))
        finally:
            ctx.block.train(mode)
