"""A gated convolution beside the output projection of a frozen attention."""

from typing import Any

import torch
from torch import Tensor, nn

from espnet_wsm.mixing import GatedConvolution
from espnet_wsm.upstream.families.contract import FamilyContract


class ConvolvedAttention(nn.Module):
    """LoRA on the output projection needs what the projection is given, which no attention hands out.

    During the call the identity matrix takes the place of the projection's weights, so that the attention
    returns the output z of its heads; then W_O z + b_O + convolution(z) is computed here. This works in
    attention that calls its projections and in attention that only reads their weights, and costs one more
    D x D product for each frame.

    Args:
        attention: the pretrained module.
        family: its contract.
        convolution: what is added, (B, T, D) to (B, T, D).
    """

    def __init__(self, attention: nn.Module, family: FamilyContract, convolution: GatedConvolution):
        super().__init__()
        self.attention = attention
        self.convolution = family.adapt(convolution)
        self._projection = family.projections[-1]
        self._input = family.attention_input

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Same arguments and results as the attention."""
        projection = getattr(self.attention, self._projection)
        identity = {
            f"{self._projection}.{name}": _make_neutral(parameter)
            for name, parameter in projection.named_parameters()
        }
        heads, *rest = torch.func.functional_call(self.attention, identity, args, kwargs)
        others = {name: value for name, value in kwargs.items() if name != self._input}
        added = self.convolution(heads, **others)[0]
        return projection(heads) + added, *rest


def _make_neutral(parameter: Tensor) -> Tensor:
    """The identity for a matrix, zeros for a bias."""
    if parameter.dim() == 1:
        return torch.zeros_like(parameter)
    return torch.eye(len(parameter), dtype=parameter.dtype, device=parameter.device)
