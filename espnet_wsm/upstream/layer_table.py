"""The table of a model's parts: what trains and what does not."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from espnet_wsm.upstream.prefix import FrozenPrefix
from espnet_wsm.upstream.suffix import TrainableSuffix


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


def describe_prefix(prefix: FrozenPrefix) -> tuple[LayerRow, ...]:
    """The rows of a prefix: what lies below its layers, and each layer."""
    layers = prefix.family.encoder(prefix.expert).layers
    above = sum(p.numel() for p in layers.parameters())
    everything = sum(p.numel() for p in prefix.parameters())
    rows = [LayerRow("below", "frozen", 0, everything - above)]
    for number, layer in enumerate(layers, start=1):
        kind = "frozen, converted" if prefix.family.has_block(layer) else "frozen attention"
        rows.append(describe_part(f"layer {number}", kind, layer))
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
