"""What the surgery and the cut need to know of a family of upstreams."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from espnet_wsm.errors import UserError

# How messages and tables name the three on-disk forms.
FILE_FORM = "one file, as S3PRL's converter or the authors' release has it"
DIRECTORY_FORM = "a directory written by save_pretrained"
EXPERIMENT_FORM = "an ESPnet experiment: config.yaml and a .pth beside it"


@dataclass(frozen=True)
class Waveforms:
    """A batch of waveforms.

    Args:
        padded: (B, N) samples, zeros behind each utterance.
        lengths: samples of each utterance.
    """

    padded: Tensor
    lengths: tuple[int, ...]

    @classmethod
    def pad(cls, wavs: list[Tensor]) -> "Waveforms":
        """From waveforms (N,). S3PRL's experts ask the device for each length to do so; this does not."""
        return cls(pad_sequence(wavs, batch_first=True), tuple(len(wav) for wav in wavs))


def mark_valid(lengths: Iterable[int], total: int, device: torch.device) -> Tensor:
    """(B, total), True at the first ``lengths`` places of each row."""
    ends = torch.tensor(list(lengths), device=device)
    return torch.arange(total, device=device) < ends.unsqueeze(1)


def mark_padding(frames: tuple[int, ...], hidden: Tensor) -> Tensor | None:
    """(B, T) padding mask, True = padded, of (B, T, D) states; None when nothing is padded."""
    if min(frames) == hidden.size(1):
        return None
    return ~mark_valid(frames, hidden.size(1), hidden.device)


