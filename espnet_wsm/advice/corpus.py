"""What a Kaldi data directory holds, as far as settings depend on it."""

import math
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_wsm.data.audio.faults import is_pipe
from espnet_wsm.data.kaldi.lists import count, raise_collected, read_list
from espnet_wsm.data.kaldi.validation import Measured, shorten, survey_data_dir
from espnet_wsm.data.text.rules import TextRules, find_unspaced_script
from espnet_wsm.errors import UserError


@dataclass(frozen=True)
class Corpus:
    """A data directory in numbers.

    Args:
        directory: the folder.
        seconds: length of each utterance whose length is known.
        utterances: how many there are.
        speakers: how many; None if nothing says who speaks.
        script: that of most letters, as in Unicode's names, e.g. ``LATIN``.
        characters: how many different ones, without the space.
        unspaced: the script if it is one without spaces between words, else None.
        has_pipes: whether audio comes from commands.
    """

    directory: Path
    seconds: tuple[float, ...]
    utterances: int
    speakers: int | None
    script: str
    characters: int
    unspaced: str | None
    has_pipes: bool

    @property
    def minutes(self) -> float | None:
        """Of all utterances; None if nothing is known. Those of unknown length are taken as the others."""
        if not self.seconds:
            return None
        return sum(self.seconds) / 60 * self.utterances / len(self.seconds)

    @property
    def longest(self) -> float | None:
        """Seconds of the longest utterance; None if nothing is known."""
        return max(self.seconds, default=None)

    def quantile(self, share: float) -> float:
        """Seconds that a share of the utterances stays below."""
        return float(np.quantile(self.seconds, share))

    def longer_than(self, seconds: float) -> tuple[int, float]:
        """How many utterances are longer, and their minutes."""
        long = [each for each in self.seconds if each > seconds]
        return len(long), sum(long) / 60

    def describe(self) -> str:
        """One line."""
        parts = ["length unknown" if self.minutes is None else _show_length(self.minutes)]
        parts.append(count(self.utterances, "utterance"))
        parts.append("speakers unknown" if self.speakers is None else count(self.speakers, "speaker"))
        parts.append(f"{self.script.capitalize()}, {count(self.characters, 'different character')}")
        if self.seconds:
            median, long = self.quantile(0.5), self.quantile(0.95)
            parts.append(f"median {median:.1f} s, 95 % below {long:.1f} s, longest {self.longest:.1f} s")
        return ", ".join(parts)


def _show_length(minutes: float) -> str:
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def read_corpus(directory: Path, rules: TextRules | None = None) -> Corpus:
    """Read a data directory, with the headers of its audio; no command in place of audio is run.

    What has no readable length (a command) takes it from ``segments`` or ``utt2dur``, if they say.

    Raises:
        UserError: the directory has faults, or no transcripts.
    """
    if not directory.is_dir():
        raise UserError(f"{directory} is not a folder: name a Kaldi data directory, e.g. data/train")
    if (directory / "wav.scp").exists() and not (directory / "text").exists():
        raise UserError(
            f"{directory} has no text: nothing can be fine-tuned without transcripts; such speech is for "
            "--unlabelled of a recipe that has some, with --transfer"
        )
    survey = survey_data_dir(directory, allow_pipes=True, max_seconds=math.inf, rules=rules)
    raise_collected(shorten(survey.errors), directory)
    named = _read_durations(directory)
    lengths = [_find_length(each, named) for each in survey.measured]
    utterances = [each.utterance for each in survey.measured]
    letters = Counter("".join(each.text for each in utterances).replace(" ", ""))
    return Corpus(
        directory=directory,
        seconds=tuple(length for length in lengths if length is not None),
        utterances=len(utterances),
        speakers=_count_speakers(directory, [(each.id, each.speaker) for each in utterances]),
        script=_find_script(letters),
        characters=len(letters),
        unspaced=find_unspaced_script(each.text for each in utterances),
        has_pipes=any(is_pipe(each.audio) for each in utterances),
    )


def _read_durations(directory: Path) -> dict[str, float]:
    """Kaldi's ``utt2dur``, if there is one."""
    path = directory / "utt2dur"
    if not path.exists():
        return {}
    problems: list[str] = []
    found = {}
    for id, entry in read_list(path, problems).items():
        try:
            found[id] = float(entry.value)
        except ValueError:
            found[id] = math.nan
        if not 0 < found[id] < math.inf:
            problems.append(
                f"{path}:{entry.line}: id {id} has {entry.value!r} instead of seconds: correct it"
            )
    raise_collected(problems, path)
    return found


def _find_length(each: Measured, named: dict[str, float]) -> float | None:
    """Seconds by the header, else by ``segments``, else by ``utt2dur``."""
    if each.header is not None:
        return each.seconds
    if each.utterance.end is not None:
        return each.utterance.end - each.utterance.start
    return named.get(each.utterance.id)


def _count_speakers(directory: Path, spoken: list[tuple[str, str]]) -> int | None:
    """None where ``utt2spk`` is missing, or gives each of several utterances a speaker of its own."""
    alone = all(id == speaker for id, speaker in spoken)
    if not (directory / "utt2spk").exists() or (alone and len(spoken) > 1):
        return None
    return len({speaker for _, speaker in spoken})


def _find_script(letters: Counter[str]) -> str:
    """The first word of the Unicode name of most letters."""
    found: Counter[str] = Counter()
    for letter, number in letters.items():
        if letter.isalpha():
            found[unicodedata.name(letter, "unknown").split()[0]] += number
    return found.most_common(1)[0][0] if found else "no letters"
