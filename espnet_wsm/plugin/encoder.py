"""The ESPnet encoder: raw waveform in, frames of the fine-tuned upstream out."""

import inspect
import logging
from dataclasses import MISSING, asdict, fields

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from torch import Tensor

from espnet_wsm.upstream import WsmConfig, cut_upstream, load_upstream, replace_last_attention

# Receptive field of the convolutions of every wav2vec 2.0 style upstream: one frame needs 25 ms at 16 kHz.
MIN_SAMPLES = 400


class WsmS3prlEncoder(AbsEncoder):
    """Fine-tuning only the last layers of an upstream, as an ESPnet encoder.

    ESPnet's own ``S3prlFrontend`` back-propagates through the whole upstream even when it is frozen. Here
    the upstream is cut below the first replaced layer: the prefix runs in eval mode and without a graph,
    the suffix trains.

    Args:
        input_size: given by ESPnet, unused: the input is the waveform. ``input_size: 1``, ``frontend: null``,
            ``normalize: null`` and ``specaug: null`` in the training configuration make it so.
        **conf: the fields of :class:`espnet_wsm.upstream.WsmConfig`.

    Raises:
        UserError: from the configuration, the upstream or the surgery.
    """

    def __init__(self, input_size: int, **conf):
        super().__init__()
        self.config = WsmConfig.from_dict(conf)
        expert, family = load_upstream(self.config.upstream, self.config.path)
        self._output_size = family.dim(expert)
        self.report = replace_last_attention(expert, family, self.config)
        logging.info("Surgery on %s:\n%s", self.config.upstream, self.report)
        self.prefix, self.suffix = cut_upstream(expert, family, self.config.num_replaced)

    def output_size(self) -> int:
        """Channels of the output."""
        return self._output_size

    def forward(
        self, xs_pad: Tensor, ilens: Tensor, prev_states: Tensor | None = None
    ) -> tuple[Tensor, Tensor, None]:
        """Encode a batch of waveforms.

        Args:
            xs_pad: (B, N) 16 kHz samples.
            ilens: (B,) valid samples of each. Shorter than one frame (400) counts as zero-padded to one.
            prev_states: unused, part of ESPnet's interface.

        Returns:
            (B, T, D) frames of 20 ms, (B,) valid frames of each, None.
        """
        if xs_pad.dim() == 3:
            xs_pad = xs_pad.squeeze(-1)
        if xs_pad.size(1) < MIN_SAMPLES:
            xs_pad = torch.nn.functional.pad(xs_pad, (0, MIN_SAMPLES - xs_pad.size(1)))
        wavs = [x[: max(n, MIN_SAMPLES)] for x, n in zip(xs_pad, ilens.tolist(), strict=True)]
        hidden, padding_mask = self.prefix(wavs)
        encoded = self.suffix(hidden, padding_mask)
        if padding_mask is None:
            return encoded, torch.full_like(ilens, encoded.size(1)), None
        olens = (~padding_mask).sum(dim=1)
        if not self.training:
            encoded = _repeat_last_frame(encoded, olens)
        return encoded, olens.to(ilens.dtype), None

    def reload_pretrained_parameters(self) -> None:
        """Undo ESPnet's ``init:`` on everything that came with the upstream; new blocks keep their init.

        ESPnet calls this at the end of its initialisation. The weights are read again from the checkpoint
        instead of being held twice in memory.
        """
        fresh = type(self)(1, **asdict(self.config))
        new_blocks = ()
        if self.config.mixer != "attention":
            attention = self.suffix.family.attention
            new_blocks = tuple(f"suffix.layers.{i}.{attention}." for i in range(self.config.num_replaced))
        kept = {k: v for k, v in fresh.state_dict().items() if not k.startswith(new_blocks)}
        self.load_state_dict(self.state_dict() | kept)


def _repeat_last_frame(x: Tensor, lengths: Tensor) -> Tensor:
    """Fill the padding of (B, T, D) with each utterance's last valid frame.

    ESPnet 202611 computes cer_ctc from the best path over all frames, padding included, and would count
    what it finds there as insertions, and choose the best epoch by it. A repeated frame adds no token.
    """
    frames = torch.arange(x.size(1), device=x.device).unsqueeze(0)  # (1, T)
    index = torch.minimum(frames, (lengths - 1).clamp(min=0).unsqueeze(1))  # (B, T)
    return x.gather(1, index.unsqueeze(-1).expand_as(x))


# ESPnet reads defaults from the signature of a class: state the fields of WsmConfig there once.
WsmS3prlEncoder.__signature__ = inspect.Signature(
    [inspect.Parameter("input_size", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    + [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(WsmConfig)
    ]
)
