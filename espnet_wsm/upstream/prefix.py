"""The layers below the cut: nothing in them trains and nothing is random."""

import contextlib
import itertools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.upstream.convolutions import ChannelsLastConvolutions, fits
from espnet_wsm.upstream.families.contract import (
    FamilyContract,
    count_convolved,
    mark_padding,
    mark_valid,
)
from espnet_wsm.upstream.pieces import MOST, Pieces
from espnet_wsm.upstream.replacing import replace_modules


def count_frames(hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
    """(B,) valid frames of (B, T, D) hidden states with a (B, T) padding mask, True = padded, or None."""
    if padding_mask is None:
        return torch.full((hidden.size(0),), hidden.size(1), device=hidden.device)
    return (~padding_mask).sum(dim=1)


class PaddedGroupNorm(nn.GroupNorm):
    """Group norm over time includes the padding of a batch in its statistics.

    A Base model therefore encodes an utterance differently in every batch. Here mean and variance are
    computed over each utterance's own frames, as if it were alone. The input is the largest tensor of the
    upstream, so only one more tensor of its size is held at a time, as in the original norm.

    Args:
        norm: the upstream's norm. Its parameters are kept, and it still computes batches without padding.
    """

    def __init__(self, norm: nn.GroupNorm):
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, affine=False)
        self.weight, self.bias = norm.weight, norm.bias
        self._plain = type(norm).forward
        self.frames: tuple[int, ...] | None = None  # of each utterance, set for the duration of one call

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, T), without a graph."""
        if self.frames is None or min(self.frames) == x.size(2):
            return self._plain(self, x)
        padded = ~mark_valid(self.frames, x.size(2), x.device)[:, None, None]  # (B, 1, 1, T)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        groups = wide.unflatten(1, (self.num_groups, -1))  # (B, G, C / G, T)
        count = (~padded).sum(-1, keepdim=True) * groups.size(2)  # (B, 1, 1, 1)
        mean = groups.masked_fill(padded, 0.0).sum((2, 3), keepdim=True) / count
        centred = (groups - mean).masked_fill_(padded, 0.0)
        norm = torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True)  # (B, G, 1, 1)
        normed = centred.div_((norm.square() / count + self.eps).sqrt()).flatten(1, 2)  # (B, C, T)
        if self.weight is not None:
            normed.mul_(self.weight[:, None]).add_(self.bias[:, None])
        return normed.to(x.dtype)


class PaddedConvolution(nn.Module):
    """In a stack of convolutions, the output at padded frames leaks into the valid frames of the next one.

    Here each convolution sees zeros after the end of an utterance, as it would if the utterance were alone.

    Args:
        block: (B, D, T) to (B, D, T).
    """

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block
        self.frames: tuple[int, ...] | None = None  # as in PaddedGroupNorm

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T) to (B, D, T)."""
        if self.frames is not None and min(self.frames) < x.size(2):
            x = x.masked_fill(~mark_valid(self.frames, x.size(2), x.device)[:, None], 0.0)
        return self.block(x)


