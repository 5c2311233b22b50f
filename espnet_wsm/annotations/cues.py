"""Cues of subtitles: what SubRip and WebVTT have in common."""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.annotations.clock import parse_clock
from espnet_wsm.annotations.model import (
    Recording,
    Segment,
    Tier,
    list_spoken_segments,
    sort_spans,
    to_milliseconds,
)
from espnet_wsm.errors import UserError

ARROW = "-->"
_TIMES = re.compile(rf"\s*([\d:.,]+)\s*{ARROW}\s*([\d:.,]+)(?:\s.*)?", re.ASCII)
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});", re.ASCII)
UNNAMED = "subtitles"  # the tier of cues without a speaker


@dataclass(frozen=True)
class Cue:
    """What is shown at once: times in milliseconds, the lines, and who speaks if that is known."""

    start: int
    end: int
    lines: tuple[str, ...]
    speaker: str | None = None


def list_plain_cues(recording: Recording) -> list[Cue]:
    """A cue for each segment as it is, but for blank lines and space at the ends of lines.

    Raises:
        UserError: a segment has no length, and could not be seen.
    """
    cues = []
    for tier, segment in list_spoken_segments(recording):
        start, end = to_milliseconds(segment.start), to_milliseconds(segment.end)
        if start == end:
            raise UserError(
                f"tier {tier.name}: {segment.text[:40]!r} at {segment.start:g} s lasts less than a "
                "millisecond, and could not be seen: write subtitles by rules, which lengthen it"
            )
        lines = tuple(line.strip(" \t") for line in segment.text.split("\n") if line.strip(" \t"))
        cues.append(Cue(start, end, lines, tier.speaker_of(segment)))
    return cues


def read_times(line: str) -> tuple[float, float]:
    """Seconds of a line ``00:00:01,000 --> 00:00:02,500``; what stands behind (positions) is left out.

    Raises:
        UserError: it is no such line.
    """
    found = _TIMES.fullmatch(line)
    if not found:
        raise UserError(
            f"{line.strip()[:60]!r} is no line of times: write it as 00:00:01,000 {ARROW} 00:00:02,500"
        )
    return parse_clock(found[1]), parse_clock(found[2])


def check_lines(path: Path, lines: Iterable[tuple[int, str]]) -> list[str]:
    """The lines of a cue; UserError for times among them, before which a blank line is missing."""
    for number, line in lines:
        if ARROW in line:
            raise UserError(
                f"{path}, line {number}: times stand within a cue: put a blank line before its number"
            )
    return [line.strip(" \t") for _, line in lines]


def unescape(text: str) -> str:
    """A text with its character references (``&amp;``, ``&#233;``) as characters."""
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text)


def escape_references(text: str) -> str:
    """A text in which nothing is taken for a character reference."""
    return _REFERENCE.sub(lambda found: "&amp;" + found[0][1:], text)


def make_recording(spoken: Iterable[tuple[str | None, Segment]]) -> Recording:
    """A recording with a tier for each speaker, in the order in which they are first seen."""
    tracks: dict[str | None, list[Segment]] = {}
    for speaker, segment in spoken:
        tracks.setdefault(speaker, []).append(segment)
    names = {speaker: speaker or UNNAMED for speaker in tracks}
    if None in tracks and UNNAMED in tracks:
        names[None] = f"{UNNAMED} without a speaker"
    return Recording(
        tiers=tuple(
            Tier(names[speaker], sort_spans(segments), speaker=speaker)
            for speaker, segments in tracks.items()
        )
    )
