"""What the surgery and the cut need to know about a family of upstreams."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from espnet_wsm.errors import UserError

# The names of the on-disk forms in messages and tables.
FILE_FORM = "one file, as S3PRL's converter or the authors' release has it"
DIRECTORY_FORM = "a directory written by save_pretrained"
EXPERIMENT_FORM = "an ESPnet experiment: config.yaml and a .pth beside it"
WHISPER_FORM = "OpenAI's .pt, a folder of CTranslate2, or a directory written by save_pretrained"


@dataclass(frozen=True)
class Waveforms:
    """A batch of waveforms.

    Args:
        padded: (B, N) samples, zeros after the end of each utterance.
        lengths: samples of each utterance.
    """

    padded: Tensor
    lengths: tuple[int, ...]

    @classmethod
    def pad(cls, wavs: list[Tensor]) -> "Waveforms":
        """From waveforms (N,). S3PRL's experts query the device for each length here; this does not."""
        # wav.size(0), not len(wav): where a model is traced for export it has to stay a variable.
        lengths = tuple(wav.size(0) for wav in wavs)
        return cls(pad_together(wavs), lengths)


def pad_together(sequences: list[Tensor]) -> Tensor:
    """(B, N, ...) from B tensors (N, ...), zeros after the end of each."""
    # Of one, pad_sequence would give the same, but no exporter can trace it.
    return sequences[0][None] if len(sequences) == 1 else pad_sequence(sequences, batch_first=True)


def mark_valid(lengths: Iterable[int], total: int, device: torch.device) -> Tensor:
    """(B, total), True at the first ``lengths`` positions of each row."""
    frames, ends = torch.arange(total, device=device), list(lengths)
    if len(ends) == 1:  # nothing to make a tensor of: so a traced length stays a variable
        return (frames < ends[0])[None]
    return frames < torch.tensor(ends, device=device).unsqueeze(1)


def mark_padding(frames: tuple[int, ...], hidden: Tensor) -> Tensor | None:
    """(B, T) padding mask, True = padded, of (B, T, D) states; None when nothing is padded."""
    if min(frames) == hidden.size(1):
        return None
    return ~mark_valid(frames, hidden.size(1), hidden.device)


