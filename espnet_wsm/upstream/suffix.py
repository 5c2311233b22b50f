"""The layers above the cut, which train, and the weighted mean of the states below and above it."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.precision import choose_dtype

# Functions from (B, T, D) to (B, T, D), frame by frame, by the index of the layer behind which they are.
Behind = Mapping[int, Callable[[Tensor], Tensor]]
NOTHING: Behind = {}


class TrainableSuffix(nn.Module):
    """The layers above the cut, and the final norm if the upstream has one.

    Args:
        layers: the upstream's layers above the cut.
        final_norm: its norm after the last layer; None for post-norm upstreams.
        family: its contract.
        shared: what attention in these layers needs from the upstream's lowest layer; None for nothing.
    """

    def __init__(
        self,
        layers: nn.ModuleList,
        final_norm: nn.Module | None,
        family: FamilyContract,
        shared: nn.Module | None = None,
    ):
        super().__init__()
        self.layers = layers
        self.final_norm = final_norm
        self.family = family
        self.shared = shared
        self.recomputes_layers = False  # whether autograd keeps nothing but the input of each layer

    def forward(
        self,
        x: Tensor,
        padding_mask: Tensor | None = None,
        on_state: Callable[[Tensor], None] | None = None,
        behind: Behind = NOTHING,
    ) -> Tensor:
        """Run the layers on (B, T, D) hidden states with a (B, T) padding mask, True = padded.

        ``on_state`` is called with the input (B, T, D) of each layer; ``behind`` has, by the index of a
        layer, what makes the input of the next one of its output. Returns (B, T, D).
        """
        layers, start = list(self.layers), 0
        for stop in (*(place + 1 for place in sorted(behind)), len(layers)):
            x = self.family.run_layers(
                layers[start:stop], x, padding_mask, self.shared, on_state, self.recomputes_layers
            )
            x = behind[stop - 1](x) if stop - 1 in behind else x
            start = stop
        return x if self.final_norm is None else self.final_norm(x)

    @property
    def look_ahead(self) -> float:
        """Frames after a frame that its output depends on; infinite where one needs the whole utterance."""
        blocks = [getattr(getattr(layer, self.family.attention), "mixer", None) for layer in self.layers]
        return sum(getattr(block, "look_ahead", math.inf) for block in blocks)


def run_suffix(
    suffix: TrainableSuffix,
    dtype: str,
    hidden: Tensor,
    padding_mask: Tensor | None,
    on_state: Callable[[Tensor], None] | None = None,
    behind: Behind = NOTHING,
) -> Tensor:
    """Call the suffix with its matrix products in ``dtype``; float32 leaves the precision to the trainer.

    Args:
        suffix: the suffix to call.
        dtype: ``suffix_dtype`` of the configuration.
        hidden: (B, T, D) states below the cut.
        padding_mask: (B, T), True = padded, or None when nothing is padded.
        on_state: as in ``TrainableSuffix.forward``.
        behind: as there.

    Returns:
        (B, T, D) output.
    """
    dtype = choose_dtype(dtype, hidden.device)
    with autocast_products(dtype, hidden.device):
        encoded = suffix(hidden, padding_mask, on_state, behind)
    return encoded if dtype == "float32" else encoded.float()


def autocast_products(dtype: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Matrix products in ``dtype``, of :func:`choose_dtype`; float32 leaves the precision as it is."""
    if dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, dtype))


class LayerWeights(nn.Module):
    """A learned weighted mean of all hidden states (SUPERB, arXiv 2105.01051), without stacking them.

    S3PRL's ``Featurizer`` stacks L + 1 states and multiplies the stack, which makes two copies of each. Here
    each state is added to a running sum as soon as it is computed.

    Args:
        num_states: L + 1.
    """

    def __init__(self, num_states: int):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_states))

    def start(self) -> "RunningSum":
        """A sum to which the states are added in order, from the lowest."""
        return RunningSum(self.weights.softmax(dim=0))


class RunningSum:
    """``total`` = sum of weights[i] * state i over the states (B, T, D) added so far."""

    def __init__(self, weights: Tensor):
        self._weights: Iterator[Tensor] = iter(weights.unbind())
        self._grad = torch.is_grad_enabled()
        self.total: Tensor | None = None

    def add(self, state: Tensor) -> None:
        """Add the next state, even inside ``no_grad``; a sum that is longer than the state is shortened."""
        with torch.set_grad_enabled(self._grad):
            part = next(self._weights).to(state.dtype) * state
            self.total = part if self.total is None else self.total[:, : state.size(1)] + part

    def repeat(self, views: int) -> None:
        """Each utterance as often, one batch after the other."""
        self.total = self.total.repeat(views, 1, 1)
