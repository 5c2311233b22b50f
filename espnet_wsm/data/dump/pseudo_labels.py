"""What a model said of speech that nobody has transcribed, and which of it the next model learns from."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from espnet_wsm.data.dump.audio import read_flac_md5
from espnet_wsm.data.dump.lists import read_dump, read_joined, read_num_samples, write_dump_lists
from espnet_wsm.data.dump.selection import count_ctc_frames
from espnet_wsm.data.dump.shared_audio import read_digests
from espnet_wsm.data.kaldi.lists import byte_order, count, raise_collected, read_list, write_list
from espnet_wsm.data.text.tokens import UNKNOWN, Tokenizer
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text, write_text
from espnet_wsm.frames import SAMPLE_RATE, count_encoder_frames

POOL = "pool"  # the list of what is transcribed: `id samples`
LABELS = "labels.json"


class Said(NamedTuple):
    """The best path of an utterance as text, and how sure the model was, from 0 to 1."""

    text: str
    confidence: float


@dataclass(frozen=True)
class LabelSummary:
    """What became of the utterances that were transcribed; prints as one line.

    Args:
        transcribed: how many.
        empty: those without text.
        unfit: those whose text cannot be trained on: unknown tokens, or more tokens than frames.
        unsure: those of least confidence that were left out.
        kept: those to learn from.
        hours: of the kept ones.
        least: the lowest confidence of the kept ones.
    """

    transcribed: int
    empty: int
    unfit: int
    unsure: int
    kept: int
    hours: float
    least: float

    def __str__(self) -> str:
        return (
            f"{count(self.transcribed, 'utterance')} transcribed: {self.empty} empty, {self.unfit} with a "
            f"text that cannot be trained on, {self.unsure} of least confidence left out; kept {self.kept}, "
            f"{self.hours:.2f} h, of confidence {self.least:.3f} and more"
        )


def plan_pool(out: Path, speech: Path, measured: Iterable[Path], known: Path) -> str:
    """Write the list of utterances to transcribe, and say how many there are.

    Args:
        out: folder of the labels.
        speech: dump/raw/unlabelled, or the training set.
        measured: sets to measure on, of whose audio nothing is taken.
        known: folder of the transcripts that are learnt from, whose utterances are not taken.

    Raises:
        UserError: a list is faulty, or nothing is left.
    """
    utterances, num_samples = read_dump(speech)
    problems: list[str] = []
    transcribed = read_list(known / "wav.scp", problems)
    raise_collected(problems, known)
    digests = {digest for folder in measured for digest in read_digests(folder).values()}
    others = [each for each in utterances if each.id not in transcribed]
    taken = [each.id for each in others if read_flac_md5(Path(each.audio)) not in digests]
    joined, left = read_joined(speech), {each.id for each in others} - set(taken)
    taken = [id for id in taken if not {*joined.get(id, ())} & (left | transcribed.keys())]
    if not taken:
        raise UserError(f"{speech} holds no speech beside {known} and the sets to measure on: give more")
    write_list(out / POOL, {id: num_samples[id] for id in taken})
    seconds = sum(num_samples[id] for id in taken) / SAMPLE_RATE
    return f"{speech.name}: {count(len(taken), 'utterance')} to transcribe, {seconds / 3600:.2f} h" + (
        f"; {len(left)} left out, whose audio is in a set to measure on" if left else ""
    )


def read_pool(out: Path) -> dict[str, int]:
    """The samples of each utterance that :func:`plan_pool` has taken.

    Raises:
        UserError: the list is missing or faulty.
    """
    problems: list[str] = []
    pool = read_num_samples(out / POOL, problems)
    raise_collected(problems, out)
    return pool


def write_said(path: Path, said: Mapping[str, Said]) -> None:
    """Write what a job has transcribed, ``id confidence text``."""
    write_text(path, [f"{id} {each.confidence:.6f} {each.text}".rstrip() for id, each in said.items()])


def read_said(path: Path) -> dict[str, Said]:
    """What :func:`write_said` wrote.

    Raises:
        UserError: it is missing: the job failed.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: its job failed, see the logs; run stage 3 again") from None
    parts = (line.split(" ", 2) for line in lines)
    return {id: Said("".join(text), float(confidence)) for id, confidence, *text in parts}


def select_labels(
    out: Path, speech: Path, said: Mapping[str, Said], tokenizer: Tokenizer, leave_out: float
) -> LabelSummary:
    """Write the lists of what is learnt from to ``out``, as those of a training set.

    Empty texts go, and those that cannot be trained on; then the share ``leave_out`` of the rest, that of
    least confidence (among equals, by the digests of their ids). ``dropped`` has ``id reason confidence``,
    ``utt2confidence`` the kept ones, ``labels.json`` the numbers.

    Raises:
        UserError: a list is faulty, an utterance was not transcribed, or nothing is left.
    """
    pool = read_pool(out)
    if missing := pool.keys() ^ said.keys():
        raise UserError(
            f"{out}: {count(len(missing), 'utterance')} not transcribed once, {min(missing)} is one: see the "
            "logs of the jobs; run stage 3 again"
        )
    reasons: dict[str, str] = {}
    for id, samples in pool.items():
        if not said[id].text:
            reasons[id] = "empty"
        elif UNKNOWN in said[id].text or count_ctc_frames(
            tokenizer.ids(said[id].text)
        ) > count_encoder_frames(samples):
            reasons[id] = "unfit"
    fit = sorted(pool.keys() - reasons.keys(), key=lambda id: (said[id].confidence, digest_text(id)))
    reasons |= dict.fromkeys(fit[: int(len(fit) * leave_out)], "unsure")
    kept = sorted(pool.keys() - reasons.keys(), key=byte_order)
    write_list(out / "dropped", {id: f"{why} {said[id].confidence:.6f}" for id, why in reasons.items()})
    if not kept:
        raise UserError(
            f"{out}: of {count(len(pool), 'utterance')} none has a text to learn from: the model is not good "
            "enough yet for --pseudo_rounds: train it longer or on more, see its report"
        )
    utterances = {each.id: each for each in read_dump(speech)[0]}
    write_dump_lists(out, [replace(utterances[id], text=said[id].text) for id in kept], pool)
    write_list(out / "speech_shape", {id: pool[id] for id in kept})
    write_list(out / "utt2confidence", {id: f"{said[id].confidence:.6f}" for id in kept})
    numbers = Counter(reasons.values())
    summary = LabelSummary(
        transcribed=len(pool),
        **{reason: numbers[reason] for reason in ("empty", "unfit", "unsure")},
        kept=len(kept),
        hours=round(sum(pool[id] for id in kept) / SAMPLE_RATE / 3600, 4),
        least=min(said[id].confidence for id in kept),
    )
    write_text(out / LABELS, json.dumps(asdict(summary), indent=1).split("\n"))
    return summary
