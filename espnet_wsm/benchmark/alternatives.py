"""What one would use without this project: transformers' model with a CTC head, whole or in part, or PEFT."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_wsm.benchmark.config import Arm
from espnet_wsm.frames import SAMPLE_RATE, count_encoder_frames

RANK = 8  # of LoRA; with alpha 16, PEFT's and this project's defaults
TARGETS = ["q_proj", "v_proj"]


class Wav2Vec2Body(nn.Module):
    """``Wav2Vec2Model`` on waveforms that are normalised as its feature extractor does it.

    Args:
        model: transformers' model, or PEFT's around it.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) waveforms, all of them of the full length, to (B, T, D) and (B,) frames."""
        hidden = self.model(F.layer_norm(x, x.shape[-1:])).last_hidden_state
        return hidden, torch.full_like(lengths, hidden.size(1))


class WhisperBody(nn.Module):
    """``WhisperEncoder`` with its feature extractor, which pads to 30 s; the head gets what is no padding.

    Args:
        model: transformers' encoder, or PEFT's around it.
        extractor: makes log-mel of a list of waveforms, on the CPU.
    """

    def __init__(self, model: nn.Module, extractor: Any):
        super().__init__()
        self.model, self.extractor = model, extractor

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) waveforms of up to 30 s, all of them of the full length, to (B, T, D) and (B,) frames."""
        made = self.extractor(list(x.cpu().numpy()), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        hidden = self.model(made.input_features.to(x.device)).last_hidden_state
        frames = count_encoder_frames(x.size(1))
        return hidden[:, :frames], torch.full_like(lengths, frames)


def build_alternative(arm: Arm, upstream: str, num_replaced: int) -> tuple[nn.Module, int]:
    """What encodes, with what does not train frozen, and its channels.

    Args:
        arm: its ``trainable`` and ``recompute`` count.
        upstream: a folder of transformers.
        num_replaced: k, for ``trainable: layer``.
    """
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(upstream)
    whisper = model.config.model_type == "whisper"
    model = model.encoder if whisper else model
    layers = model.layers if whisper else model.encoder.layers
    dim = model.config.d_model if whisper else model.config.hidden_size
    model.requires_grad_(arm.trainable in ("all", "transformer"))
    if arm.trainable == "transformer" and whisper:
        model.conv1.requires_grad_(False)
        model.conv2.requires_grad_(False)
    elif arm.trainable == "transformer":
        model.freeze_feature_encoder()
    elif arm.trainable == "layer":
        layers[-num_replaced:].requires_grad_(True)
    if arm.recompute == "layer":
        model.gradient_checkpointing_enable()
    if arm.trainable == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS))
    if whisper:
        return WhisperBody(model, AutoFeatureExtractor.from_pretrained(upstream)), dim
    return Wav2Vec2Body(model), dim
