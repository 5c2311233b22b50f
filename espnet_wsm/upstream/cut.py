"""The cut: below it nothing trains and nothing is random, above it are the few layers that do."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families import FamilyContract


def count_frames(hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
    """(B,) valid frames of (B, T, D) hidden states with a (B, T) padding mask, True = padded, or None."""
    if padding_mask is None:
        return torch.full((hidden.size(0),), hidden.size(1), device=hidden.device)
    return (~padding_mask).sum(dim=1)


class FrozenPrefix(nn.Module):
    """Frozen layers inside a training model still get dropout and still cost autograd memory.

    The prefix is S3PRL's own upstream, shortened to the layers below the cut, so that it computes exactly
    what the whole upstream computes there. It stays in eval mode whatever mode its parent is put in, never
    records a graph, and computes in its own precision whatever autocast or ``.to(dtype)`` of its parent say.

    Args:
        expert: S3PRL's expert without the layers above the cut.
        family: its contract.
        dtype: ``float16`` or ``bfloat16`` for half precision; None = that of the parent model.
    """

    def __init__(self, expert: nn.Module, family: FamilyContract, dtype: torch.dtype | None = None):
        super().__init__()
        self.dtype = dtype
        self.expert = expert.requires_grad_(False)
        self.family = family
        self._grouped = [m for m in expert.modules() if isinstance(m, nn.Conv1d) and m.groups > 1]
        if dtype is not None:
            for convolution in self._grouped:
                convolution.register_forward_pre_hook(lambda _, args: tuple(arg.float() for arg in args))
                convolution.register_forward_hook(lambda _, __, output: output.to(dtype))
        self._set_precision()
        self.eval()

    def _set_precision(self) -> None:
        if self.dtype is not None:
            self.expert.to(self.dtype)
            # The convolution for positions stays in float32: on CPUs, PyTorch 2.14.1 returns wrong
            # numbers for half precision in groups of channels that are no multiple of 16.
            for convolution in self._grouped:
                convolution.float()

    def train(self, mode: bool = True) -> "FrozenPrefix":
        """Stay in eval mode."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenPrefix":
        # ESPnet casts the whole model to its train_dtype.
        super()._apply(fn, recurse)
        self._set_precision()
        return self

    @torch.no_grad()
    def forward(
        self, wavs: list[Tensor], on_state: Callable[[Tensor], None] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Hidden states below the cut.

        Args:
            wavs: 16 kHz waveforms, each (N,), at least 400 samples.
            on_state: is handed the input (B, T', D) of each layer below the cut, in the dtype of ``wavs``.
                T' may exceed T by what an upstream pads to.

        Returns:
            (B, T, D) hidden states in the dtype of ``wavs``, and the upstream's own padding mask (B, T),
            True = padded, or None.
        """
        dtype, device = wavs[0].dtype, wavs[0].device
        calls: list[tuple[Tensor, Tensor | None]] = []

        def keep(_module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
            calls.append(self.family.read_encoder_call(kwargs, output))

        def visit(_module: nn.Module, args: tuple[Any, ...]) -> None:
            on_state(self.family.read_layer_input(args).to(dtype))

        encoder = self.family.encoder(self.expert)
        with contextlib.ExitStack() as stack:
            # For the length of one call: a hook that stayed would keep the last batch alive.
            hook = encoder.register_forward_hook(keep, with_kwargs=True)
            stack.callback(hook.remove)
            if on_state is not None:
                for layer in encoder.layers:
                    stack.callback(layer.register_forward_pre_hook(visit).remove)
            stack.enter_context(torch.autocast(device.type, enabled=False))
            self.family.run(self.expert, wavs)
        hidden, padding_mask = calls.pop()
        return hidden.to(dtype), padding_mask

    @property
    def depends_on_padding(self) -> bool:
        """Whether statistics over time (GroupNorm) make an utterance depend on the padding of its batch."""
        return any(isinstance(module, nn.GroupNorm) for module in self.expert.modules())


class TrainableSuffix(nn.Module):
    """The layers above the cut, and the final norm of upstreams that have one.

    Args:
        layers: the upstream's last k layers.
        final_norm: its norm behind the last layer; None for post-norm upstreams.
        family: its contract.
    """

    def __init__(self, layers: nn.ModuleList, final_norm: nn.Module | None, family: FamilyContract):
        super().__init__()
        self.layers = layers
        self.final_norm = final_norm
        self.family = family

    def forward(
        self,
        x: Tensor,
        padding_mask: Tensor | None = None,
        on_state: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """(B, T, D) hidden states and (B, T) padding mask, True = padded, to (B, T, D).

        ``on_state`` is handed the input (B, T, D) of each layer.
        """
        x = self.family.run_layers(self.layers, x, padding_mask, on_state)
        return x if self.final_norm is None else self.final_norm(x)


class LayerWeights(nn.Module):
    """A learned mean of all hidden states (SUPERB, arXiv 2105.01051), without a stack of them.

    S3PRL's ``Featurizer`` stacks L + 1 states and multiplies the stack: two copies of each. Here each state
    is added to a running sum as soon as it is there.

    Args:
        num_states: L + 1.
    """

    def __init__(self, num_states: int):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_states))

    def start(self) -> "RunningSum":
        """A sum that takes the states in order, from the lowest."""
        return RunningSum(self.weights.softmax(dim=0))


class RunningSum:
    """``total`` = sum of weights[i] * state i over the states (B, T, D) added so far."""

    def __init__(self, weights: Tensor):
        self._weights: Iterator[Tensor] = iter(weights.unbind())
        self._grad = torch.is_grad_enabled()
        self.total: Tensor | None = None

    def add(self, state: Tensor) -> None:
        """Add the next state, also from inside ``no_grad``; frames that it lacks at the end are dropped."""
        with torch.set_grad_enabled(self._grad):
            part = next(self._weights).to(state.dtype) * state
            self.total = part if self.total is None else self.total[:, : state.size(1)] + part


def cut_upstream(
    expert: nn.Module, family: FamilyContract, num_layers_above: int, dtype: torch.dtype | None = None
) -> tuple[FrozenPrefix, TrainableSuffix]:
    """Split an upstream below its last ``num_layers_above`` layers. The expert is taken apart.

    ``suffix(*prefix(wavs))`` equals the encoder output of the whole expert. (For pre-norm models of
    transformers 5, S3PRL's last hidden state is the one before the final norm; ours is behind it, as in
    ``last_hidden_state`` and in S3PRL's native upstreams.) ``dtype`` is that of :class:`FrozenPrefix`.

    Raises:
        UserError: the upstream has fewer layers.
    """
    encoder = family.encoder(expert)
    depth = len(encoder.layers)
    if not 0 <= num_layers_above <= depth:
        raise UserError(f"num_replaced is {num_layers_above}, but the upstream has only {depth} layers")
    family.release(expert)
    suffix_layers = encoder.layers[depth - num_layers_above :]
    encoder.layers = encoder.layers[: depth - num_layers_above]
    final_norm = None
    if family.has_final_norm(expert):
        final_norm, encoder.layer_norm = encoder.layer_norm, nn.Identity()
    return FrozenPrefix(expert, family, dtype), TrainableSuffix(suffix_layers, final_norm, family)
