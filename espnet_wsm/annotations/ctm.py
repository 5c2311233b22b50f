"""NIST's time marked conversations, which sclite takes as hypotheses: one line a word.

    talk 1 0.320 0.210 how 0.973

Recording, channel, start and duration in seconds, word, and where it is known the confidence. A file can hold
many recordings. Lines that begin with ``;;`` are comments.
"""

from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.annotations.clock import parse_confidence, parse_number, show_confidence, show_seconds
from espnet_wsm.annotations.model import (
    Recording,
    Segment,
    Span,
    Tier,
    from_milliseconds,
    sort_spans,
    to_milliseconds,
)
from espnet_wsm.annotations.stm import (
    CHANNEL,
    check_channel,
    check_words,
    choose_recording,
    find_channel,
    join_rows,
    make_file_id,
    read_records,
)
from espnet_wsm.annotations.text_files import at, write_new
from espnet_wsm.errors import UserError


def list_words(recording: Recording) -> list[tuple[Tier, Span]]:
    """The words of a recording with their tiers, in order of time: of utterances, and of tiers of words.

    Raises:
        UserError: an utterance has a text and no words, and there is no tier of words.
    """
    words: list[tuple[Tier, Span]] = []
    separate = any(tier.kind == "words" for tier in recording.tiers)
    for tier in recording.tiers:
        if tier.kind == "words":
            words += [(tier, segment) for segment in tier.segments]
        elif tier.kind == "utterances":
            for segment in tier.segments:
                if segment.text.strip() and not segment.words and not separate:
                    raise UserError(
                        f"tier {tier.name}: the segment at {segment.start:g} s has no times of words: align "
                        "it first, or write stm, which has times of segments"
                    )
                words += [(tier, word) for word in segment.words]
    return sorted(words, key=lambda pair: pair[1].start)


def format_ctm(recordings: Recording | Sequence[Recording], channel: str = CHANNEL) -> str:
    """Lines sorted by recording, channel and time; times with three decimals, words without text left out.

    A tier that is named by one digit or capital letter is of that channel, all others are of ``channel``.

    Raises:
        UserError: as :func:`list_words`; the name of the audio is not known; a word holds white space, or has
            so many bytes that sclite hangs.
    """
    check_channel(channel)
    rows = []
    for recording in [recordings] if isinstance(recordings, Recording) else recordings:
        file = make_file_id(recording)
        for tier, word in list_words(recording):
            if not word.text:
                continue
            with at(Path(file), f"word at {word.start:g} s"):
                _check_word(word.text)
            start = to_milliseconds(word.start)
            length = to_milliseconds(word.end) - start
            fields = [show_seconds(word.start), show_seconds(from_milliseconds(length)), word.text]
            if word.confidence is not None:
                fields.append(show_confidence(word.confidence))
            rows.append((file, find_channel(tier, channel), start, fields))
    return join_rows(rows)


def _check_word(word: str) -> None:
    if any(space in word for space in " \t\n\v\f"):
        raise UserError(f"the word {word!r} holds white space, which ends a word here: split it")
    if word.startswith("<ALT"):
        raise UserError(f"the word {word} would begin alternatives: take it out")
    check_words([word], braces=False)


def write(
    recordings: Recording | Sequence[Recording],
    path: Path,
    *,
    channel: str = CHANNEL,
    overwrite: bool = False,
) -> None:
    """Write :func:`format_ctm` as UTF-8, as `text_files.write_new` does."""
    write_new(path, format_ctm(recordings, channel), overwrite)


def read_all(path: Path, *, encoding: str | None = None) -> list[Recording]:
    """Read all recordings of a file, in the order of their first lines; each channel is a tier of words.

    Raises:
        UserError: the file cannot be read, or a line is not of this form; the message names file and line.
    """
    found: dict[str, dict[str, list[Segment]]] = {}
    for number, line in read_records(path, encoding):
        with at(path, f"line {number}"):
            file, channel, word = _read_line(line)
            found.setdefault(file, {}).setdefault(channel, []).append(word)
    with at(path, "the whole file"):
        return [
            Recording(file, tuple(Tier(name, sort_spans(words), "words") for name, words in channels.items()))
            for file, channels in found.items()
        ]


def read(path: Path, *, recording: str | None = None, encoding: str | None = None) -> Recording:
    """Read one recording, of which ``recording`` is the name where the file holds several.

    Raises:
        UserError: as :func:`read_all`; there is none of that name, or several and no name.
    """
    return choose_recording(path, read_all(path, encoding=encoding), recording)


def _read_line(line: str) -> tuple[str, str, Segment]:
    # Not str.split(): a no-break space and others are part of words.
    fields = [field for field in line.replace("\t", " ").split(" ") if field]
    if any(field.startswith("<ALT") for field in fields[2:5]):
        raise UserError("alternatives (<ALT>) cannot be read: keep one of them")
    if len(fields) not in (5, 6):
        raise UserError(
            f"there are {len(fields)} fields, and 5 or 6 are needed: recording, channel, start, duration, "
            "word, confidence"
        )
    start, length = parse_number(fields[2], "start"), parse_number(fields[3], "duration")
    if length < 0:
        raise UserError(f"duration is {fields[3]}: a word cannot end before it begins, correct it")
    end = from_milliseconds(to_milliseconds(start) + to_milliseconds(length))
    confidence = parse_confidence(fields[5]) if len(fields) == 6 else None
    return fields[0], fields[1], Segment(start, max(start, end), fields[4], confidence)
