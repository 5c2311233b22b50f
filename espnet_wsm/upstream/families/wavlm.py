"""S3PRL's WavLM and UniSpeech-SAT: fairseq layers that share a relative position bias."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class WavlmFamily(FairseqFamily):
    """``wavlm*`` with relative positions, ``unispeech_sat*`` without.

    Args:
        relative_positions: whether attention adds the relative position bias.
    """

    relative_positions: bool = True

    mixer_class = WavlmMixer
    ones = ("grep_a",)

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

    def share(self, lowest: nn.Module, stays_below: bool) -> PositionBias | None:
        from s3prl.upstream.wavlm.modules import MultiheadAttention

        return share_bias(lowest.self_attn, stays_below, MultiheadAttention, "relative_attention_bias")

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
        return {
            "embedding_dim": layer.embedding_dim,
            "ffn_embedding_dim": layer.fc1.out_features,
            "num_attention_heads": attention.num_heads,
            "dropout": layer.dropout1.p,
            "attention_dropout": attention.dropout_module.p,
            "activation_dropout": layer.dropout2.p,
            "activation_fn": layer.activation_name,
            "layer_norm_first": layer.layer_norm_first,
            "num_buckets": attention.num_buckets,
            "max_distance": attention.max_distance,
            "rescale_init": attention.k_proj.bias is None,
            "gru_rel_pos": attention.gru_rel_pos,
        }

    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        from s3prl.upstream.wavlm.WavLM import TransformerSentenceEncoderLayer

        return nn.ModuleList(TransformerSentenceEncoderLayer(**description) for _ in range(count))

    def build_shared(self, description: dict[str, int]) -> PositionBias:
        from s3prl.upstream.wavlm.modules import MultiheadAttention

        return build_bias(description, MultiheadAttention, "relative_attention_bias")


def share_bias(
    attention: nn.Module, stays_below: bool, attention_class: type, attribute: str
) -> PositionBias | None:
    """A bias with a copy of the lowest layer's table, or the table itself if the layer goes above the cut."""
    table = getattr(attention, attribute, None)
    if table is None:
        return None
    if stays_below:
        table = copy.deepcopy(table)
    else:
        setattr(attention, attribute, None)
        attention.has_relative_attention_bias = False
    return PositionBias(attention_class, attribute, table, attention.max_distance)


def build_bias(description: dict[str, int], attention_class: type, attribute: str) -> PositionBias:
    """A bias of these sizes, with an undefined table."""
    table = nn.Embedding(description["num_buckets"], description["num_heads"])
    return PositionBias(attention_class, attribute, table, description["max_distance"])


def make_bias(shared: nn.Module | None, attending: list[nn.Module], x: Tensor) -> Tensor | None:
    """The bias for (B, T, D) states; None if no layer attends, as it takes T x T memory."""
    return shared(x.size(0), x.size(1)).to(x.dtype) if attending and shared is not None else None
