"""Describe an upstream, what a configuration would train in it, and whether padding changes its output."""

from dataclasses import dataclass

import torch
from torch import nn

from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.upstream.checkpoint import Checkpoint
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.cut import cut_of, cut_upstream
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.layer_table import LayerTable, describe_prefix, describe_suffix
from espnet_wsm.upstream.load import load_upstream
from espnet_wsm.upstream.surgery import prepare_suffix

# Durations in seconds of the two utterances that are encoded alone and together.
SHORT, LONG = 0.5, 1.3


@dataclass(frozen=True)
class Inspection:
    """What ``inspect_upstream`` prints.

    Args:
        checkpoint: the upstream.
        num_layers: layers of its transformer.
        dim: their channels D.
        norms: description of the norms in the layers and in the convolutions below them.
        parameters: number of parameters, without those that only pre-training needs.
        deviations: relative difference between an utterance encoded alone and encoded beside a longer one,
            with ``exact_padding`` and without; empty when not asked for.
        table: what trains and what does not.
    """

    checkpoint: Checkpoint
    num_layers: int
    dim: int
    norms: str
    parameters: int
    deviations: tuple[float, ...]
    table: LayerTable

    def __str__(self) -> str:
        family = self.checkpoint.family
        files = ", ".join(file.name for file in self.checkpoint.files)
        rows = {
            "upstream": self.checkpoint.name,
            "family": f"{family.name} ({family.form})",
            "files": f"{files} in {self.checkpoint.files[0].parent}",
            "digest": self.checkpoint.digest,
            "layers": f"{self.num_layers} of {self.dim}",
            "norms": self.norms,
            "parameters": f"{self.parameters:,}",
        }
        if self.deviations:
            exact, plain = self.deviations
            rows["padding"] = (
                f"an utterance alone and in a padded batch differ by {exact:.1e}, relative; with "
                f"exact_padding: false by {plain:.1e}"
            )
        return "\n".join([*(f"{key:<11} {value}" for key, value in rows.items()), "", str(self.table)])


def inspect_upstream(config: WsmConfig, padding: bool = False) -> Inspection:
    """Load the upstream of ``config``, replace what ``config`` names, and count parameters.

    Args:
        config: names the upstream and what to replace.
        padding: run the upstream on noise to measure what padding does; loads it twice more.

    Raises:
        UserError: the configuration or the upstream is faulty.
    """
    expert, checkpoint = load_upstream(config.upstream, config.trust)
    family = checkpoint.family
    num_layers, dim, norms = (
        len(family.encoder(expert).layers),
        family.dim(expert),
        family.describe_norms(expert),
    )
    num_below, replaced = config.place_cut(num_layers)
    family.release(expert)
    parameters = sum(p.numel() for p in expert.parameters())
    prefix, suffix = cut_of(expert, family, config)
    kinds = prepare_suffix(suffix, replaced, dim, config)
    table = LayerTable((*describe_prefix(prefix), *describe_suffix(suffix, num_below, kinds)))
    del expert, prefix, suffix  # a large one does not fit into memory twice
    return Inspection(
        checkpoint=checkpoint,
        num_layers=num_layers,
        dim=dim,
        norms=norms,
        parameters=parameters,
        deviations=tuple(
            measure_deviation(*load_upstream(config.upstream, config.trust), exact_padding=exact)
            for exact in ((True, False) if padding else ())
        ),
        table=table,
    )


@torch.no_grad()
def measure_deviation(expert: nn.Module, checkpoint: Checkpoint, exact_padding: bool) -> float:
    """Largest difference in any hidden state between an utterance alone and beside a longer one.

    It is relative to the largest value of that state. The utterances are noise, the same in every call. The
    expert is taken apart in the process.
    """
    family: FamilyContract = checkpoint.family
    depth = len(family.encoder(expert).layers)
    prefix, suffix = cut_upstream(expert, family, depth, exact_padding=exact_padding)
    generator = torch.Generator().manual_seed(0)
    wavs = [0.1 * torch.randn(int(seconds * SAMPLE_RATE), generator=generator) for seconds in (SHORT, LONG)]

    def collect(batch: list[torch.Tensor]) -> tuple[list[torch.Tensor], int]:
        states: list[torch.Tensor] = []
        hidden, padding_mask = prefix(batch, states.append)
        frames = hidden.size(1) if padding_mask is None else int((~padding_mask[0]).sum())
        return [*states, suffix(hidden, padding_mask)], frames

    (alone, frames), (together, _) = collect(wavs[:1]), collect(wavs)
    return max(
        float((one[0, :frames] - two[0, :frames]).abs().max() / one[0, :frames].abs().max())
        for one, two in zip(alone, together, strict=True)
    )
