"""Replace the self-attention of the last k layers, freeze the rest, and report both."""

from dataclasses import dataclass

from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.families import FamilyContract
from espnet_wsm.upstream.mixers import MIXERS, AttentionSlot


@dataclass(frozen=True)
class ReportRow:
    """One part of the upstream: what mixes there, and how many of its parameters train."""

    part: str
    mixing: str
    trained: int
    frozen: int


@dataclass(frozen=True)
class SurgeryReport:
    """What the surgery did, part by part from the bottom to the top."""

    family: str
    rows: tuple[ReportRow, ...]

    @property
    def trained(self) -> int:
        """Number of parameters that train."""
        return sum(row.trained for row in self.rows)

    @property
    def frozen(self) -> int:
        """Number of parameters that do not."""
        return sum(row.frozen for row in self.rows)

    def __str__(self) -> str:
        rows = [(row.part, row.mixing, f"{row.trained:,}", f"{row.frozen:,}") for row in self.rows]
        rows.append(("total", self.family, f"{self.trained:,}", f"{self.frozen:,}"))
        return "\n".join(
            f"{part:<12} {mixing:<17} {trained:>13} {frozen:>13}"
            for part, mixing, trained, frozen in [("part", "mixing", "trained", "frozen"), *rows]
        )


def replace_last_attention(expert: nn.Module, family: FamilyContract, config: WsmConfig) -> SurgeryReport:
    """Put ``config.mixer`` in place of the self-attention of the last k layers, in place.

    Only the attention module of a layer is exchanged, never the layer: S3PRL's hooks hang on the layers,
    and the upstream's own forward goes on working. Everything is frozen but what ``config.trainable`` names.

    Args:
        expert: S3PRL's expert, as ``load_upstream`` returns it.
        family: its contract.
        config: which layers, which mixer, what trains.

    Raises:
        UserError: the upstream has fewer than ``config.num_replaced`` layers, or a size does not fit it.
    """
    encoder = family.encoder(expert)
    depth = len(encoder.layers)
    if config.num_replaced > depth:
        raise UserError(
            f"num_replaced is {config.num_replaced}, but {config.upstream} has only {depth} layers"
        )

    expert.requires_grad_(False)
    for layer in encoder.layers[depth - config.num_replaced :]:
        slot = AttentionSlot(getattr(layer, family.attention), family.dim(expert), family.adapt)
        try:
            block = MIXERS[config.mixer](slot, config)
        except ValueError as error:
            raise UserError(f"mixer {config.mixer} does not fit {config.upstream}: {error}") from error
        setattr(layer, family.attention, block)
        (layer if config.trainable == "layer" else block).requires_grad_(True)
    if config.trainable == "layer" and family.has_final_norm(expert):
        encoder.layer_norm.requires_grad_(True)
    return _report(expert, family, config)


def _report(expert: nn.Module, family: FamilyContract, config: WsmConfig) -> SurgeryReport:
    encoder = family.encoder(expert)
    depth = len(encoder.layers)
    rows = []
    for index, layer in enumerate(encoder.layers):
        mixing = config.mixer if index >= depth - config.num_replaced else "frozen attention"
        rows.append(_row(f"layer {index + 1}", mixing, layer.parameters()))
    inside = {id(p) for p in encoder.layers.parameters()}
    rest = [p for p in expert.parameters() if id(p) not in inside]
    norm = list(encoder.layer_norm.parameters()) if family.has_final_norm(expert) else []
    above = {id(p) for p in norm}
    rows.insert(0, _row("below", "-", [p for p in rest if id(p) not in above]))
    if norm:
        rows.append(_row("final norm", "-", norm))
    return SurgeryReport(family.name, tuple(rows))


def _row(part: str, mixing: str, parameters) -> ReportRow:
    parameters = list(parameters)
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return ReportRow(part, mixing, trained, sum(p.numel() for p in parameters) - trained)