class FrozenPrefix(nn.Module):
    """Frozen layers in a model that trains still apply dropout and still take autograd memory.

    The prefix is S3PRL's own upstream, shortened to the layers below the cut, so it computes exactly what the
    whole upstream computes there. It stays in eval mode whatever mode its parent is in, never records a
    graph, and computes in its own precision whatever autocast or the parent's ``.to(dtype)`` ask for. An
    utterance that is longer than the upstream takes goes through in overlapping pieces, and the log says so.

    Args:
        expert: S3PRL's expert without the layers above the cut.
        family: its contract.
        dtype: ``float16`` or ``bfloat16`` for half precision; None = that of the parent model.
        exact_padding: exclude padding from the parts below the layers that span several frames.
    """

    def __init__(
        self,
        expert: nn.Module,
        family: FamilyContract,
        dtype: torch.dtype | None = None,
        exact_padding: bool = True,
    ):
        super().__init__()
        self.dtype = dtype
        self.expert = expert.requires_grad_(False)
        self.family = family
        self._over_time: list[tuple[nn.Module, list[nn.Conv1d]]] = []
        self._exact_padding = exact_padding
        if exact_padding:
            self._wrap_what_reaches_over_time()
        self._grouped = [m for m in expert.modules() if isinstance(m, nn.Conv1d) and m.groups > 1]
        if dtype is not None:
            for convolution in self._grouped:
                convolution.register_forward_pre_hook(lambda _, args: tuple(arg.float() for arg in args))
                convolution.register_forward_hook(lambda _, __, output: output.to(dtype))
        self._set_precision()
        self.eval()

    def put_channels_last(self) -> bool:
        """Compute the convolutions in front of the layers faster on a CPU, and round otherwise.

        For decoding: training and stored features keep to the upstream's own modules to the last bit.

        Returns:
            Whether the upstream has convolutions of the form that this is written for.
        """
        extractor = self.family.extractor(self.expert)
        if extractor is None or not fits(extractor):
            return False
        faster = ChannelsLastConvolutions(extractor.conv_layers).eval()
        replace_modules(self.expert, {id(extractor): faster})
        if self._exact_padding:
            self._over_time.append((faster, self.family.convolutions(self.expert)[:1]))
        return True

    def _wrap_what_reaches_over_time(self) -> None:
        """Replace the modules that span several frames, and record which convolutions precede each."""
        convolutions = self.family.convolutions(self.expert)
        positions = self.family.position_convolutions(self.expert)
        norms = [m for m in self.expert.modules() if isinstance(m, nn.GroupNorm)]
        wrappers = {id(norm): (PaddedGroupNorm(norm), convolutions[:1]) for norm in norms}
        wrappers |= {id(block): (PaddedConvolution(block), convolutions) for block in positions}
        replace_modules(self.expert, {key: wrapper for key, (wrapper, _) in wrappers.items()})
        self._over_time += wrappers.values()

    def _set_precision(self) -> None:
        if self.dtype is not None:
            self.expert.to(self.dtype)
            # The position convolution stays in float32: on CPUs, PyTorch 2.14.1 returns wrong results in
            # half precision when the number of channels per group is not a multiple of 16.
            for convolution in self._grouped:
                convolution.float()

    def train(self, mode: bool = True) -> "FrozenPrefix":
        """Stay in eval mode."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenPrefix":
        # ESPnet casts the whole model to its train_dtype.
        super()._apply(fn, recurse)
        self._set_precision()
        return self

    @torch.no_grad()
    def forward(
        self, wavs: list[Tensor], on_state: Callable[[Tensor], None] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Hidden states below the cut.

        Args:
            wavs: 16 kHz waveforms, each (N,), at least 400 samples.
            on_state: called with the input (B, T', D) of each layer below the cut, in the dtype of ``wavs``.
                T' may exceed T where an upstream pads its input.

        Returns:
            (B, T, D) hidden states in the dtype of ``wavs``, and the padding mask (B, T), True = padded, or
            None if nothing is padded.
        """
        frames, pieces = self._plan_pieces(wavs)
        if pieces is None:
            return self._encode(wavs, on_state)
        # A long recording has many pieces, and its neighbours in the batch need not be as long as one.
        groups = [list(group) for group in itertools.batched(pieces.cut(wavs), MOST)]
        states: list[list[Tensor]] = [[] for _ in groups]  # of each group, those of all layers
        for group, of_group in zip(groups, states, strict=True):
            hidden, _ = self._encode(group, None if on_state is None else of_group.append)
            of_group.append(hidden)
        *below, hidden = (pieces.join(itertools.chain(*layer), frames) for layer in zip(*states, strict=True))
        for each in below:
            on_state(each)
        return hidden, mark_padding(frames, hidden)

    def _encode(
        self, wavs: list[Tensor], on_state: Callable[[Tensor], None] | None
    ) -> tuple[Tensor, Tensor | None]:
        """As :meth:`forward`, of utterances that the upstream takes."""
        dtype, device = wavs[0].dtype, wavs[0].device
        lengths = tuple(wav.size(0) for wav in wavs)

        def visit(_module: nn.Module, args: tuple[Any, ...]) -> None:
            on_state(self.family.read_layer_input(args).to(dtype))

        with contextlib.ExitStack() as stack:
            if on_state is not None:
                # Only for the duration of this call: a hook that stayed would keep the last batch alive.
                for layer in self.family.encoder(self.expert).layers:
                    stack.callback(layer.register_forward_pre_hook(visit).remove)
            for module, convolutions in self._over_time:
                module.frames = count_convolved(lengths, convolutions)
                stack.callback(setattr, module, "frames", None)
            stack.enter_context(torch.autocast(device.type, enabled=False))
            hidden, padding_mask = self.family.encode(self.expert, wavs)
        return hidden.to(dtype), padding_mask

    def _plan_pieces(self, wavs: list[Tensor]) -> tuple[tuple[int, ...], Pieces | None]:
        """Frames of each utterance, and the pieces if one is longer than the upstream takes."""
        frames = self.family.count_frames(self.expert, tuple(wav.size(0) for wav in wavs))
        most = self.family.limit_frames(self.expert)
        if most is None or max(frames) <= most:
            return frames, None
        longest = max(len(wav) for wav in wavs) / SAMPLE_RATE
        logging.warning(
            "an utterance of %.2f s is longer than the %g s that the upstream takes: the frozen layers "
            "see it in overlapping pieces",
            longest,
            most * HOP / SAMPLE_RATE,
        )
        return frames, Pieces.plan(frames, most, self.family.receptive_field)
