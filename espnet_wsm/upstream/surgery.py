"""Replace the self-attention of the layers above the cut, freeze the rest, and report what trains."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.cut import FrozenPrefix, TrainableSuffix
from espnet_wsm.upstream.families import FamilyContract
from espnet_wsm.upstream.mixers import DROP, MIXERS, AttentionSlot


@dataclass(frozen=True)
class LayerRow:
    """One part of a model: what it is, and how many of its parameters train."""

    layer: str
    kind: str
    trainable: int
    parameters: int


@dataclass(frozen=True)
class LayerTable:
    """What trains and what does not, from the bottom of a model to its top."""

    rows: tuple[LayerRow, ...]

    @property
    def trainable(self) -> int:
        """Number of parameters that train."""
        return sum(row.trainable for row in self.rows)

    @property
    def parameters(self) -> int:
        """Number of all parameters."""
        return sum(row.parameters for row in self.rows)

    def __str__(self) -> str:
        rows = [(row.layer, row.kind, f"{row.trainable:,}", f"{row.parameters:,}") for row in self.rows]
        rows.append(("total", "", f"{self.trainable:,}", f"{self.parameters:,}"))
        return "\n".join(
            f"{layer:<16} | {kind:<24} | {trainable:>13} | {parameters:>13}"
            for layer, kind, trainable, parameters in [("layer", "kind", "trainable", "parameters"), *rows]
        )


def describe_part(layer: str, kind: str, module: nn.Module) -> LayerRow:
    """Count the parameters of one part of a model."""
    parameters = list(module.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return LayerRow(layer, kind, trainable, sum(p.numel() for p in parameters))


def replace_attention(
    layers: Iterable[nn.Module], family: FamilyContract, dim: int, config: WsmConfig
) -> None:
    """Replace the self-attention of ``layers`` by ``config.mixer``, in place.

    Only modules inside a layer are replaced (its attention; with ``reset`` its feed-forward too), never the
    layer itself: S3PRL registers its hooks on the layers, and an upstream that still holds them keeps
    working. Everything in the layers is frozen except what ``config.trainable`` names.

    Args:
        layers: layers of the upstream, still part of it or cut off.
        family: its contract.
        dim: channels of the upstream.
        config: which mixer, what trains.

    Raises:
        UserError: a size does not fit the upstream.
    """
    for layer in layers:
        layer.requires_grad_(config.trainable != "mixer")
        slot = AttentionSlot(layer, dim, family)
        try:
            block = MIXERS[config.mixer](slot, config)
        except ValueError as error:
            raise UserError(f"mixer {config.mixer} does not fit {config.upstream}: {error}") from error
        setattr(layer, family.attention, block)


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
    kinds = {i: config.mixer if i in replaced else "attention" for i in range(len(suffix.layers))}
    if config.mixer == DROP:
        suffix.layers = nn.ModuleList(layer for i, layer in enumerate(suffix.layers) if i not in replaced)
        kinds = {i: kind for i, kind in kinds.items() if kind != DROP}
    else:
        replace_attention([suffix.layers[i] for i in replaced], suffix.family, dim, config)
    if suffix.final_norm is not None and replaced:
        suffix.final_norm.requires_grad_(config.trainable != "mixer")
    if suffix.shared is not None:
        suffix.shared.requires_grad_(False)
    return kinds


def describe_prefix(prefix: FrozenPrefix) -> tuple[LayerRow, ...]:
    """The rows of a prefix: what lies below its layers, and each layer."""
    layers = prefix.family.encoder(prefix.expert).layers
    above = sum(p.numel() for p in layers.parameters())
    everything = sum(p.numel() for p in prefix.parameters())
    rows = [LayerRow("below", "frozen", 0, everything - above)]
    rows += [describe_part(f"layer {i}", "frozen attention", layer) for i, layer in enumerate(layers, 1)]
    return tuple(rows)


def describe_suffix(
    suffix: TrainableSuffix, num_below: int, kinds: Mapping[int, str]
) -> tuple[LayerRow, ...]:
    """The rows of a suffix above ``num_below`` layers, after ``prepare_suffix``, which gives the kinds."""
    rows = [
        describe_part(f"layer {num_below + 1 + i}", kind, layer)
        for layer, (i, kind) in zip(suffix.layers, kinds.items(), strict=True)
    ]
    if suffix.shared is not None:
        rows.append(describe_part("shared", "position bias", suffix.shared))
    if suffix.final_norm is not None:
        rows.append(describe_part("final norm", "layer norm", suffix.final_norm))
    return tuple(rows)
