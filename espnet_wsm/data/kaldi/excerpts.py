"""Some minutes of speech out of data directories and audio files, always the same ones, without labels."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from espnet_wsm.data.audio.channels import check_channel, mix_down
from espnet_wsm.data.audio.faults import is_pipe
from espnet_wsm.data.audio.recordings import Header, convert, find_part, read_header, read_recording
from espnet_wsm.data.kaldi.channels import find_shared_audio
from espnet_wsm.data.kaldi.directory import Utterance, find_audio_list, inspect_data_dir
from espnet_wsm.data.kaldi.lists import raise_collected
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text

# In seconds. What is longer comes in pieces: attention takes memory with the square of the length.
LONGEST, SHORTEST = 30.0, 0.1


@dataclass(frozen=True)
class Excerpt:
    """A stretch of audio.

    Args:
        where: what names it in messages, e.g. ``data/train/wav.scp: id a``.
        audio: a file, or ``FILE.ark:OFFSET``.
        start: in seconds.
        end: in seconds.
        channel: which one of the audio, from 1; None = the mean.
    """

    where: str
    audio: Path | str
    start: float
    end: float
    channel: int | None

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end - self.start

    def read(self) -> np.ndarray:
        """(N,) float32 at 16 kHz.

        Raises:
            UserError: the audio is faulty.
        """
        try:
            recording = read_recording(self.audio, start=self.start, end=self.end)
            return convert(mix_down(self.audio, recording.samples, self.channel), recording.rate)
        except UserError as error:
            raise UserError(f"{self.where}: {error}") from None


@dataclass(frozen=True)
class _Source:
    where: str
    utterance: Utterance
    shared: frozenset[str]  # audio of which several channels are named


def choose_excerpts(
    inputs: Sequence[Path], minutes: float, channel: int | None = None
) -> tuple[Excerpt, ...]:
    """Excerpts of at most 30 s, until they have so many minutes or there is no more.

    Utterances are taken in the order of the digests of their ids, of long ones the first 30 s; when all have
    been taken, the next 30 s of those that are longer, and so on.

    Args:
        inputs: data directories, whose texts are not read, and audio files.
        minutes: of speech.
        channel: which one to take where a directory names none, from 1; None = the mean.

    Raises:
        UserError: a list or audio is faulty, or no utterance has 0.1 s.
    """
    sources = [source for each in inputs for source in _list_sources(each)]
    sources.sort(key=lambda source: (digest_text(source.utterance.id), source.where))
    left = deque((source, source.utterance.start) for source in sources)
    headers: dict[str, Header] = {}  # of recordings that come up again
    excerpts: list[Excerpt] = []
    seconds = 0.0
    while left and seconds < 60 * minutes:
        source, start = left.popleft()
        excerpt, end = _take(source, start, headers, channel)
        if excerpt.seconds >= SHORTEST:
            excerpts.append(excerpt)
            seconds += excerpt.seconds
        if end - excerpt.end >= SHORTEST:
            left.append((source, excerpt.end))
    if not excerpts:
        names = ", ".join(map(str, inputs))
        raise UserError(f"{names}: there is no utterance of {SHORTEST:g} s or more: give other audio")
    return tuple(excerpts)


def _list_sources(given: Path) -> Iterable[_Source]:
    if not given.is_dir():
        return [_Source(str(given), Utterance(given.name, given, "", given.name), frozenset())]
    if not (given / "wav.scp").exists():
        raise UserError(f"{given} has no wav.scp, so it is no data directory: name one, or the audio files")
    utterances, problems = inspect_data_dir(given, need_text=None, allow_pipes=True)
    raise_collected(problems, given)
    shared = frozenset(find_shared_audio((each.audio, each.channel) for each in utterances))
    where = find_audio_list(given)
    return [_Source(f"{where}: id {each.id}", each, shared) for each in utterances]


def _take(
    source: _Source, start: float, headers: dict[str, Header], channel: int | None
) -> tuple[Excerpt, float]:
    """The next excerpt of an utterance, and the end of the utterance in seconds."""
    utterance = source.utterance
    audio = str(utterance.audio)
    if is_pipe(audio):
        raise UserError(
            f"{source.where}: {audio!r} is a command, and none is run here: give the set in dump/raw that "
            "stage 2 makes of it, or name audio files"
        )
    try:
        headers[audio] = header = headers.get(audio) or read_header(audio)
        chosen = utterance.choose_channel(header.channels, set(source.shared), channel)
        check_channel(audio, chosen, header.channels)
        _, behind = find_part(audio, header.num_samples, header.rate, start, utterance.end)
    except UserError as error:
        raise UserError(f"{source.where}: {error}") from None
    end = behind / header.rate
    whole = Excerpt(source.where, utterance.audio, start, end, chosen)
    return replace(whole, end=min(end, start + LONGEST)), end
