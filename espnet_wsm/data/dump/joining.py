"""Utterances of a speaker joined to longer ones, so that a model has seen speech of that length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from espnet_wsm.data.audio.recordings import write_flac
from espnet_wsm.data.dump.audio import audio_file_name
from espnet_wsm.data.dump.lists import JOINED, read_dump, write_training_lists
from espnet_wsm.data.dump.subset import COPY_PREFIX
from espnet_wsm.data.kaldi.directory import Utterance
from espnet_wsm.data.kaldi.lists import byte_order, count, name_some, write_list
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text, write_atomically
from espnet_wsm.frames import SAMPLE_RATE


@dataclass(frozen=True)
class Joining:
    """An utterance to be made of others.

    Args:
        parts: at least two, in their order.
    """

    parts: tuple[Utterance, ...]

    @property
    def id(self) -> str:
        """That of the first part, ``+`` and how many follow."""
        return f"{self.parts[0].id}+{len(self.parts) - 1}"


def join_utterances(directory: Path, max_seconds: float, pause: float, may_be_none: bool = False) -> str:
    """Add joined utterances to ``directory`` (``dump/raw/train``), which keeps those that it has.

    Utterances of a speaker follow each other in the order of the SHA-256 digests of their ids, in which
    ``subset_dump`` takes them too, as many as fit. Each is in one joined utterance at most. Texts are joined
    by a space if any text of the set has one.

    Writes ``audio/<name>.flac``, the lists with the joined utterances among the others, and ``joined``.

    Args:
        directory: a dump folder, of 16 kHz audio.
        max_seconds: of a joined utterance, at most.
        pause: seconds of zeros between two parts.
        may_be_none: whether nothing needs to fit.

    Returns:
        a summary.

    Raises:
        UserError: a list is faulty; the set has joined utterances already; no two of a speaker fit; a joined
            utterance would have the id of another; a number makes no sense.
    """
    if not 0 < max_seconds < float("inf") or not 0 <= pause < max_seconds:
        raise UserError(f"--max_seconds {max_seconds:g} --pause {pause:g}: need 0 <= pause < max_seconds")
    if (directory / JOINED).exists():
        raise UserError(f"{directory} has joined utterances already: run stage 2 again, which makes it anew")
    utterances, num_samples = read_dump(directory)
    made = list(_plan(utterances, num_samples, round(max_seconds * SAMPLE_RATE), round(pause * SAMPLE_RATE)))
    if not made and may_be_none:
        return f"{directory.name}: no two utterances of a speaker to join"
    if not made:
        raise UserError(
            f"{directory}: no two utterances of a speaker are {max_seconds:g} s or less together, with "
            f"{pause:g} s between them: raise --join_to, or leave it out"
        )
    if taken := {each.id for each in made} & num_samples.keys():
        raise UserError(f"{directory}: ids already there that joining would make: {name_some(sorted(taken))}")
    space = " " if any(" " in each.text for each in utterances) else ""
    silence = np.zeros(round(pause * SAMPLE_RATE), np.int16)
    joined = []
    for each in tqdm(made, desc="join", unit="utt", mininterval=1.0):
        pieces = [silence] * (2 * len(each.parts) - 1)
        pieces[::2] = [_read(part) for part in each.parts]
        samples = np.concatenate(pieces)
        path = directory / "audio" / audio_file_name(each.id)
        write_atomically(path, lambda to, samples=samples: write_flac(to, samples, SAMPLE_RATE))
        text = space.join(part.text for part in each.parts if part.text)
        joined.append(Utterance(each.id, path, text, each.parts[0].speaker))
        num_samples[each.id] = len(samples)
    everything = sorted([*utterances, *joined], key=lambda each: byte_order(each.id))
    write_list(directory / JOINED, {each.id: " ".join(part.id for part in each.parts) for each in made})
    write_training_lists(directory, everything, num_samples)
    hours = sum(num_samples[each.id] for each in joined) / SAMPLE_RATE / 3600
    parts = sum(len(each.parts) for each in made)
    return (
        f"{directory.name}: {count(len(made), 'joined utterance')} of {parts} of the {len(utterances)}, "
        f"{hours:.2f} h, {min(num_samples[each.id] for each in joined) / SAMPLE_RATE:.1f} to "
        f"{max(num_samples[each.id] for each in joined) / SAMPLE_RATE:.1f} s long"
    )


def _read(utterance: Utterance) -> np.ndarray:
    samples, rate = soundfile.read(str(utterance.audio), dtype="int16")
    assert rate == SAMPLE_RATE and samples.ndim == 1, utterance.audio  # stage 2 wrote it
    return samples


def _plan(
    utterances: Iterable[Utterance], num_samples: dict[str, int], limit: int, pause: int
) -> Iterator[Joining]:
    """What to join, of at most ``limit`` samples with ``pause`` samples in between."""
    order = sorted(
        utterances, key=lambda each: (byte_order(each.speaker), digest_text(COPY_PREFIX.sub("", each.id)))
    )
    for _, of_speaker in groupby(order, key=lambda each: each.speaker):
        groups: list[list[Utterance]] = [[]]
        length = 0
        for each in of_speaker:
            more = num_samples[each.id] + (pause if groups[-1] else 0)
            if groups[-1] and length + more > limit:
                groups.append([])
                length, more = 0, num_samples[each.id]
            groups[-1].append(each)
            length += more
        yield from (Joining(tuple(parts)) for parts in groups if len(parts) > 1)
