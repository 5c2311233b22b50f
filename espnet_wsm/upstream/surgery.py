"""Replace the self-attention of the layers above the cut, and freeze the rest."""

from collections.abc import Collection, Iterable
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from espnet_wsm.errors import UserError
from espnet_wsm.mixing.block import MixingBlock
from espnet_wsm.mixing.dropout import LeanDropout
from espnet_wsm.upstream.config import DROP, KEPT, WsmConfig
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.mixers import MIXERS, AttentionSlot
from espnet_wsm.upstream.replacing import replace_modules
from espnet_wsm.upstream.suffix import TrainableSuffix


def replace_attention(
    layers: Iterable[nn.Module], family: FamilyContract, dim: int, config: WsmConfig
) -> None:
    """Replace the self-attention of ``layers`` by ``config.mixer``, in place.

    Only modules inside a layer are replaced (its attention; with ``reset`` its feed-forward too), never the
    layer itself: S3PRL registers its hooks on the layers, and an upstream that still holds them keeps
    working. Everything in the layers is frozen except what ``config.trainable`` names.

    Args:
        layers: layers of the upstream, from the lowest, still part of it or cut off.
        family: its contract.
        dim: channels of the upstream.
        config: which mixer, what trains.

    Raises:
        UserError: a size does not fit the upstream.
    """
    for place, layer in enumerate(layers):
        layer.requires_grad_(config.trainable != "mixer")
        slot = AttentionSlot(layer, dim, family, place)
        if family.has_block(layer) and config.mixer != KEPT:
            raise UserError(
                f"{config.upstream} is converted, and the layers to replace have no attention any more: "
                f"mixer: {KEPT} trains what they have, and the upstream that it was made of takes "
                f"{config.mixer}"
            )
        try:
            block = MIXERS[config.mixer](slot, config)
        except ValueError as error:
            raise UserError(f"mixer {config.mixer} does not fit {config.upstream}: {error}") from error
        setattr(layer, family.attention, block)
        blocks = [module for module in block.modules() if isinstance(module, MixingBlock)]
        for module in blocks:
            module.keeps_input_alone = config.recompute in ("auto", "block")
        if config.recompute == "block" and not blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def prepare_suffix(
    suffix: TrainableSuffix, replaced: Collection[int], dim: int, config: WsmConfig
) -> dict[int, str]:
    """Replace the attention of some layers of a suffix, or remove these layers, and mark what trains.

    Args:
        suffix: as returned by ``cut_upstream``.
        replaced: indices of the layers in the suffix, 0 = the lowest.
        dim: channels of the upstream.
        config: which mixer, what trains.

    Returns:
        For the table of parameters: what each remaining layer has for attention, by its original index.

    Raises:
        UserError: as ``replace_attention``.
    """
    suffix.requires_grad_(config.trainable == "suffix")
    suffix.recomputes_layers = config.recompute == "layer"
    kinds = {
        i: config.mixer if i in replaced else "converted" if suffix.family.has_block(layer) else "attention"
        for i, layer in enumerate(suffix.layers)
    }
    if config.mixer == DROP:
        suffix.layers = nn.ModuleList(layer for i, layer in enumerate(suffix.layers) if i not in replaced)
        kinds = {i: kind for i, kind in kinds.items() if kind != DROP}
    else:
        replace_attention([suffix.layers[i] for i in replaced], suffix.family, dim, config)
    dropouts = [module for module in suffix.layers.modules() if type(module) is nn.Dropout]
    replace_modules(suffix.layers, {id(each): LeanDropout(each.p).train(each.training) for each in dropouts})
    if suffix.final_norm is not None and replaced:
        suffix.final_norm.requires_grad_(config.trainable != "mixer")
    if suffix.shared is not None:
        suffix.shared.requires_grad_(False)
    return kinds
