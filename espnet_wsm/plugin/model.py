"""ESPnet's model with what may stand beside CTC's loss: two views of an utterance have to agree."""

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor
from torch.nn import functional as F

from espnet_wsm.plugin.arguments import ESPNETS_CTC_WEIGHT, STEPS, check_consistency


class WsmASRModel(ESPnetASRModel):
    """ESPnet's, with consistency regularisation (CR-CTC, arXiv 2410.05101) in training.

    Each utterance passes the layers above the cut twice, masked differently by SpecAugment; those below the
    cut run once. The loss is the mean of both CTC losses, plus ``consistency`` times half the sum of the two
    Kullback-Leibler divergences of their frames, each view being the target of the other, without a gradient.
    Both are sums over the frames of an utterance, and means over utterances. With ``consistency: 0``, and
    outside of training, everything is ESPnet's.

    Args:
        consistency: weight of the divergence; the paper's is 0.2. 0: one view.
        consistency_warmup: steps in which the weight rises from 0.
        **conf: ESPnet's.

    Raises:
        UserError: the weight or the number of steps is negative, or CTC is not all of the loss.
    """

    def __init__(self, *, consistency: float = 0.0, consistency_warmup: int = 0, **conf):
        check_consistency(consistency, consistency_warmup, conf.get("ctc_weight", ESPNETS_CTC_WEIGHT))
        super().__init__(**conf)
        self.consistency, self.consistency_warmup = consistency, consistency_warmup
        if consistency > 0 and consistency_warmup > 0:  # in checkpoints, so that a resumed training goes on
            self.register_buffer(STEPS, torch.tensor(0))

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
        if self.consistency == 0 or not self.training:
            return super().forward(
                speech=speech, speech_lengths=speech_lengths, text=text, text_lengths=text_lengths, **kwargs
            )
        size = len(speech)
        encoded, lengths, _ = self.encoder(*self._extract_feats(speech, speech_lengths), views=2)
        text = text[:, : text_lengths.max()].repeat(2, 1)
        loss_ctc, _ = self._calc_ctc_loss(encoded, lengths, text, text_lengths.repeat(2))
        divergence = find_divergence(self.ctc.log_softmax(encoded), lengths)
        loss = loss_ctc + self._find_weight() * divergence
        stats = {"loss_ctc": loss_ctc, "loss_consistency": divergence, "loss": loss}
        stats = {name: value.detach() for name, value in stats.items()}
        return force_gatherable((loss, stats, size), loss.device)

    def _find_weight(self) -> Tensor | float:
        """That of this step, which is counted."""
        if self.consistency_warmup == 0:
            return self.consistency
        self.steps += 1
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
