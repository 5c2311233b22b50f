"""The registry of mixers: what can replace a layer's self-attention."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.mixing import SummaryMixing, WindowedSummaryMixing

if TYPE_CHECKING:
    from espnet_wsm.upstream.config import WsmConfig
    from espnet_wsm.upstream.families import FamilyContract

# Removes whole layers instead of replacing their attention; the cut stays where it would be otherwise.
DROP = "drop"


@dataclass(frozen=True)
class AttentionSlot:
    """A layer's self-attention, and the contract that says how one of our blocks replaces it.

    Args:
        attention: the pretrained module.
        dim: channels of the model.
        family: the upstream's contract.
    """

    attention: nn.Module
    dim: int
    family: "FamilyContract"


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
    return slot.family.adapt(block)


def _wsm(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    return _windowed(slot, config, global_summary=True)


def _local(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    return _windowed(slot, config, global_summary=False)


def _sm(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    block = SummaryMixing(slot.dim, width=config.width, heads=config.heads, dropout=config.dropout)
    return slot.family.adapt(block)


def _attention(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    return slot.attention.requires_grad_(True)


def _random_attention(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    """The same architecture without pre-training: Xavier weights, zero biases (our choice)."""
    attention = copy.deepcopy(slot.attention).requires_grad_(True)
    left = dict(attention.named_parameters())
    for name, module in attention.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        else:
            continue
        for own, _ in module.named_parameters(prefix=name):
            del left[own]
    for name in slot.family.ones:
        if name in left:
            nn.init.ones_(left.pop(name))
    if left:
        raise UserError(
            f"random_attention cannot re-initialise {', '.join(left)} of {type(attention).__name__}: "
            "only linear layers and embeddings have a defined random start"
        )
    return attention


class MergedLora(nn.Module):
    """Attention that only reads the weights of its projections, without calling them, would bypass LoRA.

    PEFT's layers add their low-rank product when they are called, but fairseq's and WavLM's attention passes
    the weights to ``F.multi_head_attention_forward``. Here the sums W + B A are computed first and replace
    the weights during the call.

    Args:
        attention: attention whose projections are PEFT's layers.
    """

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Same arguments and results as the attention."""
        from peft.tuners.lora import LoraLayer

        merged = {
            f"{name}.base_layer.weight": layer.get_base_layer().weight + layer.get_delta_weight("default")
            for name, layer in self.attention.named_modules()
            if isinstance(layer, LoraLayer)
        }
        return torch.func.functional_call(self.attention, merged, args, kwargs)


def _lora(slot: AttentionSlot, config: "WsmConfig") -> nn.Module:
    """The frozen pretrained attention with trainable low-rank additions (LoRA, arXiv 2106.09685)."""
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds

    # No dropout: it would act on the input of a projection, which MergedLora never sees.
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules=list(slot.family.projections),
    )
    attention = inject_adapter_in_model(lora, slot.attention)
    for name, parameter in attention.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return attention if slot.family.calls_projections else MergedLora(attention)


# Key of encoder_conf.mixer -> the module that goes into the slot, with requires_grad set on what trains.
MIXERS: dict[str, Callable[[AttentionSlot, "WsmConfig"], nn.Module]] = {
    "wsm": _wsm,
    "sm": _sm,
    "local": _local,
    "attention": _attention,
    "random_attention": _random_attention,
    "lora": _lora,
}
MIXER_NAMES = (*MIXERS, DROP)
