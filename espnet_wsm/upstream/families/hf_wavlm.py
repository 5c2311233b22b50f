"""WavLM in transformers: as in S3PRL's, the lowest layer computes a relative position bias for all layers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from espnet_wsm.upstream.families.contract import AdaptedMixer
from espnet_wsm.upstream.families.hf import HfFamily, read_padding_mask
from espnet_wsm.upstream.families.wavlm import SharesBias, make_bias


class HfWavlmMixer(AdaptedMixer):
    """A mixing block with the signature of ``WavLMAttention``: three values out, the bias passed on."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        **_unused: Any,
    ) -> tuple[Tensor, None, Tensor | None]:
        """``hidden_states`` (B, T, D); ``attention_mask`` (B, T) True = valid, or None."""
        return self.mixer(hidden_states, read_padding_mask(attention_mask)), None, position_bias


@dataclass(frozen=True)
class HfWavlmFamily(SharesBias, HfFamily):
    """``model_type: wavlm``."""

    mixer_class = HfWavlmMixer
    ones = ("gru_rel_pos_const",)
    calls_projections = False
    attention_class = "transformers.models.wavlm.modeling_wavlm:WavLMAttention"
    bias_table = "rel_attn_embed"

    def adds_positions(self, attention: nn.Module) -> bool:
        return True

    def prepare_run(
        self, attending: list[nn.Module], x: Tensor, padding_mask: Tensor | None, shared: nn.Module | None
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        bias = make_bias(shared, attending, x)
        valid = None if padding_mask is None else ~padding_mask
        return lambda layer, x: layer(x, attention_mask=valid, position_bias=bias)[0]

    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        layers = super().build_layers(description, count)
        for layer in layers:
            layer.attention._modules.pop(self.bias_table, None)  # build_shared makes it
        return layers
