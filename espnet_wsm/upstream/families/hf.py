"""Speech encoders in transformers that read waveforms: batch first, masks in three shapes."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in
from espnet_wsm.upstream.families.contract import (
    DIRECTORY_FORM,
    AdaptedMixer,
    FamilyContract,
    Waveforms,
    mark_padding,
    mark_valid,
    refuse_missing,
)

# The name for models that S3PRL has no wrapper for; S3PRL's own names end the same way.
GENERIC = "hf_custom"
# The files of a directory that transformers loads; others are a README, or adapters for a thousand languages.
SETTINGS = ("config.json", "preprocessor_config.json")
# Where transformers 5 saves a feature extractor that belongs to a processor, with no file of its own.
PROCESSOR = "processor_config.json"
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
LEGACY_WEIGHTS = "pytorch_model.bin"


class HfExpert(nn.Module):
    """Model and feature extractor of a directory, under the same names as in S3PRL's ``hf_*`` experts."""

    def __init__(self, directory: Path):
        super().__init__()
        from transformers import AutoFeatureExtractor, AutoModel

        self.extracter = AutoFeatureExtractor.from_pretrained(directory, local_files_only=True)
        self.model = AutoModel.from_pretrained(directory, local_files_only=True)


class HfMixer(AdaptedMixer):
    """A mixing block with the signature of ``HubertAttention``, which returns exactly two values."""

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **_unused: Any
    ) -> tuple[Tensor, None]:
        """``hidden_states`` (B, T, D); ``attention_mask`` (B, T), (B, 1, T, T) or None."""
        return self.mixer(hidden_states, read_padding_mask(attention_mask)), None


def read_padding_mask(attention_mask: Tensor | None) -> Tensor | None:
    """(B, T) True = padded from (B, T) True = valid, or from (B, 1, T, T): bool (SDPA), additive (eager)."""
    if attention_mask is None:
        return None
    if attention_mask.dim() == 4:
        attention_mask = attention_mask[:, 0, 0]  # without causality every query sees the same keys
        if attention_mask.is_floating_point():
            return attention_mask != 0
    return ~attention_mask.bool()


