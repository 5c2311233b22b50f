"""Features per 20 ms frame, from which targets are clustered and which a probe compares."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, RECEPTIVE_FIELD, SAMPLE_RATE, count_encoder_frames
from espnet_wsm.upstream import count_frames
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.cut import cut_of
from espnet_wsm.upstream.load import load_upstream

NUM_CEPSTRA = 13
NUM_MEL = 80
WINDOW_MS, HOP_MS = 1000 * RECEPTIVE_FIELD / SAMPLE_RATE, 1000 * HOP / SAMPLE_RATE

# Waveforms (N,) at 16 kHz in [-1, 1] -> for each, one vector per frame of the encoder, (T, D).
Extractor = Callable[[list[torch.Tensor]], list[torch.Tensor]]


def extract_mfcc(waveforms: list[torch.Tensor]) -> list[torch.Tensor]:
    """MFCC with first and second differences, (T, 39) of each waveform (N,)."""
    return [_extract_mfcc(waveform) for waveform in waveforms]


def _extract_mfcc(waveform: torch.Tensor) -> torch.Tensor:
    """Waveform (N,) -> (T, 39), one vector per 20 ms frame of the encoder.

    Kaldi's MFCC of 25 ms windows every 10 ms, every second of them, as HuBERT's first iteration uses them
    (Hsu et al., 2021, arXiv:2106.07447). T is that of an encoder with frames of 400 samples every 320.
    """
    from torchaudio.compliance.kaldi import mfcc
    from torchaudio.functional import compute_deltas

    cepstra = mfcc(
        waveform[None] * 2**15,  # Kaldi works with 16-bit samples
        sample_frequency=SAMPLE_RATE,
        frame_length=WINDOW_MS,
        frame_shift=HOP_MS / 2,
        num_ceps=NUM_CEPSTRA,
        dither=0.0,
    )  # (2 T or 2 T - 1, 13)
    first = compute_deltas(cepstra.T)
    second = compute_deltas(first)
    return torch.cat([cepstra.T, first, second]).T[::2]


def extract_log_mel(waveforms: list[torch.Tensor]) -> list[torch.Tensor]:
    """Kaldi's 80 logarithms of mel energies of 25 ms windows every 20 ms, (T, 80) of each waveform (N,)."""
    from torchaudio.compliance.kaldi import fbank

    return [
        fbank(
            waveform[None] * 2**15,
            sample_frequency=SAMPLE_RATE,
            frame_length=WINDOW_MS,
            frame_shift=HOP_MS,
            num_mel_bins=NUM_MEL,
            dither=0.0,
        )
        for waveform in waveforms
    ]


def make_layer_extractor(upstream: Path, layer: int) -> Extractor:
    """The output of ``layer`` (1 = the lowest) of an upstream, (T, D) of each waveform (N,).

    Raises:
        UserError: the upstream cannot be loaded, or has no such layer.
    """
    expert, checkpoint = load_upstream(str(upstream))
    depth = len(checkpoint.family.encoder(expert).layers)
    if not 1 <= layer <= depth:
        raise UserError(f"--layer {layer}: {upstream} has layers 1 to {depth}")
    config = WsmConfig(upstream=str(upstream), num_replaced=depth - layer)
    prefix, _ = cut_of(expert, checkpoint.family, config)

    def extract(waveforms: list[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode():
            hidden, padding_mask = prefix(waveforms)
            return _unpad(hidden, padding_mask, waveforms)

    return extract


def _unpad(
    states: torch.Tensor, padding_mask: torch.Tensor | None, waveforms: list[torch.Tensor]
) -> list[torch.Tensor]:
    """The frames of each waveform in (B, T, ...) states, without the last one that only Whisper makes."""
    frames = count_frames(states, padding_mask).tolist()
    most = [count_encoder_frames(len(waveform)) for waveform in waveforms]
    return [each[: min(ends)] for each, *ends in zip(states, frames, most, strict=True)]


def make_states_extractor(
    upstream: str, layers: Sequence[int] | None = None, seed: int | None = None
) -> tuple[tuple[int, ...], Extractor]:
    """The numbers of the ``layers`` of an upstream, and the hidden states behind them, (T, L, D) of each
    waveform (N,).

    Args:
        upstream: name or path.
        layers: numbers of layers, 0 for the input of the lowest; None: 0 and all layers.
        seed: seed of random weights that replace the upstream's own; None: its own weights.

    Raises:
        UserError: the upstream cannot be loaded, or has no such layers.
    """
    expert, checkpoint = load_upstream(upstream)
    depth = len(checkpoint.family.encoder(expert).layers)
    chosen = tuple(range(depth + 1)) if layers is None else tuple(sorted(set(layers)))
    if not chosen or not 0 <= chosen[0] <= chosen[-1] <= depth:
        raise UserError(f"--layers {' '.join(map(str, layers))}: {upstream} has layers 0 to {depth}")
    if seed is not None:
        randomise_weights(expert, seed)
    prefix, _ = cut_of(expert, checkpoint.family, WsmConfig(upstream=upstream, num_replaced=0))

    def extract(waveforms: list[torch.Tensor]) -> list[torch.Tensor]:
        states: list[torch.Tensor] = []
        with torch.inference_mode():
            hidden, padding_mask = prefix(waveforms, states.append)
            states.append(hidden)
            stacked = torch.stack([states[layer][:, : hidden.size(1)] for layer in chosen], dim=2)
            return _unpad(stacked, padding_mask, waveforms)

    return chosen, extract


@torch.no_grad()
def randomise_weights(model: nn.Module, seed: int) -> None:
    """Draw matrices and kernels anew with variance 1 / inputs, which keeps the scale of what passes through;
    gains become 1, biases 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.numel() > max(parameter.shape, default=1):
            parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
