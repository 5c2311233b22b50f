"""What the surgery and the cut need to know of a family of upstreams."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


def pad_waveforms(wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Waveforms, each (N,), to (B, N) with zeros behind them, and (B, N) True = valid.

    S3PRL's experts ask the device for the length of each utterance to do so; this does not.
    """
    lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
    padded = pad_sequence(wavs, batch_first=True)
    return padded, torch.arange(padded.size(1), device=padded.device) < lengths.unsqueeze(1)


@dataclass(frozen=True)
class FamilyContract(ABC):
    """One family: upstreams that share the module tree and the call signatures of their layers.

    S3PRL's expert runs everything below the cut itself; a contract only says where things are, how to call
    the layers above the cut, and what an attention module takes and returns.

    Args:
        name: shown in reports and errors.
        upstreams: S3PRL names, shell patterns allowed.
    """

    name: str
    upstreams: tuple[str, ...]

    @property
    @abstractmethod
    def attention(self) -> str:
        """Attribute of a layer that holds its self-attention."""

    @abstractmethod
    def check_path(self, path: Path) -> None:
        """Raise UserError with the reason when ``path`` cannot be a checkpoint of this family."""

    @abstractmethod
    def check_expert(self, expert: nn.Module) -> None:
        """Raise UserError when the loaded upstream is of a kind that the contract does not cover."""

    @abstractmethod
    def check_weights(self, expert: nn.Module, path: Path) -> None:
        """Raise UserError when the checkpoint lacks weights that the loader then left random."""

    @abstractmethod
    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        """All that ``build_layers`` needs, in a form that JSON can hold."""

    @abstractmethod
    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        """``count`` layers with their attention, weights undefined, without the upstream's checkpoint."""

    def encoder(self, expert: nn.Module) -> nn.Module:
        """The module whose ``layers`` are the transformer layers."""
        return expert.model.encoder

    @abstractmethod
    def dim(self, expert: nn.Module) -> int:
        """Channels D of the transformer."""

    @abstractmethod
    def has_final_norm(self, expert: nn.Module) -> bool:
        """Whether ``encoder.layer_norm`` follows the last layer (pre-norm) rather than precedes the first."""

    @abstractmethod
    def adapt(self, mixer: nn.Module) -> nn.Module:
        """Give a (B, T, D) block the call signature and return values of this family's attention."""

    @abstractmethod
    def release(self, expert: nn.Module) -> None:
        """Drop what only pre-training or S3PRL's collection of all hidden states needs."""

    @abstractmethod
    def run(self, expert: nn.Module, wavs: list[Tensor]) -> None:
        """Run the upstream on 16 kHz waveforms, each (N,), as S3PRL's expert does, in its own precision."""

    @abstractmethod
    def read_encoder_call(self, kwargs: dict[str, Any], output: Any) -> tuple[Tensor, Tensor | None]:
        """Hidden states (B, T, D) and padding mask (B, T) from one call of the encoder."""

    @abstractmethod
    def read_layer_input(self, args: tuple[Any, ...]) -> Tensor:
        """Hidden states (B, T, D) from the positional arguments of a layer."""

    @abstractmethod
    def run_layers(
        self,
        layers: Iterable[nn.Module],
        x: Tensor,
        padding_mask: Tensor | None,
        on_input: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Run layers on (B, T, D) with a (B, T) padding mask, True = padded; returns (B, T, D).

        ``on_input`` is handed the input (B, T, D) of each layer.
        """
