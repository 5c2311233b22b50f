"""Watch the attention of any family at work: what it is given, what it gives, and its weights."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.suffix import TrainableSuffix

SOFTMAX = (torch.ops.aten._softmax, torch.ops.aten._safe_softmax)
Pair = tuple[Tensor, Tensor]  # (B, T, D) each: what an attention, or a layer, is given, and what it gives


class _Recorder(nn.Module):
    """A block that passes its input on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, T, D)."""
        self.seen.append(x)
        return x


class WatchedAttention(nn.Module):
    """Keeps what an attention was last given and what it gave, as (B, T, D) whatever its family's form.

    Args:
        attention: the pretrained module.
        family: its contract.
        on_pair: called with both as soon as they are there, before the next layer runs; they are then not
            kept.
    """

    def __init__(
        self,
        attention: nn.Module,
        family: FamilyContract,
        on_pair: Callable[[Tensor, Tensor], None] | None = None,
    ):
        super().__init__()
        self._on_pair = on_pair
        self.attention = attention
        self._recorder = _Recorder()
        self._adapter = family.adapt(self._recorder)
        self._input = family.attention_input

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Same arguments and results as the attention."""
        results = self.attention(*args, **kwargs)
        others = {name: value for name, value in kwargs.items() if name != self._input}
        self._recorder.seen.clear()
        for states in (kwargs[self._input] if self._input in kwargs else args[0], results[0]):
            self._adapter(states, **others)
        if self._on_pair is not None:
            self._on_pair(*self.take())
        return results

    def take(self) -> Pair:
        """What was given and what came out; it is forgotten here."""
        given, came = self._recorder.seen
        self._recorder.seen.clear()
        return given, came


@contextmanager
def watch_attention(
    suffix: TrainableSuffix,
    places: Sequence[int],
    on_pair: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Iterator[list[WatchedAttention]]:
    """Watch the attention of the layers at ``places`` of a suffix (0 = the lowest) while this is open.

    With ``on_pair``, it is called with each place and what the attention there is given and gives, and the
    modules keep nothing.
    """
    name = suffix.family.attention
    with ExitStack() as stack:
        watched = []
        for place in places:
            layer = suffix.layers[place]
            attention = getattr(layer, name)
            stack.callback(setattr, layer, name, attention)
            own = None if on_pair is None else partial(on_pair, place)
            watched.append(WatchedAttention(attention, suffix.family, own))
            setattr(layer, name, watched[-1])
        yield watched


class WatchedWeights(TorchDispatchMode):
    """Attention hands its weights out in a few families, and from a fused kernel in none.

    But whatever it adds to its scores (a bias for distances, a gate), in the end they go through a softmax.
    With PyTorch's plain kernel in place of the fused ones, this is seen here.

    Args:
        on_weights: called with the number of each softmax since the last start, from 0, and with its result
            where that is (..., T, T).
    """

    def __init__(self, on_weights: Callable[[int, Tensor], None]):
        super().__init__()
        self._on_weights = on_weights
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function._overloadpacket in SOFTMAX and result.dim() > 2 and result.size(-1) == result.size(-2):
            number, self.count = self.count, self.count + 1
            self._on_weights(number, result)
        return result


@torch.no_grad()
def run_with_weights(
    suffix: TrainableSuffix,
    hidden: Tensor,
    padding_mask: Tensor | None,
    on_weights: Callable[[int, Tensor], None],
) -> None:
    """Run a suffix and hand the attention weights of each layer to ``on_weights``.

    Args:
        suffix: with pretrained attention in all layers, in eval mode.
        hidden: (B, T, D) below the cut.
        padding_mask: (B, T), True = padded, or None.
        on_weights: called with the place of the layer, 0 = the lowest, and its weights (B, H, T, T).

    Raises:
        UserError: the attention of this upstream has no weights that can be seen.
    """
    batch = hidden.size(0)
    watched = WatchedWeights(
        lambda place, weights: on_weights(place, weights.reshape(batch, -1, *weights.shape[-2:]))
    )
    with sdpa_kernel(SDPBackend.MATH), watched:
        suffix(hidden, padding_mask)
    if watched.count != len(suffix.layers):
        raise UserError(
            f"the attention of {suffix.family.name} upstreams shows no weights (of {len(suffix.layers)} "
            f"layers, {watched.count} took a softmax over frames): give windows as lists, or as one number"
        )
