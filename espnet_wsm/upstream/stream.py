"""The layers above the cut on frames that come in pieces, with the outputs of the whole utterance."""

import copy
import math

import torch
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.mixing import StreamMemory
from espnet_wsm.mixing.block import MixingBlock
from espnet_wsm.upstream.families.contract import AdaptedMixer, FamilyContract
from espnet_wsm.upstream.precision import choose_dtype
from espnet_wsm.upstream.suffix import NOTHING, Behind, TrainableSuffix, autocast_products

REMEDY = (
    "for speech that goes on, train with causal: true (mixers wsm, sm and local), or with max_look_ahead: a "
    "number of frames (mixer wsm_heads)"
)


class SuffixStream:
    """Recognising live speech anew with every word costs ever more; here each frame is computed once.

    Of a layer whose attention is replaced, all but the mixing is done frame by frame. So the family's own
    layer runs on each piece, and the mixing block in it has a memory (``StreamMemory``) of the frames before:
    the last ones, a sum and a count. Outputs are those of the whole utterance. A layer that looks b frames
    ahead holds its outputs back until these are there and computes b frames once more with every piece.

    Weights are those of the suffix, which is left as it is: any number of streams may run beside each other,
    in threads too. Dropout is off.

    Args:
        suffix: after surgery.
        dtype: of its matrix products, ``suffix_dtype`` of the configuration.
        behind: as in ``TrainableSuffix.forward``.

    Raises:
        UserError: a layer needs the whole utterance.
    """

    def __init__(self, suffix: TrainableSuffix, dtype: str = "float32", behind: Behind = NOTHING):
        for number, layer in enumerate(suffix.layers, 1):
            if reason := _find_hindrance(layer, suffix.family):
                raise UserError(
                    f"layer {number} of the {len(suffix.layers)} above the cut cannot take speech in pieces: "
                    f"{reason}; {REMEDY}"
                )
        self._layers = [_LayerStream(layer, suffix.family, suffix.shared) for layer in suffix.layers]
        self._final_norm = suffix.final_norm
        self._dtype, self._behind = dtype, behind

    @torch.inference_mode()
    def push(self, hidden: Tensor, last: bool = False) -> Tensor:
        """Take the next frames of an utterance.

        Args:
            hidden: (B, T, D) states below the cut, T >= 0; B utterances that go on alike, usually one.
            last: the utterance ends with them. The next piece then begins another.

        Returns:
            (B, T', D) all frames of the output that can be known by now, from where the last piece's ended:
            with ``last`` all that are left, else all but the last ``look_ahead`` of the suffix.
        """
        with autocast_products(choose_dtype(self._dtype, hidden.device), hidden.device):
            x = hidden
            for place, layer in enumerate(self._layers):
                x = layer.push(x, last)
                x = self._behind[place](x) if place in self._behind else x
            if self._final_norm is not None:
                x = self._final_norm(x)
        return x.to(hidden.dtype)


def _find_hindrance(layer: nn.Module, family: FamilyContract) -> str | None:
    """Why a layer cannot run on pieces, or None."""
    if family.convolves:
        return f"layers of {family.name} have a convolution over time"
    attention = getattr(layer, family.attention)
    block = attention.mixer if isinstance(attention, AdaptedMixer) else attention
    if not isinstance(block, MixingBlock):
        return "it has attention, which looks at the whole utterance"
    if block.look_ahead == math.inf:
        return "its block averages over the whole utterance"
    return None


class _Mixer(nn.Module):
    """A mixing block with its memory in one stream, in the place of the block."""

    def __init__(self, block: MixingBlock, memory: StreamMemory):
        super().__init__()
        self.block, self.memory = block, memory

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.block.stream(x, self.memory)


class _LayerStream:
    """A layer in one stream: a copy that has the same parameters, and the frames it has to see again."""

    def __init__(self, layer: nn.Module, family: FamilyContract, shared: nn.Module | None):
        # Whatever is remembered as copied is not copied.
        same = {id(each): each for each in (*layer.parameters(), *layer.buffers())}
        self._layer = copy.deepcopy(layer, same).eval()
        self._family, self._shared = family, shared
        self._adapted = getattr(self._layer, family.attention)
        self._block: MixingBlock = self._adapted.mixer
        self._begin()

    def _begin(self) -> None:
        self._memory = self._block.start_stream()
        self._adapted.mixer = _Mixer(self._block, self._memory)
        self._open: Tensor | None = None  # (B, up to look_ahead, D): its last inputs

    def push(self, x: Tensor, last: bool) -> Tensor:
        """(B, T, D) inputs to (B, T', D) outputs, as of SuffixStream."""
        if self._open is not None:
            x = torch.cat([self._open, x], dim=1)
        held = 0 if last else min(int(self._block.look_ahead), x.size(1))
        known = x.size(1) - held
        self._open = x[:, known:].clone()
        out = x[:, :0]
        if known:
            self._memory.open = held
            out = self._family.run_layers([self._layer], x, None, self._shared)[:, :known]
        if last:
            self._begin()
        return out
