"""Select utterances to train on: not too short or too long, and not with more text than CTC can align."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from espnet_wsm.data.audio.recordings import check_rate
from espnet_wsm.data.dump.lists import read_dump, write_training_lists
from espnet_wsm.data.kaldi.lists import write_list
from espnet_wsm.data.text.tokens import Tokenizer
from espnet_wsm.errors import UserError
from espnet_wsm.frames import count_encoder_frames


def count_ctc_frames(ids: Sequence[int]) -> int:
    """The fewest frames to which CTC can align ``ids``: one each, and a blank between equal neighbours."""
    return len(ids) + sum(first == second for first, second in pairwise(ids))


def select_utterances(
    directory: Path,
    out: Path,
    log: Path,
    min_seconds: float,
    max_seconds: float,
    fs: int,
    tokens: Path | None = None,
    token_type: str | None = None,
) -> str:
    """Write the lists of ``directory`` to ``out`` without the utterances that are not fit for training.

    Utterances shorter than ``min_seconds`` or longer than ``max_seconds`` are dropped, and, if the folder
    ``tokens`` of a token list is given, those whose text needs more CTC frames than the encoder has. Besides
    the usual lists, ``out`` gets ESPnet's ``speech_shape`` (``id samples``); ``log`` gets ``id reason
    numbers`` of each dropped utterance. Audio files stay where they are. Returns a summary.

    Raises UserError if nothing is kept (``log`` says why), for impossible limits, for faulty lists, and if
    ``out`` is ``directory``, because a second selection would then start from the result of the first.
    """
    if not 0 <= min_seconds <= max_seconds:
        raise UserError(f"--min_seconds {min_seconds} --max_seconds {max_seconds}: need 0 <= min <= max")
    check_rate(fs)
    if out.resolve() == directory.resolve():
        raise UserError(f"--out {out} is --dir itself: give another folder, so that nothing is lost")
    utterances, num_samples = read_dump(directory)
    tokenizer = Tokenizer(tokens, token_type) if tokens else None
    if tokenizer and not all(utterance.text for utterance in utterances):
        raise UserError(f"{directory / 'text'} does not exist: it is needed with --tokens")
    kept, reasons = [], {}
    dropped: Counter[str] = Counter()
    for utterance in utterances:
        samples = num_samples[utterance.id]
        if samples < min_seconds * fs:
            dropped[f"shorter than {min_seconds:g} s"] += 1
            reasons[utterance.id] = f"too_short seconds={samples / fs:.4f} min_seconds={min_seconds:g}"
            continue
        if samples > max_seconds * fs:
            dropped[f"longer than {max_seconds:g} s"] += 1
            reasons[utterance.id] = f"too_long seconds={samples / fs:.4f} max_seconds={max_seconds:g}"
            continue
        if tokenizer:
            ids, frames = tokenizer.ids(utterance.text), count_encoder_frames(samples)
            if frames < count_ctc_frames(ids):
                dropped["with more text than frames"] += 1
                repeats = count_ctc_frames(ids) - len(ids)
                reasons[utterance.id] = f"too_few_frames frames={frames} tokens={len(ids)} repeats={repeats}"
                continue
        kept.append(utterance)
    write_list(log, reasons)
    summary = f"{out.name}: kept {len(kept)} of {len(utterances)}"
    if dropped:
        told = ", ".join(f"{number} {reason}" for reason, number in dropped.items())
        summary += f"; dropped {told} (ids in {log})"
    if not kept:
        raise UserError(f"{summary}: nothing is left of {directory}: widen the limits")
    write_training_lists(out, kept, num_samples)
    return summary
