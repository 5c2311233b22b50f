"""A trained model as one function of one recording, which can be traced for another runtime."""

import copy
import dataclasses
from collections.abc import Collection

from torch import Tensor, nn

from espnet_wsm.plugin.acoustic_model import AcousticModel
from espnet_wsm.upstream import load_upstream
from espnet_wsm.upstream.cut import cut_of
from espnet_wsm.upstream.families.contract import FamilyContract

# Added to the score of a token that must not come out; exp of it is zero in any precision.
NEVER = -1e4


class OneRecording(nn.Module):
    """From the samples of one recording to the log probabilities of the tokens.

    All is computed in float32, whatever the training's precision. A recording alone has no padding, so none
    of the masks of training is in the graph.

    Args:
        model: a trained model; it is changed.
        silent: ids of tokens that never come out.
    """

    def __init__(self, model: AcousticModel, silent: Collection[int] = ()):
        super().__init__()
        self.encoder, self.head, self.ctc = model.encoder, model.ctc.ctc_lo, None
        if self.encoder.interctc_use_conditioning:  # on what CTC predicts, silent tokens included
            self.ctc, self.head = model.ctc, copy.deepcopy(self.head)
        self.encoder.suffix_dtype = "float32"
        config, family = self.encoder.config, self.encoder.checkpoint.family
        if self.encoder.prefix.dtype is not None:
            expert, _ = load_upstream(config.upstream, config.trust)
            full = dataclasses.replace(config, prefix_dtype="float32")
            self.encoder.prefix, _ = cut_of(expert, family, full)
        transformer = family.encoder(self.encoder.prefix.expert)
        if hasattr(transformer, "required_seq_len_multiple"):
            # fairseq pads to even lengths for the sake of GPUs, and masks the padding again.
            transformer.required_seq_len_multiple = 1
        self.requires_grad_(False).eval()
        self.head.bias[list(silent)] += NEVER

    def forward(self, samples: Tensor) -> Tensor:
        """(1, N) samples at 16 kHz to (1, T, V) log probabilities of frames of 20 ms."""
        return self.head(self.encoder.encode_alone(samples[0], self.ctc)).log_softmax(dim=-1)


def ignores_level(family: FamilyContract, expert: nn.Module) -> bool:
    """Whether an upstream hears the same at any level of a recording, and wherever its zero line is.

    Either it normalises the samples itself, or a norm over time of each channel follows its first
    convolution, which has no bias: what is added to all samples, or multiplies them, is gone after it.
    """
    if family.normalises(expert):
        return True
    first = next(iter(family.convolutions(expert)), None)
    norms = [module for module in expert.modules() if isinstance(module, nn.GroupNorm)]
    if first is None or first.bias is not None or not norms:
        return False
    return norms[0].num_groups == norms[0].num_channels == first.out_channels
