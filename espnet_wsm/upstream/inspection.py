"""What an upstream is, what a configuration would make of it, and whether padding reaches its utterances."""

from dataclasses import dataclass

import torch
from torch import nn

from espnet_wsm.upstream.checkpoint import Checkpoint
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.cut import cut_upstream
from espnet_wsm.upstream.families import FamilyContract
from espnet_wsm.upstream.load import load_upstream
from espnet_wsm.upstream.stored_cut import cut_of
from espnet_wsm.upstream.surgery import LayerTable, describe_prefix, describe_suffix, prepare_suffix

# Of the two utterances that are encoded alone and together, in seconds.
SHORT, LONG = 0.5, 1.3
SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Inspection:
    """What ``inspect_upstream`` prints.

    Args:
        checkpoint: the upstream.
        num_layers: layers of its transformer.
        dim: their channels D.
        is_pre_norm: whether layers normalise their input (and a final norm follows) or their output.
        front: the norm in the convolutions in front.
        parameters: their number, without what only pre-training needs.
        deviation: of an utterance beside a longer one from itself alone, relative, with ``exact_padding``.
        plain_deviation: the same without; None where there is nothing that it would change.
        table: what trains and what does not.
    """

    checkpoint: Checkpoint
    num_layers: int
    dim: int
    is_pre_norm: bool
    front: str
    parameters: int
    deviation: float
    plain_deviation: float | None
    table: LayerTable

    def __str__(self) -> str:
        family = self.checkpoint.family
        files = ", ".join(file.name for file in self.checkpoint.files)
        padding = f"alone and in a padded batch differ by {self.deviation:.1e}"
        if self.plain_deviation is not None:
            padding += f", with exact_padding: false by {self.plain_deviation:.1e}"
        rows = {
            "upstream": self.checkpoint.name,
            "family": f"{family.name} ({family.form})",
            "files": f"{files} in {self.checkpoint.files[0].parent}",
            "digest": self.checkpoint.digest,
            "layers": f"{self.num_layers} of {self.dim}, {'pre' if self.is_pre_norm else 'post'}-norm",
            "front": self.front,
            "parameters": f"{self.parameters:,}",
            "padding": f"hidden states {padding} (relative)",
        }
        return "\n".join([*(f"{key:<11} {value}" for key, value in rows.items()), "", str(self.table)])


def inspect_upstream(config: WsmConfig) -> Inspection:
    """Load the upstream of ``config``, measure what padding does to it, and replace what ``config`` says.

    Raises:
        UserError: from the configuration or the upstream.
    """
    expert, checkpoint = load_upstream(config.upstream, config.trust)
    family = checkpoint.family
    num_layers, dim = len(family.encoder(expert).layers), family.dim(expert)
    is_pre_norm = family.has_final_norm(expert)
    has_group_norm = any(isinstance(module, nn.GroupNorm) for module in expert.modules())
    reaches_over_time = has_group_norm or any(True for _ in family.position_convolutions(expert))
    num_below, replaced = config.place_cut(num_layers)
    family.release(expert)
    parameters = sum(p.numel() for p in expert.parameters())
    prefix, suffix = cut_of(expert, family, config)
    kinds = prepare_suffix(suffix, replaced, dim, config)
    table = LayerTable((*describe_prefix(prefix), *describe_suffix(suffix, num_below, kinds)))
    del expert, prefix, suffix  # large ones do not fit twice
    deviations = [
        measure_deviation(*load_upstream(config.upstream, config.trust), exact_padding=exact)
        for exact in ((True, False) if reaches_over_time else (True,))
    ]
    return Inspection(
        checkpoint,
        num_layers,
        dim,
        is_pre_norm,
        "group norm in the first convolution" if has_group_norm else "layer norm",
        parameters,
        deviations[0],
        deviations[1] if reaches_over_time else None,
        table,
    )


@torch.no_grad()
def measure_deviation(expert: nn.Module, checkpoint: Checkpoint, exact_padding: bool) -> float:
    """Largest difference of any hidden state of an utterance alone and beside a longer one.

    Relative to the largest value of that state. The utterances are noise, the same on each call. The expert
    is taken apart.
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
