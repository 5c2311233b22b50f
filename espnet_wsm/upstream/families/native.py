"""S3PRL's own wav2vec 2.0 and HuBERT (fairseq layers): time first, keyword ``key_padding_mask``."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.contract import FamilyContract, pad_waveforms


class FairseqMixer(nn.Module):
    """A mixing block behind the signature of fairseq's MultiheadAttention: (T, B, D) in, two values out."""

    def __init__(self, mixer: nn.Module):
        super().__init__()
        self.mixer = mixer

    def forward(
        self, query: Tensor, key_padding_mask: Tensor | None = None, **_unused: Any
    ) -> tuple[Tensor, None]:
        """``query`` (T, B, D), ``key_padding_mask`` (B, T) True = padded; key, value and weights unused."""
        return self.mixer(query.transpose(0, 1), key_padding_mask).transpose(0, 1), None


@dataclass(frozen=True)
class NativeFamily(FamilyContract):
    """``hubert*``, ``wav2vec2*``, ``xlsr_53`` and ``xls_r_*`` with transformer layers."""

    @property
    def attention(self) -> str:
        return "self_attn"

    def check_path(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(
                f"{path} is not a checkpoint of {self.name}: expected one file with task_cfg, model_cfg and "
                "model_weight, as S3PRL's converter writes it"
            )

    def check_expert(self, expert: nn.Module) -> None:
        layer = self.encoder(expert).layers[0]
        if type(layer).__name__ != "TransformerSentenceEncoderLayer":
            raise UserError(
                f"{self.name} upstreams with {type(layer).__name__} layers are not supported, only those "
                "with transformer layers"
            )

    def check_weights(self, expert: nn.Module, path: Path) -> None:
        """Nothing to check: S3PRL loads these strictly."""

    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        layer = self.encoder(expert).layers[0]
        return {
            "embedding_dim": layer.embedding_dim,
            "ffn_embedding_dim": layer.fc1.out_features,
            "num_attention_heads": layer.self_attn.num_heads,
            "dropout": layer.dropout1.p,
            "attention_dropout": layer.self_attn.dropout_module.p,
            "activation_dropout": layer.dropout2.p,
            "activation_fn": layer.activation_fn.__name__,
            "layer_norm_first": layer.layer_norm_first,
        }

    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        from s3prl.upstream.wav2vec2.wav2vec2_model import TransformerSentenceEncoderLayer

        return nn.ModuleList(TransformerSentenceEncoderLayer(**description) for _ in range(count))

    def dim(self, expert: nn.Module) -> int:
        return self.encoder(expert).embedding_dim

    def has_final_norm(self, expert: nn.Module) -> bool:
        return self.encoder(expert).layer_norm_first

    def adapt(self, mixer: nn.Module) -> nn.Module:
        return FairseqMixer(mixer)

    def release(self, expert: nn.Module) -> None:
        # Hooks stay registered on a layer that moves out of the upstream, and would keep every activation.
        expert.remove_all_hooks()
        expert.model.remove_pretraining_modules()

    def run(self, expert: nn.Module, wavs: list[Tensor]) -> None:
        # As S3PRL's experts, but for the padding.
        normalise = expert.wav_normalize if hasattr(expert, "wav_normalize") else expert.task_cfg.normalize
        if normalise:
            wavs = [nn.functional.layer_norm(wav, wav.shape) for wav in wavs]
        padded, valid = pad_waveforms(wavs)
        weight = next(expert.parameters())
        expert.model.extract_features(padded.to(weight.dtype), padding_mask=~valid, mask=False)

    def read_encoder_call(self, kwargs: dict[str, Any], output: Any) -> tuple[Tensor, Tensor | None]:
        return output[0], kwargs["padding_mask"]

    def read_layer_input(self, args: tuple[Any, ...]) -> Tensor:
        return args[0].transpose(0, 1)

    def run_layers(
        self,
        layers: Iterable[nn.Module],
        x: Tensor,
        padding_mask: Tensor | None,
        on_input: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        x = x.transpose(0, 1)  # (T, B, D)
        for layer in layers:
            if on_input is not None:
                on_input(x.transpose(0, 1))
            x, _ = layer(x, self_attn_padding_mask=padding_mask)
        return x.transpose(0, 1)  # (B, T, D)
