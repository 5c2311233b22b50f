"""WebVTT subtitles, .vtt: cues with times to the millisecond, in which speakers can be named."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_wsm.annotations.clock import show_clock
from espnet_wsm.annotations.cues import (
    ARROW,
    check_lines,
    make_recording,
    read_times,
    unescape,
)
from espnet_wsm.annotations.model import Recording, Segment
from espnet_wsm.annotations.subtitle_rules import DEFAULT_RULES, SubtitleRules, list_cues
from espnet_wsm.annotations.text_files import at, read_lines, write_new
from espnet_wsm.annotations.xml_document import escape_text
from espnet_wsm.errors import UserError

_HEADER = re.compile(r"WEBVTT(?:[ \t].*)?")
_OTHER_BLOCK = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t].*)?")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]*)>")
_TAG = re.compile(r"<[^>]*>")


def format_vtt(recording: Recording, rules: SubtitleRules | None) -> str:
    """The cues by ``rules``, or one for each segment if they are None; ``<v speaker>`` where one is known."""
    blocks = ["WEBVTT\n"]
    for cue in list_cues(recording, rules):
        times = f"{show_clock(cue.start, '.')} {ARROW} {show_clock(cue.end, '.')}"
        text = "\n".join(map(escape_text, cue.lines))
        voice = f"<v {escape_text(cue.speaker)}>" if cue.speaker else ""
        blocks.append(f"{times}\n{voice}{text}\n" if voice or text else f"{times}\n")
    return "\n".join(blocks)


def write(
    recording: Recording,
    path: Path,
    *,
    rules: SubtitleRules | None = DEFAULT_RULES,
    overwrite: bool = False,
) -> None:
    """Write subtitles as UTF-8, as `text_files.write_new` does.

    With ``rules`` text is broken into cues that can be read; without, each segment is a cue.

    Raises:
        UserError: without rules, a segment has no length.
    """
    write_new(path, format_vtt(recording, rules), overwrite)


def read(path: Path, *, encoding: str | None = None) -> Recording:
    """Read subtitles: a tier for each speaker, and ``subtitles`` for cues without one.

    Comments, styles, regions, names of cues, positions and tags are left out.

    Raises:
        UserError: the file cannot be read or decoded; it does not begin with ``WEBVTT``; a cue has no line of
            times, or wrong ones; the message names file and line.
    """
    lines = read_lines(path, encoding)
    if not _HEADER.fullmatch(lines[0][1]):
        raise UserError(
            f"{path}, line 1: is not WEBVTT, with which such a file begins: add it, or name another format"
        )
    found = []
    for block in list(_split_blocks(lines))[1:]:
        if _OTHER_BLOCK.fullmatch(block[0][1]):
            continue
        if ARROW not in block[0][1] and len(block) > 1:
            block = block[1:]  # the cue's name
        number, line = block[0]
        with at(path, f"line {number}"):
            times = read_times(line)
        text = "\n".join(check_lines(path, block[1:]))
        for speaker, said in _split_voices(text):
            with at(path, f"line {number}"):
                found.append((speaker, Segment(*times, said)))
    with at(path, "the whole file"):
        return make_recording(found)


def _split_blocks(lines: Sequence[tuple[int, str]]) -> Iterator[Sequence[tuple[int, str]]]:
    block: list[tuple[int, str]] = []
    for number, line in lines:
        if line.strip(" \t"):
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _split_voices(text: str) -> list[tuple[str | None, str]]:
    """What each voice of a cue says; what stands before the first is nobody's."""
    before, *rest = _VOICE.split(text)
    voices = [
        (_clean(name).strip() or None, _clean(said)) for name, said in zip(rest[::2], rest[1::2], strict=True)
    ]
    before = _clean(before)
    return [(None, before), *voices] if before.strip() or not voices else voices


def _clean(text: str) -> str:
    lines = unescape(_TAG.sub("", text)).split("\n")
    return "\n".join(lines).strip("\n")
