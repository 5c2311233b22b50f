"""Forced alignment: where the tokens of a known text are in the audio, by the posteriors of a CTC model."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE

PART = 3000  # frames, a minute: between two cuts there are no fewer
MOST_CELLS = 2**31  # bytes that torchaudio's table may take: one for each frame and state
AGREEMENT = 12  # tokens in a row in which text and recognition agree, where a cut may be made


def align_tokens(log_probs: Tensor, tokens: Sequence[int], blank: int) -> tuple[list[int], list[float]]:
    """The most probable path of a model through known tokens.

    torchaudio's ``forced_align`` is exact, but its table grows with audio times text: 18 GB for an hour.
    ctc-segmentation, made for long audio, takes a band of it, which is 1.6 GB. Here long audio is cut where
    the model's own best path has twelve tokens of the text in a row, a run that stands once in both, and the
    parts, a minute or more, are aligned exactly.

    Args:
        log_probs: (T, V) float32 log probabilities of the frames, on the CPU.
        tokens: (S,) ids, without blanks.
        blank: id of the blank.

    Returns:
        (T,) token of each frame, blanks included, and (T,) its probability.

    Raises:
        UserError: there are more tokens than frames can hold, or text and audio agree nowhere for long.
    """
    path: list[int] = []
    done = 0
    cuts = [*_find_cuts(log_probs, tokens, blank), (log_probs.size(0), len(tokens))]
    for frame, token in cuts:
        path += _align_exactly(log_probs[len(path) : frame], tokens[done:token], blank, len(path))
        done = token
    chosen = torch.tensor(path).unsqueeze(1)
    return path, log_probs.gather(1, chosen).squeeze(1).exp().tolist()


def _align_exactly(log_probs: Tensor, tokens: Sequence[int], blank: int, begin: int) -> list[int]:
    from torchaudio.functional import forced_align

    frames = len(log_probs)
    if not tokens:
        return [blank] * frames
    least = len(tokens) + sum(one == other for one, other in pairwise(tokens))
    first, last = (frame * HOP / SAMPLE_RATE for frame in (begin, begin + frames))
    where = f"from {first:.2f} to {last:.2f} s of the audio"
    if least > frames:
        raise UserError(
            f"{where} there are {frames} frames of 20 ms, and the text that belongs there needs {least}: it "
            "is not the text of this audio"
        )
    if frames * (2 * len(tokens) + 1) > MOST_CELLS:
        raise UserError(
            f"{where} the model recognises nothing of the text, and that is too long to be aligned in one "
            "piece: give the text of shorter audio, or a better model"
        )
    path, _ = forced_align(log_probs.unsqueeze(0).contiguous(), torch.tensor([list(tokens)]), blank=blank)
    return path[0].tolist()


def _find_cuts(log_probs: Tensor, tokens: Sequence[int], blank: int) -> list[tuple[int, int]]:
    """(frame, token) at which a part ends and the next one begins, ``PART`` frames apart and more."""
    if len(log_probs) < 2 * PART:
        return []
    best = log_probs.argmax(dim=-1)
    named, counts = torch.unique_consecutive(best, return_counts=True)
    begins = (counts.cumsum(0) - counts)[named != blank].tolist()
    heard = named[named != blank].tolist()
    cuts, last = [], 0
    for in_text, in_heard in _find_agreements(tokens, heard):
        frame = begins[in_heard + AGREEMENT // 2]
        if last + PART <= frame <= len(log_probs) - PART:
            cuts.append((frame, in_text + AGREEMENT // 2))
            last = frame
    return cuts


def _find_agreements(text: Sequence[int], heard: Sequence[int]) -> list[tuple[int, int]]:
    """Places, in both in order, of what stands once in each: the longest such chain (patience diff)."""
    places = [_find_unique(sequence) for sequence in (text, heard)]
    pairs = sorted((place, places[1][run]) for run, place in places[0].items() if run in places[1])
    tails: list[int] = []  # least last place in what was heard, of chains of 1, 2, ... pairs
    ends: list[int] = []  # the pair that has it
    before: list[int | None] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(tails, place)
        before.append(ends[length - 1] if length else None)
        tails[length : length + 1], ends[length : length + 1] = [place], [number]
    chain, number = [], ends[-1] if ends else None
    while number is not None:
        chain.append(pairs[number])
        number = before[number]
    return chain[::-1]


def _find_unique(sequence: Sequence[int]) -> dict[tuple[int, ...], int]:
    """Runs of ``AGREEMENT`` tokens that stand once in a sequence, with their places."""
    runs = [tuple(sequence[i : i + AGREEMENT]) for i in range(len(sequence) - AGREEMENT + 1)]
    counts = Counter(runs)
    return {run: place for place, run in enumerate(runs) if counts[run] == 1}
