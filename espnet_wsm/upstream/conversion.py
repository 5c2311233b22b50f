"""Blocks in the place of attention that were learnt without labels: how an upstream gets its own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically
from espnet_wsm.upstream.config import IMMATERIAL, WsmConfig
from espnet_wsm.upstream.conversion_record import ANEW, BLOCKS_FILE, CONVERTED_FILE, Conversion
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.mixers import MIXERS, AttentionSlot
from espnet_wsm.upstream.replacing import replace_modules

# Fields of WsmConfig that shape no block once it has learnt, beside those that no block depends on.
DECIDED = ("num_replaced", "layers", "init", "prefix_dtype", "suffix_dtype")


def record_conversion(
    folder: Path, config: WsmConfig, digest: str, layers: Sequence[int], shape: Mapping[str, Any]
) -> Conversion:
    """The record of a conversion.

    Args:
        folder: that is to hold it.
        config: its parent, its mixer and, as lists for each layer, its windows.
        digest: of the parent.
        layers: numbers of the layers that have blocks.
        shape: see :class:`Conversion`.
    """
    place = Path(config.upstream)
    parent = os.path.relpath(place.resolve(), folder.resolve()) if place.exists() else config.upstream
    blocks = {name: value for name, value in asdict(config).items() if name not in (*IMMATERIAL, *DECIDED)}
    return Conversion(parent, digest, tuple(layers), blocks, shape)


def put_blocks(
    conversion: Conversion, layers: Mapping[int, nn.Module], family: FamilyContract, dim: int
) -> None:
    """Put new blocks in the place of attention; their weights are to be loaded.

    Args:
        conversion: says which.
        layers: layers of the upstream by their numbers; those without a block are left as they are.
        family: their contract.
        dim: channels D.
    """
    for place, number in enumerate(conversion.layers):
        if number not in layers:
            continue
        conf, layer = dict(conversion.blocks), layers[number]
        if conf["mixer"] == "wsm_heads":
            conf["windows"] = conf["windows"][place]
        config = WsmConfig(conversion.parent, init="random", **conf)
        block = MIXERS[config.mixer](AttentionSlot(layer, dim, family), config)
        setattr(layer, family.attention, block.train(layer.training))


class NoPositions(nn.Module):
    """In the place of the convolution that gives positions: nothing is added."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros of the form of ``x``."""
        return torch.zeros_like(x)


def drop_positions(expert: nn.Module, family: FamilyContract) -> None:
    """Take away the convolution that gives positions below the layers.

    Raises:
        UserError: there is none.
    """
    positions = family.positions(expert)
    if positions is None:
        raise UserError(
            f"{family.name} upstreams have no convolution for positions that could be dropped: keep them"
        )
    replace_modules(expert, {id(positions): NoPositions()})


def _name_states(
    conversion: Conversion, layers: Sequence[nn.Module], family: FamilyContract
) -> dict[str, Any]:
    """The tensors of all blocks by their names in the file."""
    return {
        f"{number}.{name}": value
        for number in conversion.layers
        for name, value in getattr(layers[number - 1], family.attention).state_dict().items()
    }


def write_upstream(
    folder: Path, conversion: Conversion, layers: Sequence[nn.Module], family: FamilyContract
) -> None:
    """Make a folder an upstream.

    Args:
        folder: where.
        conversion: its record.
        layers: all layers of the upstream, with the blocks.
        family: their contract.
    """
    states = _name_states(conversion, layers, family)
    states = {name: value.detach().cpu().contiguous() for name, value in states.items()}
    write_atomically(folder / BLOCKS_FILE, lambda temporary: save_file(states, temporary))
    conversion.write(folder)  # last: it makes the folder an upstream


def load_blocks(expert: nn.Module, conversion: Conversion, family: FamilyContract, folder: Path) -> None:
    """Give a loaded parent the blocks of the upstream in ``folder``.

    Raises:
        UserError: their weights are missing, damaged, or those of other blocks.
    """
    layers, file = family.encoder(expert).layers, folder / BLOCKS_FILE
    put_blocks(conversion, dict(enumerate(layers, start=1)), family, family.dim(expert))
    if not conversion.positions:
        drop_positions(expert, family)
    try:
        states = load_file(file)
        if other := states.keys() ^ _name_states(conversion, layers, family).keys():
            raise ValueError(f"it has other tensors, the first is {min(other)}")
        for number in conversion.layers:
            own = {
                name.removeprefix(f"{number}."): value
                for name, value in states.items()
                if name.startswith(f"{number}.")
            }
            getattr(layers[number - 1], family.attention).load_state_dict(own)
    except Exception as error:  # safetensors raises its own class, torch RuntimeError
        reason = " ".join(str(error).split())
        raise UserError(f"{file} does not fit {CONVERTED_FILE} ({reason}): {ANEW}") from error
