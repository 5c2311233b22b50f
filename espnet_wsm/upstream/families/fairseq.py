"""S3PRL's own wav2vec 2.0, HuBERT and data2vec (fairseq layers): time first, ``key_padding_mask``."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.contract import AdaptedMixer, FileFamily, Waveforms, mark_padding


class FairseqMixer(AdaptedMixer):
    """A mixing block with the signature of fairseq's MultiheadAttention: (T, B, D) in, two values out."""

    def forward(
        self, query: Tensor, key_padding_mask: Tensor | None = None, **_unused: Any
    ) -> tuple[Tensor, None]:
        """``query`` (T, B, D), ``key_padding_mask`` (B, T) True = padded; key, value and weights unused."""
        return self.mixer(query.transpose(0, 1), key_padding_mask).transpose(0, 1), None


@dataclass(frozen=True)
class FairseqFamily(FileFamily):
    """``wav2vec2*``, ``xlsr_53``, ``xls_r_*``, ``hubert*`` and ``data2vec*`` with transformer layers.

    Args:
        mark: tells from a file's content whether it belongs to this family.
        masks_always: whether S3PRL passes the encoder a padding mask even if nothing is padded (this decides
            which kernel computes attention, and so the last bits of the result).
    """

    mark: Callable[[Mapping[str, Any]], bool] = lambda content: True
    masks_always: bool = False

    mixer_class = FairseqMixer
    feed_forward = ("fc1", "fc2")
    attention = "self_attn"
    attention_input = "query"
    calls_projections = False
    # Where S3PRL has the layer; importing it takes seconds.
    layer_class: ClassVar[str] = "s3prl.upstream.wav2vec2.wav2vec2_model:TransformerSentenceEncoderLayer"

    def recognise(self, checkpoint: Mapping[str, Any]) -> bool:
        return {"task_cfg", "model_cfg", "model_weight"} <= checkpoint.keys() and self.mark(checkpoint)

    def check_expert(self, expert: nn.Module) -> None:
        found, expected = type(self.encoder(expert).layers[0]).__name__, "TransformerSentenceEncoderLayer"
        if found != expected:
            raise UserError(
                f"{self.name} upstreams with {found} layers are not supported, only those with {expected} "
                "layers; a convolution over time or batch statistics inside a layer would make an utterance "
                "depend on its padding"
            )
        model = self.model(expert)
        if getattr(model, "input_quantizer", None) is not None:
            raise UserError(f"{self.name} upstreams that quantise their input are not supported")
        if getattr(model, "crop_seq_to_multiple", 1) != 1:
            raise UserError(f"{self.name} upstreams that crop time (crop_seq_to_multiple) are not supported")

    def release(self, expert: nn.Module) -> None:
        # Hooks stay registered on a layer that is moved out of the upstream, and would keep every activation.
        expert.remove_all_hooks()
        if hasattr(expert.model, "remove_pretraining_modules"):
            expert.model.remove_pretraining_modules()

    def model(self, expert: nn.Module) -> nn.Module:
        """The module that has ``feature_extractor`` and ``encoder``."""
        return expert.model

    def encoder(self, expert: nn.Module) -> nn.Module:
        return self.model(expert).encoder

    def extractor(self, expert: nn.Module) -> nn.Module:
        return self.model(expert).feature_extractor

    def convolutions(self, expert: nn.Module) -> list[nn.Conv1d]:
        return [block[0] for block in self.model(expert).feature_extractor.conv_layers]

    def positions(self, expert: nn.Module) -> nn.Module:
        return self.encoder(expert).pos_conv

    def position_convolutions(self, expert: nn.Module) -> Iterable[nn.Module]:
        # data2vec has a stack of blocks here, the others one convolution with its activation.
        blocks = self.positions(expert)
        return blocks if isinstance(blocks, nn.Sequential) and isinstance(blocks[0], nn.Sequential) else ()

    def dim(self, expert: nn.Module) -> int:
        return self.encoder(expert).embedding_dim

    def has_final_norm(self, expert: nn.Module) -> bool:
        return self.encoder(expert).layer_norm_first

    def normalises(self, expert: nn.Module) -> bool:
        return expert.wav_normalize if hasattr(expert, "wav_normalize") else expert.task_cfg.normalize

    def embed(self, model: nn.Module, padded: Tensor) -> Tensor:
        """(B, N) waveforms to the (B, T, D) input of the encoder."""
        features = model.layer_norm(model.feature_extractor(padded).transpose(1, 2))
        return features if model.post_extract_proj is None else model.post_extract_proj(features)

    def encode(self, expert: nn.Module, wavs: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        # The same as S3PRL's experts, except for the padding mask: HuBERT and WavLM round the length up by a
        # frame, and the utterance would then see its padding.
        if self.normalises(expert):
            wavs = [nn.functional.layer_norm(wav, wav.shape) for wav in wavs]
        batch = Waveforms.pad(wavs)
        model = self.model(expert)
        x = self.embed(model, batch.padded.to(next(model.parameters()).dtype))
        frames = self.count_frames(expert, batch.lengths)
        padding_mask = mark_padding(frames, x)
        given = padding_mask
        if given is None and self.masks_always:
            given = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        return self.run_encoder(model.encoder, x, given), padding_mask

    def run_encoder(self, encoder: nn.Module, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Run the encoder on its input (B, T, D), without keeping two states of every layer in a list."""
        states = encoder.extract_features(x, padding_mask, min_layer=len(encoder.layers))[0]
        return encoder.layer_norm(states) if encoder.layer_norm_first else states

    def read_layer_input(self, args: tuple[Any, ...]) -> Tensor:
        return args[0].transpose(0, 1)

    def attention_dropout(self, attention: nn.Module) -> float:
        return attention.dropout_module.p

    def prepare_run(
        self, attending: list[nn.Module], x: Tensor, padding_mask: Tensor | None, shared: nn.Module | None
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        return lambda layer, x: layer(x.transpose(0, 1), self_attn_padding_mask=padding_mask)[0].transpose(
            0, 1
        )

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
        layer_class = resolve_name(self.layer_class)
        return nn.ModuleList(layer_class(**description) for _ in range(count))