def count_convolved(lengths: Iterable[int], convolutions: Iterable[nn.Conv1d]) -> tuple[int, ...]:
    """Lengths after a stack of convolutions without padding."""
    counts = tuple(lengths)
    for convolution in convolutions:
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        counts = tuple((count - kernel) // stride + 1 for count in counts)
    return counts


class AdaptedMixer(nn.Module):
    """A (B, T, D) mixing block with the call signature of a family's attention, defined by a subclass."""

    def __init__(self, mixer: nn.Module):
        super().__init__()
        self.mixer = mixer


@dataclass(frozen=True)
class FamilyContract(ABC):
    """One family: upstreams that share the module tree and the call signatures of their layers.

    The modules below the cut belong to S3PRL (or transformers). A contract says where they are, how to call
    them and the layers above the cut, and what an attention module takes and returns.

    Args:
        name: shown in reports and errors; if S3PRL loads the family, the name of its folder in S3PRL.
        upstreams: S3PRL names of the checkpoints of this family, shell patterns allowed.
        loader: S3PRL's name for loading the user's own checkpoint.
        variants: the architectures that the tests cover with small models in their real on-disk form.
        full_size: models that the tests build at their true size, with random weights.
    """

    name: str
    upstreams: tuple[str, ...]
    loader: str
    variants: tuple[str, ...]
    full_size: tuple[str, ...] = field(default=(), kw_only=True)

    form: ClassVar[str]
    # R in the number of frames of N samples, (N - R) // 320 + 1: what one frame sees, where convolutions
    # without padding read the waveform.
    receptive_field: ClassVar[int] = 400
    mixer_class: ClassVar[type["AdaptedMixer"]]
    # The attributes of a layer that hold its feed-forward, and the one that holds its self-attention; the
    # latter's argument for its input; within it, the linear layers that LoRA adapts (queries, keys, values,
    # output), whether it calls them (or only reads their weights), and the parameters that are initialised to
    # one.
    feed_forward: ClassVar[tuple[str, ...]]
    attention: ClassVar[str]
    attention_input: ClassVar[str]
    projections: ClassVar[tuple[str, ...]] = ("q_proj", "k_proj", "v_proj", "out_proj")
    calls_projections: ClassVar[bool] = True
    ones: ClassVar[tuple[str, ...]] = ()
    # Whether a layer reaches over time outside of its attention, and whether all from the waveform on is
    # computed in PyTorch, so that it can be traced for other runtimes.
    convolves: ClassVar[bool] = False
    in_torch: ClassVar[bool] = True

    @abstractmethod
    def load(self, files: tuple[Path, ...]) -> nn.Module:
        """S3PRL's expert with the weights of a checkpoint."""

    def load_expert(self, checkpoint: Path) -> nn.Module:
        """S3PRL's expert, from the function named by :attr:`loader`.

        It is not called through ``s3prl.hub``, which imports all upstreams, and ESPnet, and takes seconds.
        """
        hubconf = import_module(f"s3prl.upstream.{self.name}.hubconf")
        return getattr(hubconf, self.loader)(ckpt=str(checkpoint))

    def check_expert(self, expert: nn.Module) -> None:  # noqa: B027  most have nothing to check
        """Raise UserError if the contract does not cover the loaded upstream."""

    def check_weights(self, expert: nn.Module, files: tuple[Path, ...]) -> None:  # noqa: B027
        """Raise UserError if the checkpoint lacks weights, which the loader leaves random."""

    def max_frames(self, files: tuple[Path, ...], trust: bool) -> int | None:
        """The frames of the longest utterance that an upstream takes, from its files; None for no limit.

        ``trust`` says whether a pickle may run code.
        """
        return None

    def limit_frames(self, expert: nn.Module) -> int | None:
        """The same of a loaded upstream."""
        return None

    def release(self, expert: nn.Module) -> None:  # noqa: B027
        """Remove what only pre-training, or S3PRL's collection of all hidden states, needs."""

    def encoder(self, expert: nn.Module) -> nn.Module:
        """The module whose ``layers`` are the transformer layers."""
        return expert.model.encoder

    def extractor(self, expert: nn.Module) -> nn.Module | None:
        """The module with ``conv_layers`` that turns (B, N) samples into (B, C, T); None for another form."""
        return None

    @abstractmethod
    def convolutions(self, expert: nn.Module) -> list[nn.Conv1d]:
        """The convolutions that turn samples into frames, from the waveform up."""

    def positions(self, expert: nn.Module) -> nn.Module | None:
        """The convolution that gives the positions which are added below the layers; None if there is none.

        What it gives has the form of what it is given.
        """
        return None

    def position_convolutions(self, expert: nn.Module) -> Iterable[nn.Module]:
        """Stacked convolution blocks (B, D, T) below the layers, through which padding would spread."""
        return ()

    def count_frames(self, expert: nn.Module, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Number of frames of utterances with these numbers of samples."""
        return count_convolved(lengths, self.convolutions(expert))

    @abstractmethod
    def dim(self, expert: nn.Module) -> int:
        """Channels D of the transformer."""

    def normalises(self, expert: nn.Module) -> bool:
        """Whether each waveform is first normalised to zero mean and unit variance."""
        return False

    @abstractmethod
    def has_final_norm(self, expert: nn.Module) -> bool:
        """Whether ``encoder.layer_norm`` follows the last layer (pre-norm) rather than precedes the first."""

    def describe_norms(self, expert: nn.Module) -> str:
        """The kinds of norm in words. Call it before the upstream is cut."""
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
        """The part of the lowest layer that all layers use, made usable without that layer; None for nothing.

        It stays frozen. If the lowest layer is above the cut, the part is removed from it.
        """
        return None

    def adapt(self, mixer: nn.Module) -> nn.Module:
        """Give a (B, T, D) block the call signature and return values of this family's attention."""
        return self.mixer_class(mixer)

    def has_block(self, layer: nn.Module) -> bool:
        """Whether one of our blocks is in the place of a layer's self-attention."""
        return isinstance(getattr(layer, self.attention), self.mixer_class)

    def attention_dropout(self, attention: nn.Module) -> float:
        """The share of its weights that an attention module drops in training."""
        return attention.dropout

    def adds_positions(self, attention: nn.Module) -> bool:
        """Whether an attention module adds something for the distance of two frames to their score."""
        return False

    def run_layers(
        self,
        layers: Iterable[nn.Module],
        x: Tensor,
        padding_mask: Tensor | None,
        shared: nn.Module | None = None,
        on_input: Callable[[Tensor], None] | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Run layers on (B, T, D) with a (B, T) padding mask, True = padded; returns (B, T, D).

        ``shared`` is the result of :meth:`share`; ``on_input`` is called with the input (B, T, D) of each
        layer; with ``recompute``, autograd keeps this alone and the backward pass runs the layer once more.
        """
        layers = list(layers)
        attending = [getattr(layer, self.attention) for layer in layers if not self.has_block(layer)]
        run = self.prepare_run(attending, x, padding_mask, shared)
        for layer in layers:
            if on_input is not None:
                on_input(x)
            if recompute and torch.is_grad_enabled():
                x = checkpoint(run, layer, x, use_reentrant=False)
            else:
                x = run(layer, x)
        return x

    @abstractmethod
    def prepare_run(
        self, attending: list[nn.Module], x: Tensor, padding_mask: Tensor | None, shared: nn.Module | None
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        """A function that runs one layer on (B, T, D); what all layers need is computed once, here.

        ``attending`` lists the attention modules of the layers that have one. Tensors of size T x T are only
        built if there are any.
        """

    @abstractmethod
    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        """Everything that ``build_layers`` needs, in a form that JSON can hold."""

    @abstractmethod
    def build_layers(self, description: dict[str, Any], count: int) -> nn.ModuleList:
        """Build the last ``count`` layers without a checkpoint, attention included; weights are undefined."""

    def build_shared(self, description: dict[str, Any]) -> nn.Module:
        """Build the result of :meth:`share` from its ``describe()``; weights are undefined."""
        raise NotImplementedError(f"{self.name} shares nothing")


class FileFamily(FamilyContract):
    """Families whose checkpoint is one pickled file."""

    form = FILE_FORM

    @abstractmethod
    def recognise(self, checkpoint: Mapping[str, Any]) -> bool:
        """Whether the content of a file is a checkpoint of this family."""

    def load(self, files: tuple[Path, ...]) -> nn.Module:
        """S3PRL's expert; the file's keys and shapes have to match exactly."""
        (file,) = files
        return self.load_expert(file)


def refuse_missing(family: FamilyContract, place: Path, missing: list[str]) -> None:
    """Raise UserError when weights of a checkpoint are missing."""
    if missing:
        raise UserError(
            f"{place} is not a complete checkpoint of {family.name}: {len(missing)} weights are missing, the "
            f"first is {missing[0]}"
        )
