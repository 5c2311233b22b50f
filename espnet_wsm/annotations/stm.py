"""NIST's segment time marks, which sclite takes as references: one line a segment.

    talk 1 anna 0.000 2.150 <o,f0,female> how are you

A file can hold many recordings. Lines that begin with ``;;`` are comments. Fields are separated by white
space, so that white space in the names of recordings and speakers is written as ``_``.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from espnet_wsm.annotations.clock import parse_number, show_seconds
from espnet_wsm.annotations.model import Recording, Segment, Tier, list_spoken_segments, sort_spans
from espnet_wsm.annotations.text_files import at, join_lines, read_lines, write_new
from espnet_wsm.errors import UserError

# sclite 2.10 never returns from a word of 993 bytes or more.
MAX_WORD_BYTES = 900
CHANNEL = "1"
_SPACE = re.compile(r"[ \t\r\v\f]+")  # where sclite splits; it does not at a no-break space
NOT_SCORED = "IGNORE_TIME_SEGMENT_IN_SCORING"


def make_file_id(recording: Recording) -> str:
    """The name of the recording in the first column: that of its audio without folder and suffix.

    Raises:
        UserError: the recording has no audio's name, or one that would begin a comment.
    """
    if recording.audio is None:
        raise UserError("the name of the audio is not known, and each line begins with it: set audio")
    name = _SPACE.sub("_", PurePath(recording.audio.replace("\\", "/")).stem)
    if name.startswith(";;"):
        raise UserError(f"the name of the audio, {name}, begins like a comment: rename it")
    return name


def find_channel(tier: Tier, channel: str) -> str:
    """A tier that is named as channels are, by one digit or capital letter, is of that one."""
    return tier.name if re.fullmatch("[0-9A-Z]", tier.name) else channel


def check_channel(channel: str) -> None:
    """Raise UserError if a channel's name would not be one field."""
    if not re.fullmatch(r"[^\s;]+", channel):
        raise UserError(f"channel is {channel!r}: it has to be one word, mostly 1 or A")


def check_words(words: Iterable[str], braces: bool = True) -> None:
    """Raise UserError for words on which sclite hangs, and if ``braces`` for alternations, ``{ a / b }``."""
    for word in words:
        if len(word.encode()) > MAX_WORD_BYTES:
            raise UserError(
                f"the word {word[:20]}... has more than {MAX_WORD_BYTES} bytes, and sclite hangs on such: "
                "put spaces between its words"
            )
        if braces and re.search("[{}]", word):
            raise UserError(
                f"the word {word} holds a brace, which begins or ends alternatives for sclite: take it out "
                "of the text"
            )


def format_stm(recordings: Recording | Sequence[Recording], channel: str = CHANNEL) -> str:
    """Lines sorted by recording, channel and time, as sclite wants them; times with three decimals.

    The speaker is the segment's, else the tier's, else the name of the tier.

    Raises:
        UserError: as :func:`make_file_id`, :func:`check_channel` and :func:`check_words`.
    """
    check_channel(channel)
    rows = []
    for recording in [recordings] if isinstance(recordings, Recording) else recordings:
        file = make_file_id(recording)
        for tier, segment in list_spoken_segments(recording):
            words = [word for word in _SPACE.split(join_lines(segment.text)) if word]
            with at(Path(file), f"segment at {segment.start:g} s"):
                check_words(words)
            if words and words[0].startswith("<"):
                words.insert(0, "<NA>")  # a label, or the first word would be one
            speaker = _SPACE.sub("_", tier.speaker_of(segment) or tier.name)
            times = show_seconds(segment.start), show_seconds(segment.end)
            rows.append((file, find_channel(tier, channel), segment.start, [speaker, *times, *words]))
    return join_rows(rows)


def join_rows(rows: Iterable[tuple[str, str, float, list[str]]]) -> str:
    """Lines of recording, channel and further fields, sorted by the first two and the time between them."""
    ordered = sorted(rows, key=lambda row: row[:3])
    return "".join(" ".join([file, channel, *rest]) + "\n" for file, channel, _, rest in ordered)


def write(
    recordings: Recording | Sequence[Recording],
    path: Path,
    *,
    channel: str = CHANNEL,
    overwrite: bool = False,
) -> None:
    """Write :func:`format_stm` as UTF-8, as `text_files.write_new` does."""
    write_new(path, format_stm(recordings, channel), overwrite)


def read_records(path: Path, encoding: str | None) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, but for empty ones and comments."""
    for number, line in read_lines(path, encoding):
        if line.strip() and not line.startswith(";;"):
            yield number, line


def read_all(path: Path, *, encoding: str | None = None) -> list[Recording]:
    """Read all recordings of a file, in the order of their first lines; there is a tier for each speaker.

    Where somebody speaks on two channels, the tiers are named ``speaker (channel)``. Labels, and segments
    that are marked as not to be scored, are left out.

    Raises:
        UserError: the file cannot be read, or a line is not of this form; the message names file and line.
    """
    found: dict[str, dict[tuple[str, str], list[Segment]]] = {}
    for number, line in read_records(path, encoding):
        with at(path, f"line {number}"):
            file, channel, speaker, segment = _read_line(line)
            if segment.text != NOT_SCORED:
                found.setdefault(file, {}).setdefault((channel, speaker), []).append(segment)
    with at(path, "the whole file"):
        return [Recording(file, _make_tiers(tracks)) for file, tracks in found.items()]


def read(path: Path, *, recording: str | None = None, encoding: str | None = None) -> Recording:
    """Read one recording, of which ``recording`` is the name where the file holds several.

    Raises:
        UserError: as :func:`read_all`; there is none of that name, or several and no name.
    """
    return choose_recording(path, read_all(path, encoding=encoding), recording)


def choose_recording(path: Path, recordings: Sequence[Recording], name: str | None) -> Recording:
    """The recording of that name, or the only one.

    Raises:
        UserError: there is no such one.
    """
    if not recordings:
        raise UserError(f"{path} holds no recording: check what it is")
    names = [str(one.audio) for one in recordings]
    if name is None and len(recordings) == 1:
        return recordings[0]
    if name not in names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        fault = f"holds {len(names)} recordings" if name is None else f"holds no recording {name}"
        raise UserError(f"{path} {fault}: name one of {shown}")
    return recordings[names.index(name)]


def _read_line(line: str) -> tuple[str, str, str, Segment]:
    fields = _SPACE.split(line.strip(" \t\r\v\f"), maxsplit=5)
    if len(fields) < 5:
        raise UserError(
            f"there are {len(fields)} fields, and at least 5 are needed: recording, channel, speaker, "
            "start, end, text"
        )
    file, channel, speaker, start, end = fields[:5]
    text = re.sub(r"^<[^\s>]*>(?:\s+|$)", "", "".join(fields[5:]))
    return file, channel, speaker, Segment(parse_number(start, "start"), parse_number(end, "end"), text)


def _make_tiers(tracks: dict[tuple[str, str], list[Segment]]) -> list[Tier]:
    speakers = [speaker for _, speaker in tracks]
    return [
        Tier(
            f"{speaker} ({channel})" if speakers.count(speaker) > 1 else speaker,
            sort_spans(segments),
            speaker=speaker,
        )
        for (channel, speaker), segments in tracks.items()
    ]
