"""The registry of mixers: what can replace a layer's self-attention."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.mixing import (
    GatedConvolution,
    HeadWindows,
    PooledAttention,
    SummaryMixing,
    WindowedSummaryMixing,
)
from espnet_wsm.upstream.config import KEPT, READ_OFF, WsmConfig
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.gc_lora import ConvolvedAttention


@dataclass(frozen=True)
class AttentionSlot:
    """A layer's self-attention, and the contract that says how one of our blocks replaces it.

    Args:
        layer: the layer.
        dim: channels of the model.
        family: the upstream's contract.
        place: of the layer among those that are replaced, 0 = the lowest.
    """

    layer: nn.Module
    dim: int
    family: FamilyContract
    place: int = 0

    @property
    def attention(self) -> nn.Module:
        """The pretrained module."""
        return getattr(self.layer, self.family.attention)


def _summarise(
    slot: AttentionSlot, config: WsmConfig, block_class: type[nn.Module] = SummaryMixing, **more: Any
) -> nn.Module:
    block = block_class(
        slot.dim,
        width=config.width,
        heads=config.heads,
        dropout=config.dropout,
        hidden=config.hidden or (),
        combine_activation=config.combine_activation,
        causal=config.causal,
        **more,
    )
    return slot.family.adapt(block)


def _wsm(slot: AttentionSlot, config: WsmConfig, global_summary: bool = True) -> nn.Module:
    return _summarise(
        slot,
        config,
        WindowedSummaryMixing,
        window=config.window,
        shared_projection=config.shared_projection,
        global_summary=global_summary,
    )


def _wsm_heads(slot: AttentionSlot, config: WsmConfig) -> nn.Module:
    """Values and output of the pretrained attention, or at random, over a window of each head."""
    attention = slot.attention
    block = HeadWindows(
        slot.dim,
        _find_windows(slot.place, attention.num_heads, config),
        key_weights=config.key_weights,
        per_frame_width=config.per_frame_width,
        global_summary=config.global_summary,
        dropout=config.dropout,
        max_look_ahead=config.max_look_ahead,
    )
    if config.init == "attention":
        _, _, value, out = (getattr(attention, name) for name in slot.family.projections)
        block.value, block.out = value, out
    return slot.family.adapt(block).requires_grad_(True)


def _find_windows(place: int, heads: int, config: WsmConfig) -> Sequence[tuple[int, int]]:
    """First and last frame of each head's window in a replaced layer."""
    windows = config.window if config.windows is None else config.windows
    if windows == READ_OFF:
        raise ValueError(
            "windows: attention is known where training has stored features (stage 2 reads it off them); "
            "elsewhere give lists, as `espnet-wsm layers` prints them, or a number of frames, e.g. windows=10"
        )
    if isinstance(windows, int):
        return [(-windows, windows)] * heads
    if isinstance(windows[0], int):
        raise ValueError(
            f"window {list(windows)}: it takes one number, or windows, [first, last] of each head"
        )
    if isinstance(windows[0][0], int):
        of_layer = windows
    elif place < len(windows):
        of_layer = windows[place]
    else:
        raise ValueError(f"windows are given for {len(windows)} layers, but more are replaced")
    if len(of_layer) != heads:
        raise ValueError(f"windows are given for {len(of_layer)} heads, but the attention has {heads}")
    return [(first, last) for first, last in of_layer]


def _attention(slot: AttentionSlot, config: WsmConfig) -> nn.Module:
    return slot.attention.requires_grad_(True)


def _kept(slot: AttentionSlot, config: WsmConfig) -> nn.Module:
    """The block of a converted upstream."""
    if not slot.family.has_block(slot.layer):
        raise ValueError(
            "a layer to replace has its attention still: take no more than `espnet-wsm convert` converted, "
            "or mixer: attention, which trains that"
        )
    return slot.attention.requires_grad_(True)


def _random_attention(slot: AttentionSlot, config: WsmConfig) -> nn.Module:
    """The same architecture without pre-training."""
    return _copy_at_random(slot.attention, slot.family.ones, config.mixer)


def _reset(slot: AttentionSlot, config: WsmConfig) -> nn.Module:
    """Attention and feed-forward at random; norms, and what else a layer has, as pretrained (our choice)."""
    for name in slot.family.feed_forward:
        setattr(slot.layer, name, _copy_at_random(getattr(slot.layer, name), (), config.mixer))
    return _random_attention(slot, config)


def _copy_at_random(pretrained: nn.Module, ones: tuple[str, ...], mixer: str) -> nn.Module:
    """A copy that trains, with Xavier weights, zero biases (our choice), and ones where they are named."""
    module = copy.deepcopy(pretrained).requires_grad_(True)
    left = dict(module.named_parameters())
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        else:
            continue
        for own, _ in part.named_parameters(prefix=name):
            del left[own]
    for name in ones:
        if name in left:
            nn.init.ones_(left.pop(name))
    if left:
        raise UserError(
            f"{mixer} cannot re-initialise {', '.join(left)} of {type(module).__name__}: "
            "only linear layers and embeddings have a defined random start"
        )
    return module


def _kv_pool(slot: AttentionSlot, config: WsmConfig) -> nn.Module:
    """The pretrained attention with fewer keys and values; it trains."""
    attention, family = slot.attention, slot.family
    if family.adds_positions(attention):
        raise UserError(
            f"mixer kv_pool does not fit {config.upstream}: attention of {family.name} adds a bias for the "
            "distance of two frames, which is not pooled; take another mixer"
        )
    projections = (getattr(attention, name) for name in family.projections)
    block = PooledAttention(
        *projections,
        heads=attention.num_heads,
        pool=config.pool,
        dropout=family.attention_dropout(attention),
    )
    return family.adapt(block.train(attention.training)).requires_grad_(True)


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


def _lora(slot: AttentionSlot, config: WsmConfig) -> nn.Module:
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


def _gc_lora(slot: AttentionSlot, config: WsmConfig) -> nn.Module:
    """The frozen pretrained attention with a trainable gated convolution beside its output projection."""
    convolution = GatedConvolution(slot.dim, config.lora_rank, config.lora_kernel, config.lora_alpha)
    return ConvolvedAttention(slot.attention.requires_grad_(False), slot.family, convolution)


# Key of encoder_conf.mixer (but for DROP) -> what goes into the slot, with requires_grad set on what trains.
MIXERS: dict[str, Callable[[AttentionSlot, WsmConfig], nn.Module]] = {
    "wsm": _wsm,
    "sm": _summarise,
    "local": partial(_wsm, global_summary=False),
    "wsm_heads": _wsm_heads,
    "attention": _attention,
    "random_attention": _random_attention,
    "reset": _reset,
    "kv_pool": _kv_pool,
    "lora": _lora,
    "gc_lora": _gc_lora,
    KEPT: _kept,
}
