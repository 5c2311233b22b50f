"""How sure a CTC model is of a frame, and so of a word."""

import torch
from torch import Tensor

ALPHA = 1 / 3


def measure_confidence(log_probs: Tensor) -> Tensor:
    """One minus the entropy of each frame, normalised: 1 for one possible token, 0 for all alike.

        c = 1 - (sum_v p_v^a - 1) / (V^(1 - a) - 1)        a = 1/3

    Tsallis' entropy instead of Shannon's, which, like the highest probability, hardly tells frames of an
    overconfident model apart, and the least of the frames of a word as that of the word (Laptev and Ginsburg
    2022, arXiv 2212.08703). On asterisk, with attention, WSM and head windows on Whisper base, it told wrong
    words from right ones best, on average, of 25 combinations of measures and means: AUC 0.73 to 0.84. The
    score of an alignment does not serve: it tells how well the text fits, not whether another would.

    Args:
        log_probs: (..., V) log probabilities.

    Returns:
        (...) from 0 to 1.
    """
    size = log_probs.size(-1)
    if size == 1:
        return torch.ones_like(log_probs[..., 0])
    spread = (ALPHA * log_probs).exp().sum(dim=-1) - 1
    return (1 - spread / (size ** (1 - ALPHA) - 1)).clamp(0, 1)
