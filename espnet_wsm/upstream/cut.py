"""The cut: below it nothing trains and nothing is random; above it are the few layers that train."""

import torch
from torch import nn

from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.prefix import FrozenPrefix
from espnet_wsm.upstream.suffix import TrainableSuffix


def cut_upstream(
    expert: nn.Module,
    family: FamilyContract,
    num_below: int,
    dtype: torch.dtype | None = None,
    exact_padding: bool = True,
) -> tuple[FrozenPrefix, TrainableSuffix]:
    """Split an upstream above its lowest ``num_below`` layers. The expert is taken apart in the process.

    ``suffix(*prefix(wavs))`` equals the encoder output of the whole expert. (For pre-norm models of
    transformers 5, S3PRL's last hidden state is taken before the final norm; ours is taken after it, like
    ``last_hidden_state`` and S3PRL's native upstreams.) ``dtype`` and ``exact_padding`` are those of
    ``FrozenPrefix``.
    """
    encoder = family.encoder(expert)
    family.release(expert)
    suffix_layers = encoder.layers[num_below:]
    shared = family.share(encoder.layers[0], stays_below=num_below > 0) if suffix_layers else None
    encoder.layers = encoder.layers[:num_below]
    final_norm = None
    if family.has_final_norm(expert):
        final_norm, encoder.layer_norm = encoder.layer_norm, nn.Identity()
    return (
        FrozenPrefix(expert, family, dtype, exact_padding),
        TrainableSuffix(suffix_layers, final_norm, family, shared),
    )


def cut_of(
    expert: nn.Module, family: FamilyContract, config: WsmConfig
) -> tuple[FrozenPrefix, TrainableSuffix]:
    """Prefix and suffix of an upstream as ``config`` cuts it; the expert is taken apart."""
    num_below, _ = config.place_cut(len(family.encoder(expert).layers))
    dtype = None if config.prefix_dtype == "float32" else getattr(torch, config.prefix_dtype)
    return cut_upstream(expert, family, num_below, dtype, config.exact_padding)
