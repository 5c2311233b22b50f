"""The encoder of Whisper: pre-norm layers over log-mel frames, which are made here from the waveform."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.compiler import is_exporting
from torch.nn.functional import gelu

from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.upstream.families.contract import (
    WHISPER_FORM,
    FileFamily,
    mark_padding,
    mark_valid,
    pad_together,
    refuse_missing,
)
from espnet_wsm.upstream.families.hf import HfMixer
from espnet_wsm.upstream.families.whisper_encoder import build_encoder
from espnet_wsm.upstream.weights.whisper import (
    OPENAI_KEYS,
    WhisperSizes,
    name_place,
    read_config,
    read_encoder,
)

WINDOW, MEL_HOP = 400, HOP // 2  # the second convolution halves the number of frames
# What a layer is built from.
LAYER_FIELDS = (
    "d_model",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "activation_function",
)


@functools.cache
def mel_filters(num_mels: int) -> np.ndarray:
    """(num_mels, 201) weights of the bins of the power spectrum: triangles on Slaney's scale of mels.

    The scale is linear to 1 kHz, 15 mels, and logarithmic above; each triangle has the area 2 / (the width of
    two mels in Hz), so that white noise gives all channels the same energy. The numbers are those of
    ``WhisperFeatureExtractor``, which takes a second to import.
    """
    top = 15.0 + np.log(SAMPLE_RATE / 2 / 1000.0) * (27.0 / np.log(6.4))
    mels = np.linspace(0.0, top, num_mels + 2)
    corners = 200.0 * mels / 3.0  # Hz
    above = mels >= 15.0
    corners[above] = 1000.0 * np.exp(np.log(6.4) / 27.0 * (mels[above] - 15.0))
    slopes = corners - np.linspace(0, SAMPLE_RATE // 2, WINDOW // 2 + 1)[:, None]  # (201, num_mels + 2)
    width = np.diff(corners)
    triangles = np.maximum(0.0, np.minimum(-slopes[:, :-2] / width[:-1], slopes[:, 2:] / width[1:]))
    return np.ascontiguousarray((triangles * (2.0 / (corners[2:] - corners[:-2]))).T)


def compute_log_mel(wav: Tensor, num_mels: int) -> Tensor:
    """(M, num_mels) log-mel frames of a 16 kHz waveform (N,), M = N // 160, in float32 or float64.

    The formula is that of ``WhisperFeatureExtractor``, which pads to 30 s first; here the waveform ends where
    it ends, and is reflected there.
    """
    wav = wav.to(torch.promote_types(wav.dtype, torch.float32))
    filters = torch.as_tensor(mel_filters(num_mels), dtype=wav.dtype, device=wav.device)
    if is_exporting():
        power = _compute_power_by_products(wav)
    else:
        window = torch.hann_window(WINDOW, dtype=wav.dtype, device=wav.device)
        power = torch.stft(wav, WINDOW, MEL_HOP, window=window, return_complex=True).abs().square()
    log_mel = (filters @ power[:, :-1]).clamp(min=1e-10).log10()
    return ((log_mel.maximum(log_mel.max() - 8.0) + 4.0) / 4.0).T


def _compute_power_by_products(wav: Tensor) -> Tensor:
    """(201, M + 1) power spectrum of a waveform (N,), as by ``torch.stft``, in float64 inside.

    In onnxruntime 1.32, STFT in float32 is a hundred times less exact than PyTorch's, and the logarithm of
    weak channels shows that.
    """
    padded = nn.functional.pad(wav[None], (WINDOW // 2, WINDOW // 2), mode="reflect")[0]
    frames = padded.unfold(0, WINDOW, MEL_HOP).double()  # (M + 1, 400)
    phase = torch.arange(WINDOW, dtype=torch.float64)[:, None] * torch.arange(WINDOW // 2 + 1)
    phase = phase.remainder(WINDOW) * (2 * torch.pi / WINDOW)
    waves = torch.hann_window(WINDOW, dtype=torch.float64)[:, None] * torch.cat([phase.cos(), phase.sin()], 1)
    real, imaginary = (frames @ waves).chunk(2, dim=1)
    return (real.square() + imaginary.square()).T.to(wav.dtype)


@dataclass(frozen=True)
class WhisperFamily(FileFamily):
    """The encoder of any Whisper.

    Elsewhere it takes exactly 30 s of log-mel and knows no mask. Here an utterance is as long as it is:
    position embeddings beyond its end are cut off, and each convolution sees zeros there.

    Args:
        model_types: the values of ``model_type`` in ``config.json``.
    """

    model_types: tuple[str, ...]

    form = WHISPER_FORM
    mixer_class = HfMixer
    feed_forward = ("fc1", "fc2")
    attention = "self_attn"
    attention_input = "hidden_states"
    receptive_field = MEL_HOP

    def recognise(self, checkpoint: Mapping[str, Any]) -> bool:
        return OPENAI_KEYS <= checkpoint.keys()

    def load(self, files: tuple[Path, ...]) -> nn.Module:
        config, weights = read_encoder(files)
        encoder = build_encoder(config)
        expected, place = encoder.state_dict(), name_place(files)
        for name, weight in weights.items():
            if name not in expected or weight.shape != expected[name].shape:
                sizes = f"{tuple(expected[name].shape)} there" if name in expected else "not there"
                raise UserError(
                    f"{place} is not of the size that it describes, {config.encoder_layers} layers of "
                    f"{config.d_model} on {config.num_mel_bins} mels: {name} {tuple(weight.shape)} is {sizes}"
                )
        refuse_missing(self, place, [name for name in expected if name not in weights])
        encoder.load_state_dict(weights, assign=True)
        return encoder

    def max_frames(self, files: tuple[Path, ...], trust: bool) -> int:
        return read_config(files, trust).max_source_positions

    def limit_frames(self, expert: nn.Module) -> int:
        return len(expert.embed_positions.weight)

    def encoder(self, expert: nn.Module) -> nn.Module:
        return expert

    def convolutions(self, expert: nn.Module) -> list[nn.Conv1d]:
        return []  # none of the two reads samples

    def count_frames(self, expert: nn.Module, lengths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple((length - self.receptive_field) // HOP + 1 for length in lengths)

    def dim(self, expert: nn.Module) -> int:
        return expert.sizes.d_model

    def has_final_norm(self, expert: nn.Module) -> bool:
        return True

    def describe_norms(self, expert: nn.Module) -> str:
        return f"pre-norm layers, on {expert.sizes.num_mel_bins} log-mel channels"

    def encode(self, expert: nn.Module, wavs: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        frames = self.count_frames(expert, tuple(wav.size(0) for wav in wavs))
        assert max(frames) <= self.limit_frames(expert), frames
        features = [compute_log_mel(wav, expert.sizes.num_mel_bins) for wav in wavs]
        x = pad_together(features).mT.to(expert.conv1.weight.dtype)  # (B, mels, M)
        x = gelu(expert.conv1(x))
        counts = [each.size(0) for each in features]
        if min(counts) < max(counts):
            x = x.masked_fill(~mark_valid(counts, x.size(2), x.device)[:, None], 0.0)
        x = gelu(expert.conv2(x)).mT  # (B, T, D)
        x = x + expert.embed_positions.weight[: x.size(1)]
        padding_mask = mark_padding(frames, x)
        x = self.run_layers(expert.layers, x, padding_mask)
        return expert.layer_norm(x), padding_mask

    def prepare_run(
        self, attending: list[nn.Module], x: Tensor, padding_mask: Tensor | None, shared: nn.Module | None
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        valid = None if padding_mask is None else ~padding_mask[:, None, None]  # (B, 1, 1, T)
        return lambda layer, x: layer(x, valid)

    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        return {name: getattr(expert.sizes, name) for name in LAYER_FIELDS}

    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        encoder = build_encoder(WhisperSizes(**description, encoder_layers=max(count, 1)))
        return encoder.layers[:count].float().to_empty(device="cpu")
