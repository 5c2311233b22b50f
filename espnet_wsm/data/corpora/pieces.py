"""From annotations to utterances: merged where they are short, split where long, padded, without overlaps."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from espnet_wsm.annotations import Word
from espnet_wsm.errors import UserError

OVERLAPS = ("keep", "leave_out")
LONGEST = 20.0  # seconds that annotations are merged to, where no limit is given
SHORTEST_PAUSE = 0.05  # seconds between words in which an utterance may be split
OVERLAP = 0.2  # seconds with somebody else that count as an overlap


@dataclass(frozen=True)
class PieceRules:
    """How annotations become utterances; all times in seconds.

    Args:
        padding: taken along on either side, but no more than half of the pause to the next annotation.
        merge_below: what is shorter is joined with the next one of that speaker; 0: nothing is.
        split_above: what is longer is split at its longest pauses, if its words have times; 0: nothing is.
        longest_pause: between annotations that are joined, and between the words of an utterance where there
            are words alone.
        overlaps: keep, or leave_out what overlaps with somebody else for more than ``OVERLAP``.

    Raises:
        UserError: a value is outside of its limits.
    """

    padding: float = 0.0
    merge_below: float = 0.0
    split_above: float = 0.0
    longest_pause: float = 0.5
    overlaps: str = "keep"

    def __post_init__(self) -> None:
        for name in ("padding", "merge_below", "split_above", "longest_pause"):
            if not 0 <= (value := getattr(self, name)) < 1e6:
                raise UserError(f"--{name} {value:g}: give seconds, 0 or more")
        if self.split_above and self.merge_below > self.split_above:
            raise UserError(
                f"--merge_below {self.merge_below:g} and --split_above {self.split_above:g}: the first has "
                "to be smaller"
            )
        if self.overlaps not in OVERLAPS:
            raise UserError(f"--overlaps {self.overlaps}: there are {', '.join(OVERLAPS)}")


@dataclass(frozen=True)
class Piece:
    """What one speaker says from ``start`` to ``end``, in seconds.

    Args:
        place: where it is annotated, for messages.
        text: without notes.
        words: those of the text with their times, or none.
    """

    start: float
    end: float
    text: str
    speaker: str
    place: str
    words: tuple[Word, ...] = ()

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end - self.start


def merge_short(pieces: Iterable[Piece], rules: PieceRules) -> list[Piece]:
    """Join short pieces of a speaker, in order of time, with what follows closely."""
    limit = rules.split_above or LONGEST
    merged: list[Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if (
            last
            and min(last.seconds, piece.seconds) < rules.merge_below
            and 0 <= piece.start - last.end <= rules.longest_pause
            and piece.end - last.start <= limit
        ):
            merged[-1] = _join([last, piece])
        else:
            merged.append(piece)
    return merged


def join_words(words: Sequence[Piece], rules: PieceRules) -> list[Piece]:
    """Utterances of the words of one speaker, in order of time; a longer pause, or the limit, ends one."""
    limit = rules.split_above or LONGEST
    groups: list[list[Piece]] = []
    for word in words:
        if (
            groups
            and word.start - groups[-1][-1].end <= rules.longest_pause
            and max(word.end, groups[-1][-1].end) - groups[-1][0].start <= limit
        ):
            groups[-1].append(word)
        else:
            groups.append([word])
    return [_join(group) for group in groups]


def _join(pieces: Sequence[Piece]) -> Piece:
    words = (
        tuple(word for piece in pieces for word in piece.words) if all(each.words for each in pieces) else ()
    )
    text = " ".join(piece.text for piece in pieces)
    return replace(pieces[0], end=max(piece.end for piece in pieces), text=text, words=words)


def split_long(piece: Piece, rules: PieceRules) -> list[Piece]:
    """The parts of a piece, none longer than the limit where its words have pauses; else the piece itself.

    Each part ends and begins in the middle of a pause. Words have to be as many as the text has, in its
    spelling.
    """
    tokens = piece.text.split()
    if not rules.split_above or piece.seconds <= rules.split_above or len(piece.words) != len(tokens):
        return [piece]
    longest, place = find_longest_pause(piece.words, piece.start, piece.end)
    if longest < SHORTEST_PAUSE:
        return [piece]
    middle = round((piece.words[place - 1].end + piece.words[place].start) / 2, 3)
    first = replace(piece, end=middle, text=" ".join(tokens[:place]), words=piece.words[:place])
    second = replace(piece, start=middle, text=" ".join(tokens[place:]), words=piece.words[place:])
    return [*split_long(first, rules), *split_long(second, rules)]


def find_longest_pause(words: Sequence[Word], start: float, end: float) -> tuple[float, int]:
    """Seconds of the longest pause between two words, and the index of the word behind it; 0, 0 without one.

    Of equal ones, to the millisecond, that nearest to the middle of ``start`` and ``end``; then the first.
    """

    def rate(place: int) -> tuple[float, float]:
        before, behind = words[place - 1].end, words[place].start
        return round(behind - before, 3), -abs(start + end - before - behind)

    place = max(range(1, len(words)), key=rate, default=0)
    return (rate(place)[0], place) if place else (0.0, 0)


def measure_overlaps(pieces: Sequence[Piece]) -> list[float]:
    """For each piece, in order of starts, the longest overlap with one other piece, in seconds."""
    overlaps = [0.0] * len(pieces)
    running: list[tuple[float, int]] = []  # ends
    for index, piece in enumerate(pieces):
        while running and running[0][0] <= piece.start:
            heapq.heappop(running)
        for end, other in running:
            shared = min(end, piece.end) - piece.start
            overlaps[index] = max(overlaps[index], shared)
            overlaps[other] = max(overlaps[other], shared)
        heapq.heappush(running, (piece.end, index))
    return overlaps


def pad(pieces: Sequence[Piece], seconds: float, duration: float | None) -> list[Piece]:
    """Pieces with ``seconds`` more on either side: within the audio, and up to the middle of a pause."""
    starts, ends = sorted(piece.start for piece in pieces), sorted(piece.end for piece in pieces)
    padded = []
    for piece in pieces:
        before = bisect_right(ends, piece.start)
        after = bisect_left(starts, piece.end)
        low = (ends[before - 1] + piece.start) / 2 if before else 0.0
        high = (starts[after] + piece.end) / 2 if after < len(starts) else duration
        start = max(low, piece.start - seconds)
        end = piece.end + seconds if high is None else min(high, piece.end + seconds)
        padded.append(replace(piece, start=round(start, 3), end=round(max(end, piece.end), 3)))
    return padded