def count_convolved(lengths: Iterable[int], convolutions: Iterable[nn.Conv1d]) -> tuple[int, ...]:
    """Lengths behind a stack of convolutions without padding."""
    counts = tuple(lengths)
    for convolution in convolutions:
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        counts = tuple((count - kernel) // stride + 1 for count in counts)
    return counts


class AdaptedMixer(nn.Module):
    """A (B, T, D) mixing block behind the call signature of a family's attention, which a subclass gives."""

    def __init__(self, mixer: nn.Module):
        super().__init__()
        self.mixer = mixer


@dataclass(frozen=True)
class FamilyContract(ABC):
    """One family: upstreams that share the module tree and the call signatures of their layers.

    The modules below the cut are S3PRL's (or transformers'); a contract says where they are, how to call them
    and the layers above the cut, and what an attention module takes and returns.

    Args:
        name: shown in reports and errors; where S3PRL loads the family, that of its folder there.
        upstreams: S3PRL names that are checkpoints of this family, shell patterns allowed.
        loader: S3PRL's name for loading a checkpoint of one's own.
        variants: the architectures that the tests cover on small models in their real on-disk form.
        full_size: models that the tests build at their true size, with random weights.
    """

    name: str
    upstreams: tuple[str, ...]
    loader: str
    variants: tuple[str, ...]
    full_size: tuple[str, ...] = field(default=(), kw_only=True)

    form: ClassVar[str]
    # Samples that the first frame sees; the next frames begin 320 samples further each.
    receptive_field: ClassVar[int] = 400
    mixer_class: ClassVar[type["AdaptedMixer"]]
    # Attribute of a layer that holds its self-attention; in it, the linear layers that LoRA adapts, whether
    # it calls them (or only reads their weights), and the parameters that start at one.
    attention: ClassVar[str]
    projections: ClassVar[tuple[str, ...]] = ("q_proj", "k_proj", "v_proj", "out_proj")
    calls_projections: ClassVar[bool] = True
    ones: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def load(self, files: tuple[Path, ...]) -> nn.Module:
        """S3PRL's expert with the weights of a checkpoint."""

    def load_expert(self, checkpoint: Path) -> nn.Module:
        """S3PRL's expert by :attr:`loader`.

        ``s3prl.hub`` would import all upstreams, and ESPnet with them, which takes seconds.
        """
        hubconf = import_module(f"s3prl.upstream.{self.name}.hubconf")
        return getattr(hubconf, self.loader)(ckpt=str(checkpoint))

    def check_expert(self, expert: nn.Module) -> None:  # noqa: B027  most have nothing to check
        """Raise UserError when the loaded upstream is of a kind that the contract does not cover."""

    def check_weights(self, expert: nn.Module, files: tuple[Path, ...]) -> None:  # noqa: B027
        """Raise UserError when the checkpoint lacks weights that the loader then left random."""

    def release(self, expert: nn.Module) -> None:  # noqa: B027
        """Drop what only pre-training or S3PRL's collection of all hidden states needs."""

    def encoder(self, expert: nn.Module) -> nn.Module:
        """The module whose ``layers`` are the transformer layers."""
        return expert.model.encoder

    @abstractmethod
    def convolutions(self, expert: nn.Module) -> list[nn.Conv1d]:
        """The convolutions that turn samples into frames, from the waveform up."""

    def position_convolutions(self, expert: nn.Module) -> Iterable[nn.Module]:
        """Stacked blocks (B, D, T) below the layers, where what one makes of padding meets the next."""
        return ()

    def count_frames(self, expert: nn.Module, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Frames of utterances of so many samples."""
        return count_convolved(lengths, self.convolutions(expert))

    @abstractmethod
    def dim(self, expert: nn.Module) -> int:
        """Channels D of the transformer."""

    @abstractmethod
    def has_final_norm(self, expert: nn.Module) -> bool:
        """Whether ``encoder.layer_norm`` follows the last layer (pre-norm) rather than precedes the first."""

    def describe_norms(self, expert: nn.Module) -> str:
        """In words, before the upstream is cut."""
        layers = "pre-norm" if self.has_final_norm(expert) else "post-norm"
        in_front = "group" if any(isinstance(m, nn.GroupNorm) for m in expert.modules()) else "layer"
        return f"{layers} layers, {in_front} norm in the convolutions"

    @abstractmethod
    def encode(self, expert: nn.Module, wavs: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Run the upstream on 16 kHz waveforms, each (N,), in its own precision.

        Returns:
            (B, T, D) output of the encoder and (B, T) padding mask, True = padded, or None.
        """

    def read_layer_input(self, args: tuple[Any, ...]) -> Tensor:
        """Hidden states (B, T, D) from the positional arguments of a layer."""
        return args[0]

    def share(self, lowest: nn.Module, stays_below: bool) -> nn.Module | None:
        """What all layers take from the lowest one, made usable without it; None for nothing.

        It stays frozen. When the lowest layer does not stay below the cut, it is taken out of it.
        """
        return None

    def adapt(self, mixer: nn.Module) -> nn.Module:
        """Give a (B, T, D) block the call signature and return values of this family's attention."""
        return self.mixer_class(mixer)

    def run_layers(
        self,
        layers: Iterable[nn.Module],
        x: Tensor,
        padding_mask: Tensor | None,
        shared: nn.Module | None = None,
        on_input: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Run layers on (B, T, D) with a (B, T) padding mask, True = padded; returns (B, T, D).

        ``shared`` is what :meth:`share` has given, ``on_input`` is handed the input (B, T, D) of each layer.
        """
        layers = list(layers)
        attending = [
            attention
            for attention in (getattr(layer, self.attention) for layer in layers)
            if not isinstance(attention, self.mixer_class)
        ]
        run = self.prepare_run(attending, x, padding_mask, shared)
        for layer in layers:
            if on_input is not None:
                on_input(x)
            x = run(layer, x)
        return x

    @abstractmethod
    def prepare_run(
        self, attending: list[nn.Module], x: Tensor, padding_mask: Tensor | None, shared: nn.Module | None
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        """How to run one layer on (B, T, D), with what all layers take made once.

        ``attending`` is the attention of the layers that have any: what only it takes is of size T x T.
        """

    @abstractmethod
    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        """All that ``build_layers`` needs, in a form that JSON can hold."""

    @abstractmethod
    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        """The last ``count`` layers with their attention, weights undefined, without a checkpoint."""

    def build_shared(self, description: dict[str, Any]) -> nn.Module:
        """What :meth:`share` gives, from its ``describe()``, weights undefined, without a checkpoint."""
        raise NotImplementedError(f"{self.name} shares nothing")


class FileFamily(FamilyContract):
    """Families whose checkpoint is one pickled file."""

    form = FILE_FORM

    @abstractmethod
    def recognise(self, checkpoint: Mapping[str, Any]) -> bool:
        """Whether the content of a file is a checkpoint of this family."""

    def load(self, files: tuple[Path, ...]) -> nn.Module:
        """S3PRL's expert; the file's keys and sizes have to fit exactly."""
        (file,) = files
        return self.load_expert(file)


def refuse_missing(family: FamilyContract, place: Path, missing: list[str]) -> None:
    """Raise UserError when weights of a checkpoint are missing."""
    if missing:
        raise UserError(
            f"{place} is not a complete checkpoint of {family.name}: {len(missing)} weights are missing, the "
            f"first is {missing[0]}"
        )
