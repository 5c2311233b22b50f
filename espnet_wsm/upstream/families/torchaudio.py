"""ESPnet's HuBERT (torchaudio layers): batch first, an additive mask."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_wsm.upstream.families.contract import (
    EXPERIMENT_FORM,
    AdaptedMixer,
    FamilyContract,
    Waveforms,
    mark_padding,
    refuse_missing,
)

# torchaudio's own mask value for frames that must not be attended to
MASKED = -10000.0


class TorchaudioMixer(AdaptedMixer):
    """A mixing block with the signature of torchaudio's SelfAttention, which returns two values."""

    def forward(
        self,
        x: Tensor,
        attention_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        **_unused: Any,
    ) -> tuple[Tensor, None]:
        """``x`` (B, T, D); ``key_padding_mask`` (B, T) True = padded, or ``attention_mask`` (B, 1, T, T)."""
        if key_padding_mask is None and attention_mask is not None:
            key_padding_mask = attention_mask[:, 0, 0] != 0  # every query sees the same keys
        return self.mixer(x, key_padding_mask), None


@dataclass(frozen=True)
class TorchaudioFamily(FamilyContract):
    """``espnet_hubert_*``, ``cvhubert`` and ``wavlablm_*``."""

    form = EXPERIMENT_FORM
    mixer_class = TorchaudioMixer
    feed_forward = ("feed_forward",)
    attention = "attention"
    attention_input = "x"

    def load(self, files: tuple[Path, ...]) -> nn.Module:
        from espnet2.tasks.hubert import HubertTask

        checkpoint, config = files
        # Only weights, unless load_upstream trusts the file: raises where ESPnet would ask on the terminal.
        given = torch.load(checkpoint, map_location="cpu")
        # The same as S3PRL's expert, which would use a GPU if there is one, and whose hub function drops the
        # configuration.
        model, _ = HubertTask.build_model_from_file(str(config), str(checkpoint), "cpu")
        expert = nn.Module()
        expert.model = model.encoder.hubert_pretrain_model
        prefix = "encoder.hubert_pretrain_model."
        missing = [name for name in expert.model.state_dict() if prefix + name not in given]
        refuse_missing(self, checkpoint, missing)  # ESPnet loads with strict=False
        return expert

    def release(self, expert: nn.Module) -> None:
        expert.model.mask_generator = expert.model.logit_generator = None

    def encoder(self, expert: nn.Module) -> nn.Module:
        return expert.model.wav2vec2.encoder.transformer

    def convolutions(self, expert: nn.Module) -> list[nn.Conv1d]:
        return [block.conv for block in expert.model.wav2vec2.feature_extractor.conv_layers]

    def positions(self, expert: nn.Module) -> nn.Module:
        return self.encoder(expert).pos_conv_embed

    def dim(self, expert: nn.Module) -> int:
        return self.encoder(expert).layer_norm.normalized_shape[0]

    def has_final_norm(self, expert: nn.Module) -> bool:
        # torchaudio's flag says whether this norm precedes the layers, the opposite of a layer's own flag.
        return not self.encoder(expert).layer_norm_first

    def encode(self, expert: nn.Module, wavs: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        model = expert.model.wav2vec2
        batch = Waveforms.pad(wavs)
        dtype = next(model.parameters()).dtype
        frames = self.count_frames(expert, batch.lengths)
        lengths = torch.tensor(batch.lengths, device=batch.padded.device)
        hidden, _ = model(batch.padded.to(dtype), lengths)
        return hidden, mark_padding(frames, hidden)

    def prepare_run(
        self, attending: list[nn.Module], x: Tensor, padding_mask: Tensor | None, shared: nn.Module | None
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        mask = None
        if attending and padding_mask is not None:
            mask = MASKED * padding_mask[:, None, None, :].to(x.dtype)
            mask = mask.expand(-1, 1, x.size(1), -1)
        return lambda layer, x: layer(x, attention_mask=mask, key_padding_mask=padding_mask)[0]

    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        layer = self.encoder(expert).layers[0]
        feed_forward = layer.feed_forward
        return {
            "dim": layer.attention.embed_dim,
            "heads": layer.attention.num_heads,
            "attention_dropout": layer.attention.dropout,
            "dropout": layer.dropout.p,
            "layer_norm_first": layer.layer_norm_first,
            "features": feed_forward.intermediate_dense.out_features,
            "intermediate_dropout": feed_forward.intermediate_dropout.p,
            "output_dropout": feed_forward.output_dropout.p,
        }

    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        from torchaudio.models.wav2vec2.components import EncoderLayer, FeedForward, SelfAttention

        d = description
        return nn.ModuleList(
            EncoderLayer(
                SelfAttention(d["dim"], d["heads"], d["attention_dropout"]),
                d["dropout"],
                d["layer_norm_first"],
                FeedForward(d["dim"], d["features"], d["intermediate_dropout"], d["output_dropout"]),
            )
            for _ in range(count)
        )
