"""ESPnet's model with a flat start of CTC, views that have to agree, and a model as a guide."""

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor
from torch.nn import functional as F

from espnet_wsm.errors import UserError
from espnet_wsm.plugin.arguments import (
    ESPNETS_CTC_WEIGHT,
    GUIDE_TEMPERATURE,
    GUIDE_WEIGHT,
    STEPS,
    check_consistency,
    check_steps,
    choose_guide,
)
from espnet_wsm.plugin.flat_start import find_flat_loss
from espnet_wsm.plugin.guide import Guide, find_guidance


class WsmASRModel(ESPnetASRModel):
    """ESPnet's, with a flat start, consistency regularisation (CR-CTC, arXiv 2410.05101) and soft targets.

    With ``flat_start``, CTC's gradient is at first that of alignments near the diagonal, by and by less
    (``espnet_wsm.plugin.flat_start``). The value of the loss is CTC's throughout.

    With ``consistency``, each utterance passes the layers above the cut twice, masked differently by
    SpecAugment; those below the cut run once. To the mean of both CTC losses is added ``consistency`` times
    half the sum of the two Kullback-Leibler divergences of their frames, each view being the target of the
    other, without a gradient.

    With ``guide``, a trained model says of every frame what it would predict, without SpecAugment, and the
    loss is (1 - ``guide_weight``) CTC + ``guide_weight`` divergence of every view from that
    (``espnet_wsm.plugin.guide``; arXiv 2506.01503). An utterance whose text is empty has no CTC loss then.

    All are sums over the frames of an utterance, and means over utterances. With ``consistency: 0``, no flat
    start and no guide, and outside of training, everything is ESPnet's.

    Args:
        flat_start: steps in which the weight of the diagonal falls from 1 to 0; 0: none.
        consistency: weight of the divergence; the paper's is 0.2. 0: one view.
        consistency_warmup: steps in which the weight rises from 0.
        guide: folder of a trained experiment, or a checkpoint in it; it is opened when training begins, and
            is not needed afterwards.
        guide_weight: from 0, no guide, to 1, no CTC.
        guide_temperature: by which the logits of both are divided. 1, as in that paper: the posteriors as
            they are.
        **conf: ESPnet's.

    Raises:
        UserError: a weight, the number of steps or the temperature cannot be, or CTC is not all of the loss.
    """

    def __init__(
        self,
        *,
        flat_start: int = 0,
        consistency: float = 0.0,
        consistency_warmup: int = 0,
        guide: str | None = None,
        guide_weight: float = GUIDE_WEIGHT,
        guide_temperature: float = GUIDE_TEMPERATURE,
        **conf,
    ):
        ctc_weight = conf.get("ctc_weight", ESPNETS_CTC_WEIGHT)
        check_steps("flat_start", flat_start)
        check_consistency(consistency, consistency_warmup, ctc_weight)
        place = choose_guide(guide, guide_weight, guide_temperature, ctc_weight)
        super().__init__(**conf)
        self.flat_start = flat_start
        self.consistency, self.consistency_warmup = consistency, consistency_warmup
        self.guide_weight, self.guide_temperature = guide_weight, guide_temperature
        self.guide_place, self.guide = place, None
        self.counts_steps = flat_start > 0 or (consistency > 0 and consistency_warmup > 0)
        if self.counts_steps:  # in checkpoints, so that a resumed training goes on
            self.register_buffer(STEPS, torch.tensor(0))

    def open_guide(self) -> None:
        """Load the guide, if there is to be one and it is not there yet.

        Whoever decodes builds the model too, and needs no guide. So it is loaded by whoever trains, or else
        by the first step.

        Raises:
            UserError: it cannot guide this model.
        """
        if self.guide_place is None or self.guide is not None:
            return
        try:
            self.guide = Guide(self.guide_place, self.encoder, self.token_list)
        except UserError as error:
            raise UserError(f"model_conf.guide: {error}") from error

    def forward(
        self, speech: Tensor, speech_lengths: Tensor, text: Tensor, text_lengths: Tensor, **kwargs
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """ESPnet's loss, statistics and number of utterances.

        Args:
            speech: (B, N) samples, or (B, T, D) hidden states below the cut.
            speech_lengths: (B,) valid samples or frames.
            text: (B, U) tokens.
            text_lengths: (B,) valid tokens.
            **kwargs: unused; ``utt_id`` among them.
        """
        if self.training and self.counts_steps:
            self.steps += 1
        if not self.training or (self.consistency == 0 and self.guide_place is None):
            return super().forward(
                speech=speech, speech_lengths=speech_lengths, text=text, text_lengths=text_lengths, **kwargs
            )
        size, views = len(speech), 2 if self.consistency > 0 else 1
        speech, speech_lengths = self._extract_feats(speech, speech_lengths)
        encoded, lengths, _ = self.encoder(speech, speech_lengths, views=views, ctc=self.ctc)
        encoded, inside = encoded if isinstance(encoded, tuple) else (encoded, [])
        told = lengths, text[:, : text_lengths.max()].repeat(views, 1), text_lengths.repeat(views)
        loss_ctc = loss = self._find_ctc(encoded, *told)
        stats = {"loss_ctc": loss_ctc}
        if self.interctc_weight > 0 and inside:  # as ESPnet weighs and names them
            losses = {f"loss_interctc_layer{number}": self._find_ctc(each, *told) for number, each in inside}
            stats |= losses
            mean = sum(losses.values()) / len(losses)
            loss_ctc = loss = (1 - self.interctc_weight) * loss_ctc + self.interctc_weight * mean
        if self.guide_place is not None:
            self.open_guide()
            targets = self.guide.log_probs(speech, speech_lengths, self.guide_temperature)
            stats["loss_guide"] = find_guidance(
                self.ctc.ctc_lo(encoded), targets.repeat(views, 1, 1), lengths, self.guide_temperature
            )
            loss = (1 - self.guide_weight) * loss_ctc + self.guide_weight * stats["loss_guide"]
        if self.consistency > 0:
            stats["loss_consistency"] = find_divergence(self.ctc.log_softmax(encoded), lengths)
            loss = loss + self._find_weight() * stats["loss_consistency"]
        stats = {name: value.detach() for name, value in (stats | {"loss": loss}).items()}
        return force_gatherable((loss, stats, size), loss.device)

    def _find_ctc(self, encoded: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor) -> Tensor:
        """Mean over the utterances; beside a guide, those without a text add nothing."""
        told = text_lengths > 0
        if self.guide_place is None or bool(told.all()):
            return self._calc_ctc_loss(encoded, lengths, text, text_lengths)[0]
        if not told.any():
            return encoded.new_zeros(())
        loss, _ = self._calc_ctc_loss(encoded[told], lengths[told], text[told], text_lengths[told])
        return loss * (told.sum() / len(told))

    def _calc_ctc_loss(
        self, encoder_out: Tensor, encoder_out_lens: Tensor, ys_pad: Tensor, ys_pad_lens: Tensor
    ) -> tuple[Tensor, float | None]:
        """ESPnet's, or in the first steps that of the flat start."""
        weight = 1 - (int(self.steps) - 1) / self.flat_start if self.training and self.flat_start else 0
        if weight <= 0:
            return super()._calc_ctc_loss(encoder_out, encoder_out_lens, ys_pad, ys_pad_lens)
        log_probs = self.ctc.log_softmax(F.dropout(encoder_out, self.ctc.dropout_rate))
        return find_flat_loss(log_probs, encoder_out_lens, ys_pad, ys_pad_lens, self.blank_id, weight), None

    def _find_weight(self) -> Tensor | float:
        """That of the divergence in this step."""
        if self.consistency_warmup == 0:
            return self.consistency
        return self.consistency * (self.steps / self.consistency_warmup).clamp(max=1)


def find_divergence(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Half the sum of the divergences of two views from each other, summed over frames, mean over utterances.

    Args:
        log_probs: (2B, T, V), the second views after the first ones.
        lengths: (2B,) valid frames.
    """
    log_probs = log_probs.float()
    first, second = log_probs.chunk(2)
    others = torch.cat([second, first]).detach()
    parts = F.kl_div(log_probs, others, reduction="none", log_target=True).sum(dim=-1)
    valid = torch.arange(log_probs.size(1), device=lengths.device) < lengths.unsqueeze(1)
    return parts.masked_fill(~valid, 0).sum() / len(log_probs)