@dataclass(frozen=True)
class HfFamily(FamilyContract):
    """``hf_hubert_custom``, ``hf_wav2vec2_custom`` and models with the same module tree.

    Args:
        model_types: the values of ``model_type`` in ``config.json``.
    """

    model_types: tuple[str, ...]

    form = DIRECTORY_FORM
    mixer_class = HfMixer
    feed_forward = ("feed_forward",)
    attention = "attention"
    attention_input = "hidden_states"

    def load(self, files: tuple[Path, ...]) -> nn.Module:
        directory = files[0].parent
        # Without one of these files, S3PRL would request that of another model from the hub.
        if not ((directory / "preprocessor_config.json").is_file() or has_processor(directory)):
            raise UserError(
                f"{directory} has no preprocessor_config.json, and no {PROCESSOR} with a feature extractor; "
                "write both the model and its feature extractor (or processor) there with save_pretrained"
            )
        from transformers import Wav2Vec2FeatureExtractor
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # one bar per load would clutter the training log
        if self.loader == GENERIC:
            return HfExpert(directory)

        # Raises if the file is damaged, in which case S3PRL would also use that of another model.
        Wav2Vec2FeatureExtractor.from_pretrained(directory, local_files_only=True)
        return self.load_expert(directory)

    def find_extractor(self, directory: Path) -> tuple[Path, ...]:
        # With a file of its own, the digest is that of the time before there were others.
        own = directory / "preprocessor_config.json"
        return () if own.is_file() or not has_processor(directory) else (directory / PROCESSOR,)

    def check_expert(self, expert: nn.Module) -> None:
        if getattr(expert.model, "adapter", None) is not None:
            raise UserError(
                f"{self.name} models with add_adapter are not supported: the adapter shortens time"
            )

    def check_weights(self, expert: nn.Module, files: tuple[Path, ...]) -> None:
        # transformers only logs missing weights and leaves them random. So it is asked for them a second
        # time, on the meta device, which loads nothing.
        directory = files[0].parent
        _, info = type(expert.model).from_pretrained(
            directory, output_loading_info=True, local_files_only=True, device_map="meta"
        )
        missing = set(info["missing_keys"]) - {"masked_spec_embed"}  # only used in pre-training
        refuse_missing(self, directory, sorted(missing))

    def extractor(self, expert: nn.Module) -> nn.Module | None:
        return getattr(expert.model, "feature_extractor", None)

    def convolutions(self, expert: nn.Module) -> list[nn.Conv1d]:
        return [block.conv for block in expert.model.feature_extractor.conv_layers]

    def positions(self, expert: nn.Module) -> nn.Module | None:
        return expert.model.encoder.pos_conv_embed

    def position_convolutions(self, expert: nn.Module) -> Iterable[nn.Module]:
        return getattr(self.positions(expert), "layers", ())

    def dim(self, expert: nn.Module) -> int:
        return expert.model.config.hidden_size

    def normalises(self, expert: nn.Module) -> bool:
        return expert.extracter.do_normalize

    def has_final_norm(self, expert: nn.Module) -> bool:
        return getattr(expert.model.config, "do_stable_layer_norm", False)

    def encode(self, expert: nn.Module, wavs: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        # The same as S3PRL's experts, except that these keep all L + 1 hidden states (output_hidden_states),
        # and that their feature extractor works in numpy, so every utterance goes to the CPU and back.
        batch = Waveforms.pad(wavs)
        valid = mark_valid(batch.lengths, batch.padded.size(1), batch.padded.device)
        padded = _normalise(batch.padded, valid) if self.normalises(expert) else batch.padded
        dtype = next(expert.model.parameters()).dtype
        hidden = expert.model(padded.to(dtype), attention_mask=valid.to(torch.int32)).last_hidden_state
        frames = self.count_frames(expert, batch.lengths)
        return hidden, mark_padding(frames, hidden)

    def prepare_run(
        self, attending: list[nn.Module], x: Tensor, padding_mask: Tensor | None, shared: nn.Module | None
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        valid = None if padding_mask is None else ~padding_mask
        # The attention mask is (B, 1, T, T), so it is only built for layers that attend.
        mask = mask_attention(attending[0], x, valid) if attending else None
        more = self.list_more_arguments(valid)

        def run(layer: nn.Module, x: Tensor) -> Tensor:
            return layer(x, attention_mask=valid if self.has_block(layer) else mask, **more)

        return run

    def list_more_arguments(self, valid: Tensor | None) -> dict[str, Any]:
        """Arguments of a layer besides its attention mask; ``valid`` is (B, T), True = valid."""
        return {}

    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        config = expert.model.config
        return {"config": config.to_dict(), "attn_implementation": config._attn_implementation}

    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.for_model(**description["config"])
        config.num_hidden_layers = max(count, 1)
        with torch.device("meta"):  # the layers below the transformer are built as well, but take no memory
            model = AutoModel.from_config(config, attn_implementation=description["attn_implementation"])
        return model.encoder.layers[:count].float().to_empty(device="cpu")


def mask_attention(attention: nn.Module, x: Tensor, valid: Tensor | None) -> Tensor | None:
    """The mask for transformers' attention, from (B, T), True = valid."""
    from transformers.masking_utils import create_bidirectional_mask

    if valid is None:
        valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    config = next(m.config for m in attention.modules() if hasattr(m, "config"))
    return create_bidirectional_mask(config=config, inputs_embeds=x, attention_mask=valid)


def has_processor(directory: Path) -> bool:
    """Whether ``processor_config.json`` is there and holds the feature extractor.

    Raises:
        UserError: the file is damaged.
    """
    path = directory / PROCESSOR
    if not path.is_file():
        return False
    refuse_stand_in(path)
    try:
        return not {"feature_extractor", "audio_processor"}.isdisjoint(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): get the model again") from error


def read_model_type(directory: Path) -> str:
    """``model_type`` of a directory's ``config.json``.

    Raises:
        UserError: the file is not a transformers configuration.
    """
    path = directory / "config.json"
    refuse_stand_in(path)
    try:
        model_type = json.loads(path.read_text(encoding="utf-8"))["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a transformers configuration with a model_type: {error!r}") from error
    return str(model_type)


def _normalise(padded: Tensor, valid: Tensor) -> Tensor:
    """Zero mean and unit variance over the valid samples of each (B, N) waveform, zeros after them.

    The formula and its 1e-7 are those of ``Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm``; sums are
    computed in float64.
    """
    wide = padded.double()
    count = valid.sum(dim=1, keepdim=True)
    mean = wide.masked_fill(~valid, 0.0).sum(dim=1, keepdim=True) / count
    centred = (wide - mean).masked_fill(~valid, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return (centred / (variance + 1e-7).sqrt()).to(padded.dtype)
