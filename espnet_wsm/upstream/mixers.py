"""The registry of mixers: what can stand where a layer's self-attention was."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.mixing import SummaryMixing, WindowedSummaryMixing

if TYPE_CHECKING:
    from espnet_wsm.upstream.config import WsmConfig


@dataclass(frozen=True)
class AttentionSlot:
    """A layer's self-attention, and how its family puts a block of ours in its place.

    Args:
        attention: the pretrained module.
        dim: channels of the model.
        adapt: wraps a block ``(x (B, T, D), padding_mask (B, T)) -> (B, T, D)`` into the call signature
            and return values of ``attention``.
    """

    attention: nn.Module
    dim: int
    adapt: Callable[[nn.Module], nn.Module]


def _windowed(slot: AttentionSlot, config: "WsmConfig", global_summary: bool) -> nn.Module:
    block = WindowedSummaryMixing(
        slot.dim,
        width=config.width,
        window=config.window,
        heads=config.heads,
        dropout=config.dropout,
        global_summary=global_summary,
        shared_projection=config.shared_projection,
    )
    return slot.adapt(block)


def _wsm(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    return _windowed(slot, config, global_summary=True)


def _local(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    return _windowed(slot, config, global_summary=False)


def _sm(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    return slot.adapt(SummaryMixing(slot.dim, width=config.width, heads=config.heads, dropout=config.dropout))


def _attention(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    return slot.attention


def _random_attention(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    """The same architecture without its pre-training: Xavier weights, zero biases (our choice)."""
    attention = copy.deepcopy(slot.attention)
    linears = [module for module in attention.modules() if isinstance(module, nn.Linear)]
    reset = {id(p) for linear in linears for p in linear.parameters()}
    left = [name for name, p in attention.named_parameters() if id(p) not in reset]
    if left:
        raise UserError(
            f"random_attention cannot re-initialise {', '.join(left)} of {type(attention).__name__}: "
            "only linear layers have a defined random start"
        )
    for linear in linears:
        nn.init.xavier_uniform_(linear.weight)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
    return attention


# Key of encoder_conf.mixer -> the module that goes into the slot.
MIXERS: dict[str, Callable[[AttentionSlot, "WsmConfig"], nn.Module]] = {
    "wsm": _wsm,
    "sm": _sm,
    "local": _local,
    "attention": _attention,
    "random_attention": _random_attention,
}
