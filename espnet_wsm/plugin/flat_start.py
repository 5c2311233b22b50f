"""CTC that begins with alignments near the diagonal, as Kaldi's flat start begins with equal ones."""

import torch
from torch import Tensor
from torch.nn import functional as F

from espnet_wsm.frames import HOP, SAMPLE_RATE

SPREAD = SAMPLE_RATE / HOP  # frames; a second: the standard deviation of a token's place
FREQUENCY = 0.3  # the power of a token's mean probability by which its own is divided


def find_flat_loss(
    log_probs: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, blank: int, weight: float
) -> Tensor:
    """CTC's loss, with the gradient of one that knows roughly where tokens are, and that blanks are not all.

    CTC begins with blanks in all frames and has to find out which token is where: of a sentence of ten
    seconds, anywhere. Until it has, its loss stands still. But people speak evenly. Here token u of U is at
    home around frame (u + 1/2) T / U, with a normal density of a second's standard deviation (as aligners of
    speech synthesis have it, arXiv 2108.10447), and what is probable everywhere, blanks first of all, counts
    less: each probability is divided by a power of its mean over the batch (label priors, arXiv 2406.02560).
    The occupancies of tokens and blanks that come of this are the targets of each frame. In them, a token
    that is said twice needs no blank between.

    Args:
        log_probs: (B, T, V) log probabilities.
        lengths: (B,) valid frames.
        text: (B, U) tokens, without blanks; any value where it is padded.
        text_lengths: (B,) valid tokens, at least one.
        blank: the blank's token.
        weight: of place and frequency, from 0 (plain CTC) to 1.

    Returns:
        The mean over utterances. Its value is CTC's; an utterance with more tokens than frames adds nothing.
    """
    log_probs = log_probs.float()
    frames, places = (torch.arange(each.size(1), device=log_probs.device) for each in (log_probs, text))
    valid = frames < lengths[:, None]  # (B, T)
    text = text.where(places < text_lengths[:, None], blank)
    # (B, T, 1 + U): blank, then each token of the text, for CTC a symbol of its own.
    choice = F.pad(text, (1, 0), value=blank)[:, None].expand(-1, len(frames), -1)
    with torch.no_grad():
        mean = log_probs.exp()[valid].mean(dim=0).clamp(min=torch.finfo(torch.float32).tiny)
        scores = (log_probs - FREQUENCY * weight * mean.log()).gather(2, choice)
        homes = (places + 0.5) * (lengths / text_lengths)[:, None]  # (B, U)
        away = (frames[:, None] + 0.5 - homes[:, None]) / SPREAD
        scores[:, :, 1:] -= 0.5 * weight * away.square()
    with torch.enable_grad():
        scores.requires_grad_()
        symbols = (places + 1).expand(len(text), -1)
        losses = F.ctc_loss(
            scores.log_softmax(dim=2).transpose(0, 1), symbols, lengths, text_lengths, reduction="none"
        )
        possible = losses.isfinite()
        (gradient,) = torch.autograd.grad(losses[possible].sum(), scores)
    occupancy = scores.detach().softmax(dim=2) - gradient
    occupancy = occupancy.where((valid & possible[:, None])[:, :, None], 0)
    flat = -(occupancy * log_probs.gather(2, choice)).sum() / len(text)
    plain = F.ctc_loss(
        log_probs.detach().transpose(0, 1), text, lengths, text_lengths, blank, "none", zero_infinity=True
    )
    return flat + (plain.mean() - flat.detach())
