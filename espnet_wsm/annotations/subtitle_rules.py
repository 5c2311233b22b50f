"""Subtitles that can be read: how long lines are, how long they stay, where text is broken.

A recogniser's segments are made for it and not for eyes: half a minute of text, or one word that is gone at
once. Words are divided anew into cues, by least cost (a dynamic programme over all ways to divide): few cues,
broken at the ends of segments, sentences and clauses and in pauses, not faster than people read, not too
short.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import pairwise

import regex

from espnet_wsm.annotations.cues import Cue, list_plain_cues
from espnet_wsm.annotations.model import Recording, Segment, Span, Tier, find_spoken_tiers, to_milliseconds
from espnet_wsm.errors import UserError

# Costs. A cue goes on over the end of a segment only where it would else be too short or too fast.
_PER_CUE, _OVER_SEGMENT, _TOO_SHORT, _TOO_FAST, _PER_SECOND_OF_SILENCE = 100, 105, 80, 200, 60
_AFTER_SENTENCE, _AFTER_CLAUSE, _IN_PAUSE, _ELSEWHERE = 10, 30, 30, 60
_SENTENCE_END = re.compile(r"[.?!…。？！؟।]['\"”’»)\]]*\s*$")
_CLAUSE_END = re.compile(r"[,;:،、，；：–—]['\"”’»)\]]*\s*$")
_PAUSE = 300  # ms


@dataclass(frozen=True)
class SubtitleRules:
    """What cues have to keep to.

    A character is what readers see as one, with its combining marks. Text that is spoken faster than
    ``max_chars_per_second`` stays longer where there is time; where there is none it is faster.

    Args:
        max_line_length: characters in a line.
        max_lines: lines of a cue.
        max_chars_per_second: how fast people read.
        min_duration, max_duration: seconds that a cue is shown.
        min_gap: seconds between cues.
        max_pause: seconds of silence after which a new cue begins in any case.

    Raises:
        UserError: a value is outside of its limits.
    """

    max_line_length: int = 42
    max_lines: int = 2
    max_chars_per_second: float = 17.0
    min_duration: float = 0.8
    max_duration: float = 7.0
    min_gap: float = 0.08
    max_pause: float = 1.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name in ("min_gap", "max_pause") else 0.001
            if not least <= value < 1e6:
                raise UserError(f"{field.name} is {value!r}: it has to be above 0 and below a million")
        if self.max_line_length < 4:
            raise UserError(f"max_line_length is {self.max_line_length}: it has to be at least 4")
        if self.max_duration < 2 * self.min_duration:
            raise UserError(
                f"max_duration is {self.max_duration:g} and min_duration {self.min_duration:g}: the first "
                "has to be twice the second or more"
            )


@dataclass(frozen=True)
class _Piece:
    """What is not broken further: text with the space behind it, its length, and times in milliseconds."""

    text: str
    start: int
    end: int
    ends_segment: bool = False

    @property
    def length(self) -> int:
        return count_characters(self.text)


@lru_cache(maxsize=1 << 16)
def count_characters(text: str) -> int:
    """Characters as readers see them (grapheme clusters)."""
    return len(text) if text.isascii() else len(regex.findall(r"\X", text))


DEFAULT_RULES = SubtitleRules()


def list_cues(recording: Recording, rules: SubtitleRules | None) -> list[Cue]:
    """The cues by ``rules``, or one for each segment if they are None.

    Raises:
        UserError: as :func:`list_plain_cues`, without rules.
    """
    return list_plain_cues(recording) if rules is None else lay_out(recording, rules)


def lay_out(recording: Recording, rules: SubtitleRules) -> list[Cue]:
    """Cues of all that is said, in order of time and without overlap; segments without text are left out.

    Where two speak at once, what began first is shown until the other begins, or the other waits.
    """
    cues = []
    for tier in find_spoken_tiers(recording):
        for speaker, segments in _group_by_speaker(tier):
            pieces = [piece for segment in segments for piece in _cut(segment, rules)]
            if tier.kind != "utterances":
                space = " " if tier.kind == "words" else ""
                pieces = [replace(piece, text=piece.text + space, ends_segment=False) for piece in pieces]
            for run in _split_at_pauses(pieces, rules):
                cues += [replace(cue, speaker=speaker) for cue in _divide(run, rules)]
    return _settle(sorted(cues, key=lambda cue: cue.start), rules)


def _group_by_speaker(tier: Tier) -> Iterator[tuple[str | None, list[Segment]]]:
    groups: dict[str | None, list[Segment]] = {}
    for segment in tier.segments:
        groups.setdefault(tier.speaker_of(segment), []).append(segment)
    yield from groups.items()


def _cut(segment: Segment, rules: SubtitleRules) -> list[_Piece]:
    """The pieces of a segment: at its words if it has any, else at spaces, with times by length of text."""
    text = re.sub(r"[ \t\n]+", " ", segment.text).strip(" ")
    if not text:
        return []
    parts = _cut_at_words(text, segment) or [_make_piece(text, segment)]
    # A piece holds several words where the segment's words are not all of its text.
    parts = [token for part in parts for token in _cut_at_spaces(part)]
    if " " in text:  # no break within what is written as one word
        parts = _join_unspaced(parts, rules.max_line_length)
    pieces: list[_Piece] = []
    for part in parts:
        pieces += _cut_to_length(part, rules.max_line_length)
    return [*pieces[:-1], replace(pieces[-1], ends_segment=True)]


def _cut_at_words(text: str, segment: Segment) -> list[_Piece]:
    """Pieces of the text from each word to the next one, nothing if the words are not those of the text."""
    places, place = [], 0
    words = [word for word in segment.words if word.text.strip(" ")]
    for word in words:
        place = text.find(word.text.strip(" "), place)
        if place < 0:
            break
        places.append(place)
        place += len(word.text.strip(" "))
    else:
        if places:
            bounds = [0, *places[1:], len(text)]
            cut = [text[start:end] for start, end in pairwise(bounds)]
            return [_make_piece(part, word) for part, word in zip(cut, words, strict=True)]
    tokens = re.findall("[^ ]+ ?", text)
    if len(tokens) == len(words):
        return [_make_piece(part, word) for part, word in zip(tokens, words, strict=True)]
    return []


def _cut_at_spaces(piece: _Piece) -> list[_Piece]:
    tokens = re.findall("[^ ]+ ?", piece.text)
    return _share_time(tokens, piece.start, piece.end) if len(tokens) > 1 else [piece]


def _make_piece(text: str, span: Span) -> _Piece:
    return _Piece(text, to_milliseconds(span.start), to_milliseconds(span.end))


def _share_time(parts: Sequence[str], start: int, end: int) -> list[_Piece]:
    """Pieces that share a time by their length."""
    lengths = [count_characters(part) for part in parts]
    pieces, done = [], 0
    for part, length in zip(parts, lengths, strict=True):
        borders = [start + (end - start) * count // sum(lengths) for count in (done, done + length)]
        pieces.append(_Piece(part, *borders))
        done += length
    return pieces


def _join_unspaced(pieces: Sequence[_Piece], limit: int) -> list[_Piece]:
    joined: list[_Piece] = []
    for piece in pieces:
        if joined and not joined[-1].text.endswith(" ") and joined[-1].length + piece.length <= limit:
            joined[-1] = replace(joined[-1], text=joined[-1].text + piece.text, end=piece.end)
        else:
            joined.append(piece)
    return joined


def _cut_to_length(piece: _Piece, limit: int) -> list[_Piece]:
    """What is longer than a line in parts of a line."""
    text = piece.text.rstrip(" ")
    if count_characters(text) <= limit:
        return [piece]
    characters = regex.findall(r"\X", text)
    parts = ["".join(characters[place : place + limit]) for place in range(0, len(characters), limit)]
    parts[-1] += piece.text[len(text) :]
    return _share_time(parts, piece.start, piece.end)


def _split_at_pauses(pieces: Sequence[_Piece], rules: SubtitleRules) -> Iterator[list[_Piece]]:
    run: list[_Piece] = []
    for piece in pieces:
        if run and piece.start - run[-1].end > 1000 * rules.max_pause:
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _divide(pieces: Sequence[_Piece], rules: SubtitleRules) -> list[Cue]:
    """Cues of least cost."""
    best: list[tuple[float, int]] = [(0.0, 0)]  # cost of the first n pieces, where their last cue begins
    for end in range(1, len(pieces) + 1):
        options = []
        for start in range(end - 1, -1, -1):
            if start < end - 1 and not _fits(pieces[start:end], rules):
                break
            options.append((best[start][0] + _find_cost(pieces, start, end, rules), start))
        best.append(min(options))
    cues: list[Cue] = []
    end = len(pieces)
    while end:
        start = best[end][1]
        chosen = pieces[start:end]
        last = min(chosen[-1].end, chosen[0].start + round(1000 * rules.max_duration))
        cues.append(Cue(chosen[0].start, last, tuple(_break_lines(chosen, rules))))
        end = start
    return cues[::-1]


def _fits(pieces: Sequence[_Piece], rules: SubtitleRules) -> bool:
    if pieces[-1].end - pieces[0].start > 1000 * rules.max_duration:
        return False
    return len(_fill(pieces, rules.max_line_length)) <= rules.max_lines


def _find_cost(pieces: Sequence[_Piece], start: int, end: int, rules: SubtitleRules) -> float:
    """The cost of a cue with the pieces from ``start`` up to ``end``, and of breaking behind it."""
    chosen = pieces[start:end]
    cost = float(_PER_CUE)
    cost += _OVER_SEGMENT * sum(piece.ends_segment for piece in chosen[:-1])
    for one, other in pairwise(chosen):
        cost += _PER_SECOND_OF_SILENCE * max(0, other.start - one.end) / 1000
    seconds = rules.max_duration
    if end < len(pieces):
        cost += _cost_of_break(chosen[-1], pieces[end])
        seconds = min(seconds, (pieces[end].start - chosen[0].start) / 1000 - rules.min_gap)
    if seconds < rules.min_duration:
        cost += _TOO_SHORT * (1 - max(0.0, seconds) / rules.min_duration)
    needed = sum(piece.length for piece in chosen) / rules.max_chars_per_second
    if needed > seconds:
        cost += _TOO_FAST * (1 - max(0.0, seconds) / needed)
    return cost


def _cost_of_break(before: _Piece, after: _Piece) -> int:
    if before.ends_segment:
        return 0
    if _SENTENCE_END.search(before.text):
        return _AFTER_SENTENCE
    if _CLAUSE_END.search(before.text):
        return _AFTER_CLAUSE
    return _IN_PAUSE if after.start - before.end >= _PAUSE else _ELSEWHERE


def _fill(pieces: Sequence[_Piece], width: int) -> list[str]:
    """Lines of at most ``width`` characters, each as full as it can be; segments are a space apart."""
    lines, length, line = [], 0, ""
    for piece in pieces:
        text = piece.text + " " if piece.ends_segment else piece.text
        if line and length + count_characters(text.rstrip(" ")) > width:
            lines.append(line.rstrip(" "))
            line, length = "", 0
        line += text
        length += count_characters(text)
    return [*lines, line.rstrip(" ")]


def _break_lines(pieces: Sequence[_Piece], rules: SubtitleRules) -> list[str]:
    """As few lines as will do, as equal as they can be."""
    lines = _fill(pieces, rules.max_line_length)
    for width in range(1, rules.max_line_length):
        narrow = _fill(pieces, width)
        if len(narrow) == len(lines) and max(map(count_characters, narrow)) <= width:
            return narrow
    return lines


def _settle(cues: Sequence[Cue], rules: SubtitleRules) -> list[Cue]:
    """Cues that do not overlap, last long enough, and as long as they take to read where there is time."""
    shortest, gap = round(1000 * rules.min_duration), round(1000 * rules.min_gap)
    settled: list[Cue] = []
    for cue in cues:
        if settled:
            before = settled[-1]
            if max(before.end, before.start + shortest) > cue.start - gap:
                end = max(cue.start - gap, before.start + shortest)
                settled[-1] = replace(before, end=end)
                start = max(cue.start, end + gap)
                cue = replace(cue, start=start, end=max(cue.end, start + shortest))
        settled.append(cue)
    longest = round(1000 * rules.max_duration)
    for index, cue in enumerate(settled):
        reading = round(1000 * sum(map(count_characters, cue.lines)) / rules.max_chars_per_second)
        wanted = cue.start + min(max(reading, shortest), longest)
        if index + 1 < len(settled):
            wanted = min(wanted, settled[index + 1].start - gap)
        settled[index] = replace(cue, end=max(cue.end, wanted))
    return settled
