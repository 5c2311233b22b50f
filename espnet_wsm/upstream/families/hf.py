"""Hugging Face wav2vec 2.0 and HuBERT behind S3PRL's ``hf_*_custom``: batch first, masks in three shapes."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.contract import FamilyContract, pad_waveforms

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


class HfMixer(nn.Module):
    """A mixing block behind the signature of ``HubertAttention``: exactly two values are returned."""

    def __init__(self, mixer: nn.Module):
        super().__init__()
        self.mixer = mixer

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **_unused: Any
    ) -> tuple[Tensor, None]:
        """``hidden_states`` (B, T, D); ``attention_mask`` (B, T), (B, 1, T, T) or None."""
        return self.mixer(hidden_states, _padding_mask(attention_mask)), None


def _padding_mask(attention_mask: Tensor | None) -> Tensor | None:
    """(B, T) True = padded from (B, T) True = valid, or (B, 1, T, T) bool (SDPA) or additive (eager)."""
    if attention_mask is None:
        return None
    if attention_mask.dim() == 4:
        attention_mask = attention_mask[:, 0, 0]  # without causality every query sees the same keys
        if attention_mask.is_floating_point():
            return attention_mask != 0
    return ~attention_mask.bool()


@dataclass(frozen=True)
class HfFamily(FamilyContract):
    """``hf_hubert_custom`` and ``hf_wav2vec2_custom``.

    Args:
        model_type: the value that ``config.json`` has to hold.
    """

    model_type: str

    @property
    def attention(self) -> str:
        return "attention"

    def check_path(self, path: Path) -> None:
        if not path.is_dir():
            raise UserError(
                f"{path} is not a checkpoint of {self.name}: expected a directory written by save_pretrained"
            )
        # Without the second file S3PRL would go and ask the model hub for another model's.
        for name in ("config.json", "preprocessor_config.json"):
            if not (path / name).is_file():
                raise UserError(
                    f"{path} is not a checkpoint of {self.name}: it has no {name}; write both the model and "
                    "its Wav2Vec2FeatureExtractor there with save_pretrained"
                )
        if not any((path / name).is_file() for name in WEIGHT_FILES):
            raise UserError(
                f"{path} is not a checkpoint of {self.name}: it has no {' or '.join(WEIGHT_FILES)}"
            )
        try:
            found = json.loads((path / "config.json").read_text(encoding="utf-8")).get("model_type")
        except (ValueError, AttributeError) as error:
            raise UserError(f"{path / 'config.json'} is not a JSON object: {error}") from error
        if found != self.model_type:
            raise UserError(
                f"{path} holds a {found} model, but {self.upstreams[0]} needs a {self.model_type} one"
            )

    def check_expert(self, expert: nn.Module) -> None:
        if getattr(expert.model, "adapter", None) is not None:
            raise UserError(
                f"{self.name} models with add_adapter are not supported: the adapter shortens time"
            )

    def check_weights(self, expert: nn.Module, path: Path) -> None:
        # transformers only logs what it did not find and leaves it random, so it is asked a second time.
        _, info = type(expert.model).from_pretrained(path, output_loading_info=True)
        missing = sorted(set(info["missing_keys"]) - {"masked_spec_embed"})  # used in pre-training alone
        if missing:
            raise UserError(
                f"{path} is not a complete checkpoint of {self.name}: {len(missing)} weights are missing, "
                f"the first is {missing[0]}"
            )

    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        config = expert.model.config
        return {"config": config.to_dict(), "attn_implementation": config._attn_implementation}

    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.for_model(**description["config"])
        config.num_hidden_layers = count
        with torch.device("meta"):  # the layers below the transformer are built as well, but take no memory
            model = AutoModel.from_config(config, attn_implementation=description["attn_implementation"])
        return model.encoder.layers.to_empty(device="cpu")

    def dim(self, expert: nn.Module) -> int:
        return expert.model.config.hidden_size

    def has_final_norm(self, expert: nn.Module) -> bool:
        return expert.model.config.do_stable_layer_norm

    def adapt(self, mixer: nn.Module) -> nn.Module:
        return HfMixer(mixer)

    def release(self, expert: nn.Module) -> None:
        """Nothing to drop: no hooks, no pre-training heads."""

    def run(self, expert: nn.Module, wavs: list[Tensor]) -> None:
        # As S3PRL's expert, but for two things: output_hidden_states would keep all L + 1 of them, and the
        # feature extractor works in numpy, so that every utterance would travel to the CPU and back.
        padded, valid = pad_waveforms(wavs)
        if expert.extracter.do_normalize:
            padded = _normalise(padded, valid)
        weight = next(expert.model.parameters())
        expert.model(padded.to(weight.dtype), attention_mask=valid.to(torch.int32))

    def read_encoder_call(self, kwargs: dict[str, Any], output: Any) -> tuple[Tensor, Tensor | None]:
        return output.last_hidden_state, _padding_mask(kwargs["attention_mask"])

    def read_layer_input(self, args: tuple[Any, ...]) -> Tensor:
        return args[0]

    def run_layers(
        self,
        layers: Iterable[nn.Module],
        x: Tensor,
        padding_mask: Tensor | None,
        on_input: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        valid = None if padding_mask is None else ~padding_mask
        for layer in layers:
            if on_input is not None:
                on_input(x)
            # The mask of attention is (B, 1, T, T): only built for layers that attend.
            mask = valid if isinstance(layer.attention, HfMixer) else _attention_mask(layer, x, valid)
            x = layer(x, attention_mask=mask)
        return x


def _normalise(padded: Tensor, valid: Tensor) -> Tensor:
    """Zero mean and unit variance over the valid samples of each (B, N) waveform, zeros behind them.

    The formula and its 1e-7 are those of ``Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm``; sums are kept
    in float64.
    """
    wide = padded.double()
    count = valid.sum(dim=1, keepdim=True)
    mean = wide.masked_fill(~valid, 0.0).sum(dim=1, keepdim=True) / count
    centred = (wide - mean).masked_fill(~valid, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return (centred / (variance + 1e-7).sqrt()).to(padded.dtype)


def _attention_mask(layer: nn.Module, x: Tensor, valid: Tensor | None) -> Tensor | None:
    from transformers.masking_utils import create_bidirectional_mask

    if valid is None:
        valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    return create_bidirectional_mask(config=layer.attention.config, inputs_embeds=x, attention_mask=valid)
