"""What annotations of a recording are: tiers of segments, segments of words, words of characters.

Times are seconds from the beginning of the audio. Most formats keep milliseconds: a time n / 1000 comes
back from each of them as the same number.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from espnet_wsm.errors import UserError

KINDS = ("utterances", "words", "characters")
# What XML cannot hold, or text not encode: controls but tab and line feed, halves of surrogate pairs.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
MAX_SECONDS = 1e8  # three years; what is later was not meant as seconds
_SLACK = 0.001  # seconds by which a word may stick out of its segment: times are rounded to milliseconds


def to_milliseconds(seconds: float) -> int:
    """The nearest whole number of milliseconds."""
    return round(seconds * 1000)


def from_milliseconds(milliseconds: int) -> float:
    """Seconds, so that :func:`to_milliseconds` gives the same number again."""
    return milliseconds / 1000


@dataclass(frozen=True)
class Span:
    """A text with its times.

    Args:
        start: seconds from the beginning of the audio, 0 or more.
        end: seconds, not before ``start``; equal to it for what has no length.
        text: any characters but controls; lines in it end in a line feed.
        confidence: 0 to 1, or None where it is not known.

    Raises:
        UserError: a value is outside of these limits.
    """

    start: float
    end: float
    text: str
    confidence: float | None = None

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not value <= MAX_SECONDS or value == -math.inf:
                raise UserError(f"{name} is {str(value)[:40]}, which is no time in seconds: correct it")
        if self.start < 0:
            raise UserError(f"start is {self.start:g} s, before the audio begins: times count from 0")
        if self.end < self.start:
            raise UserError(
                f"{self.end:g} s, where it ends, is before {self.start:g} s, where it starts: exchange or "
                "correct them"
            )
        check_text(self.text, "text")
        if self.confidence is not None and not _is_confidence(self.confidence):
            raise UserError(f"confidence is {self.confidence!r}: it has to be from 0 to 1, or left out")

    @property
    def duration(self) -> float:
        """Seconds from ``start`` to ``end``."""
        return self.end - self.start


@dataclass(frozen=True)
class Character(Span):
    """One character of a word, or several that are read as one."""


@dataclass(frozen=True)
class Word(Span):
    """A word; ``characters`` are in order of time and within it, or there are none."""

    characters: tuple[Character, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "characters", tuple(self.characters))
        _check_parts(self, self.characters, "character")


@dataclass(frozen=True)
class Segment(Span):
    """An utterance, or a word or character of a tier of these.

    Args:
        speaker: who speaks, where it is not the speaker of the tier.
        words: in order of time and within the segment, or none.
    """

    speaker: str | None = None
    words: tuple[Word, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.speaker, "speaker")
        object.__setattr__(self, "words", tuple(self.words))
        _check_parts(self, self.words, "word")


@dataclass(frozen=True)
class Tier:
    """A layer of annotations.

    Args:
        name: one line, unique in the recording.
        segments: in order of their starts; they may overlap.
        kind: what the segments are, one of ``KINDS``.
        speaker: who speaks in all segments that do not say otherwise; None if it is not known.
    """

    name: str
    segments: tuple[Segment, ...] = ()
    kind: str = "utterances"
    speaker: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.segments))
        if self.name is None or not self.name.strip():
            raise UserError("a tier has no name: give it one")
        check_name(self.name, "name of a tier")
        check_name(self.speaker, f"speaker of tier {self.name}")
        if self.kind not in KINDS:
            raise UserError(f"tier {self.name} is of kind {self.kind!r}: it has to be {', '.join(KINDS)}")
        for one, other in zip(self.segments, self.segments[1:], strict=False):
            if other.start < one.start:
                raise UserError(
                    f"tier {self.name}: the segment at {other.start:g} s comes after the one at "
                    f"{one.start:g} s: sort them by time"
                )

    def speaker_of(self, segment: Segment) -> str | None:
        """Who speaks in a segment of this tier, None if it is not known."""
        return segment.speaker or self.speaker


@dataclass(frozen=True)
class Recording:
    """What is known of one recording.

    Args:
        audio: file name of the audio, as the annotations name it; None if they do not.
        tiers: names are unique.
        duration: of the audio in seconds, None if it is not known.
        language: any code or name, None if it is not known.
    """

    audio: str | None = None
    tiers: tuple[Tier, ...] = field(default=())
    duration: float | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(self.tiers))
        check_name(self.audio, "audio")
        check_name(self.language, "language")
        if self.duration is not None:
            Span(0, self.duration, "")
        names = [tier.name for tier in self.tiers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"two tiers are named {twice}: rename one of them")


def check_text(text: str, name: str) -> None:
    """Raise UserError if a text holds characters that no annotation can, controls above all."""
    if not isinstance(text, str):
        raise UserError(f"{name} is {text!r}, which is no text: put it in quotes")
    if found := _FORBIDDEN.search(text):
        raise UserError(
            f"{name} holds the control character U+{ord(found[0]):04X} at place {found.start() + 1}: remove "
            "it"
        )


def check_name(name: str | None, what: str) -> None:
    """Raise UserError if a name is not None and cannot be written on one line."""
    if name is None:
        return
    check_text(name, what)
    if not name.strip() or re.search(r"[\t\n]", name):
        raise UserError(f"{what} is {name!r}: it has to be text without tabs and line breaks, or left out")


def _is_confidence(value: float) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= 1


def _check_parts(whole: Span, parts: Sequence[Span], name: str) -> None:
    """Raise UserError if parts are not within the whole, in order of time."""
    last = whole.start
    for part in parts:
        if part.start < whole.start - _SLACK or part.end > whole.end + _SLACK:
            raise UserError(
                f"the {name} {part.text!r} from {part.start:g} to {part.end:g} s is not within "
                f"{whole.text[:40]!r} from {whole.start:g} to {whole.end:g} s: correct its times"
            )
        if part.start < last - _SLACK:
            raise UserError(
                f"the {name} {part.text!r} at {part.start:g} s comes after one at {last:g} s: sort by time"
            )
        last = part.start


def sort_spans[S: Span](spans: Iterable[S]) -> tuple[S, ...]:
    """By start; what starts together stays in its order."""
    return tuple(sorted(spans, key=lambda span: span.start))


def find_spoken_tiers(recording: Recording) -> list[Tier]:
    """The tiers that hold what is said, once: utterances; where there are none words, then characters."""
    for kind in KINDS:
        if tiers := [tier for tier in recording.tiers if tier.kind == kind]:
            return tiers
    return []


def list_spoken_segments(recording: Recording) -> list[tuple[Tier, Segment]]:
    """Segments of :func:`find_spoken_tiers` with their tiers, by start, then in the order of the tiers."""
    found = [(tier, segment) for tier in find_spoken_tiers(recording) for segment in tier.segments]
    return sorted(found, key=lambda pair: pair[1].start)


def select_tiers(recording: Recording, names: Iterable[str]) -> Recording:
    """The recording with the named tiers alone, in the order of the names.

    Raises:
        UserError: there is no tier of a name.
    """
    tiers = {tier.name: tier for tier in recording.tiers}
    chosen = []
    for name in names:
        if name not in tiers:
            raise UserError(f"there is no tier {name}: there are {', '.join(tiers) or 'none'}")
        chosen.append(tiers[name])
    return Recording(recording.audio, tuple(chosen), recording.duration, recording.language)
