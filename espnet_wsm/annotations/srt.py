r"""SubRip subtitles, .srt: numbered cues with times to the millisecond.

The format has no escapes of its own, and programs differ in which tags they know. What looks like a tag
(``<i>``), like ``{\an8}``, an arrow or a character reference is written with character references, everything
else as it is. Read are cues without these: known tags are taken away.
"""

import re
from pathlib import Path

from espnet_wsm.annotations.clock import show_clock
from espnet_wsm.annotations.cues import (
    ARROW,
    check_lines,
    escape_references,
    make_recording,
    read_times,
    unescape,
)
from espnet_wsm.annotations.model import Recording, Segment
from espnet_wsm.annotations.subtitle_rules import DEFAULT_RULES, SubtitleRules, list_cues
from espnet_wsm.annotations.text_files import at, read_lines, write_new

_TAGS = re.compile(r"</?(?:b|i|u|s|em|strong|strike|font|span)(?:\s[^<>]*)?>|\{\\[^{}]*\}", re.I)


def _escape(line: str) -> str:
    line = escape_references(line).replace(ARROW, "--&gt;").replace("{\\", "&#123;\\")
    return re.sub("<(?=[A-Za-z/])", "&lt;", line)


def format_srt(recording: Recording, rules: SubtitleRules | None) -> str:
    """The cues by ``rules``, or one for each segment if they are None."""
    blocks = []
    for number, cue in enumerate(list_cues(recording, rules), start=1):
        times = f"{show_clock(cue.start, ',')} {ARROW} {show_clock(cue.end, ',')}"
        blocks.append("\n".join([str(number), times, *map(_escape, cue.lines)]) + "\n")
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
    write_new(path, format_srt(recording, rules), overwrite)


def read(path: Path, *, encoding: str | None = None) -> Recording:
    """Read subtitles as the tier ``subtitles``; cues need no numbers, positions are left out.

    Raises:
        UserError: the file cannot be read or decoded; a cue has no line of times, or wrong ones; the message
            names file and line.
    """
    lines = read_lines(path, encoding)
    cues, place = [], 0
    while place < len(lines):
        if not lines[place][1].strip():
            place += 1
            continue
        if ARROW not in lines[place][1] and lines[place][1].strip().isdecimal() and place + 1 < len(lines):
            place += 1
        number, line = lines[place]
        end = next(
            (later for later in range(place + 1, len(lines)) if not lines[later][1].strip()), len(lines)
        )
        with at(path, f"line {number}"):
            times = read_times(line)
        text = _TAGS.sub("", "\n".join(check_lines(path, lines[place + 1 : end])))
        with at(path, f"line {number}"):
            cues.append((None, Segment(*times, unescape(text))))
        place = end
    with at(path, "the whole file"):
        return make_recording(cues)
