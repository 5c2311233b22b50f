"""S3PRL's WavLM and UniSpeech-SAT: fairseq layers that share a relative position bias."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar

from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.contract import AdaptedMixer
from espnet_wsm.upstream.families.fairseq import FairseqFamily


class WavlmMixer(AdaptedMixer):
    """A mixing block with the signature of WavLM's MultiheadAttention, which returns three values.

    It passes on the position bias, which it does not use itself, for attention in a layer above.
    """

    def forward(
        self,
        query: Tensor,
        key_padding_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        **_unused: Any,
    ) -> tuple[Tensor, None, Tensor | None]:
        """``query`` (T, B, D), ``key_padding_mask`` (B, T) True = padded, ``position_bias`` passed on."""
        mixed = self.mixer(query.transpose(0, 1), key_padding_mask).transpose(0, 1)
        return mixed, None, position_bias


class PositionBias(nn.Module):
    """The relative position bias, without the layer that computes it.

    WavLM computes it in its lowest layer and passes it on, so layers above a cut would lack it. The table of
    biases stays as pretrained, above the cut as well as below it (our choice: one table serves all layers).

    Args:
        attention_class: has the computation (``compute_bias``), which reads the table of its instance.
        attribute: name under which it reads the table.
        table: (buckets, heads) biases.
        max_distance: distance of the last bucket, in frames.
    """

    def __init__(self, attention_class: type, attribute: str, table: nn.Embedding, max_distance: int):
        super().__init__()
        self._attention_class = attention_class
        self._attribute = attribute
        setattr(self, attribute, table)
        self.num_buckets = table.num_embeddings
        self.max_distance = max_distance

    def _relative_positions_bucket(self, *args: Any, **kwargs: Any) -> Tensor:
        return self._attention_class._relative_positions_bucket(self, *args, **kwargs)

    def forward(self, batch: int, frames: int) -> Tensor:
        """(batch x heads, frames, frames) biases."""
        bias = self._attention_class.compute_bias(self, frames, frames)
        return bias.unsqueeze(0).expand(batch, -1, -1, -1).reshape(-1, frames, frames)

    def describe(self) -> dict[str, int]:
        """Sizes, for JSON."""
        table = getattr(self, self._attribute)
        return {
            "num_buckets": self.num_buckets,
            "num_heads": table.embedding_dim,
            "max_distance": self.max_distance,
        }


class SharesBias:
    """For contracts of families whose lowest layer computes the relative position bias of all layers."""

    # Where the class of their attention is; its attribute with the table, which the lowest layer's alone has.
    attention_class: ClassVar[str]
    bias_table: ClassVar[str]

    def share(self, lowest: nn.Module, stays_below: bool) -> PositionBias | None:
        """A bias with a copy of the lowest layer's table, or the table itself if it goes above the cut."""
        attention = getattr(lowest, self.attention)
        table = getattr(attention, self.bias_table, None)
        if table is None:
            return None
        if stays_below:
            table = copy.deepcopy(table)
        else:
            setattr(attention, self.bias_table, None)
            attention.has_relative_attention_bias = False
        return PositionBias(
            resolve_name(self.attention_class), self.bias_table, table, attention.max_distance
        )

    def build_shared(self, description: dict[str, int]) -> PositionBias:
        """A bias of these sizes, with an undefined table."""
        table = nn.Embedding(description["num_buckets"], description["num_heads"])
        attention_class = resolve_name(self.attention_class)
        return PositionBias(attention_class, self.bias_table, table, description["max_distance"])


@dataclass(frozen=True)
class WavlmFamily(SharesBias, FairseqFamily):
    """``wavlm*`` with relative positions, ``unispeech_sat*`` without.

    Args:
        relative_positions: whether attention adds the relative position bias.
    """

    relative_positions: bool = True

    mixer_class = WavlmMixer
    ones = ("grep_a",)
    layer_class = "s3prl.upstream.wavlm.WavLM:TransformerSentenceEncoderLayer"
    attention_class = "s3prl.upstream.wavlm.modules:MultiheadAttention"
    bias_table = "relative_attention_bias"

    def recognise(self, checkpoint: Mapping[str, Any]) -> bool:
        if not {"cfg", "model"} <= checkpoint.keys():
            return False
        # fairseq's own checkpoints have these keys too, but a different cfg
        return "encoder_layers" in (checkpoint["cfg"] or ()) and self.mark(checkpoint)

    def check_expert(self, expert: nn.Module) -> None:
        super().check_expert(expert)
        if self.encoder(expert).layers[0].activation_name == "glu":
            raise UserError(f"{self.name} upstreams with gated linear units (glu) are not supported")

    def normalises(self, expert: nn.Module) -> bool:
        return expert.cfg.normalize

    def adds_positions(self, attention: nn.Module) -> bool:
        return self.relative_positions

    def run_encoder(self, encoder: nn.Module, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        return encoder(x, padding_mask)[0]  # keeps no list of states

    def prepare_run(
        self, attending: list[nn.Module], x: Tensor, padding_mask: Tensor | None, shared: nn.Module | None
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        bias = make_bias(shared, attending, x)

        def run(layer: nn.Module, x: Tensor) -> Tensor:
            x, _, _ = layer(x.transpose(0, 1), self_attn_padding_mask=padding_mask, pos_bias=bias)
            return x.transpose(0, 1)

        return run

    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        layer = self.encoder(expert).layers[0]
        attention = layer.self_attn
        return super().describe_layers(expert) | {
            "activation_fn": layer.activation_name,
            "num_buckets": attention.num_buckets,
            "max_distance": attention.max_distance,
            "rescale_init": attention.k_proj.bias is None,
            "gru_rel_pos": attention.gru_rel_pos,
        }


def make_bias(shared: nn.Module | None, attending: list[nn.Module], x: Tensor) -> Tensor | None:
    """The bias for (B, T, D) states; None if no layer attends, as it takes T x T memory."""
    return shared(x.size(0), x.size(1)).to(x.dtype) if attending and shared is not None else None
