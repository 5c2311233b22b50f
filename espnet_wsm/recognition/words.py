"""Words with times: which frames of a CTC path a word takes, and where it begins and ends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from espnet_wsm.frames import HOP, SAMPLE_RATE

SPACE, META = "<space>", "▁"  # of ESPnet's char tokens; of sentencepiece
# CTC names a character in one or two frames inside of it. Words begin about 3 frames (60 ms) before the first
# of their characters is named, and end about 6 after the last one: the medians on joined prompts of asterisk,
# with attention, SM and WSM on Whisper base.
LEAD, TAIL = 3, 6


@dataclass(frozen=True)
class Piece:
    """A stretch of frames with its text.

    Args:
        text: a token, a character or a word.
        first: its first frame.
        end: the frame after its last one.
        confidence: 0 to 1; None where it is not known.
    """

    text: str
    first: int
    end: int
    confidence: float | None = None

    @property
    def seconds(self) -> tuple[float, float]:
        """Start and end in seconds of the audio, to the millisecond."""
        return to_seconds(self.first), to_seconds(self.end)


@dataclass(frozen=True)
class TimedWord(Piece):
    """A word and its characters, which are in order and within it."""

    characters: tuple[Piece, ...] = ()


def to_seconds(frame: int) -> float:
    """When a frame begins: frames are 20 ms of the audio, whatever its own rate."""
    return round(frame * HOP / SAMPLE_RATE, 3)


def collapse_path(path: Sequence[int], tokens: Sequence[str], blank: int) -> list[Piece]:
    """The tokens of a path, one for each run of frames that are not blank.

    Args:
        path: (T,) token of each frame.
        tokens: the model's list, by id.
        blank: id of the blank.
    """
    pieces: list[Piece] = []
    frame = 0
    for token, run in groupby(path):
        begin, frame = frame, frame + sum(1 for _ in run)
        if token != blank:
            pieces.append(Piece(tokens[token], begin, frame))
    return pieces


def group_words(
    pieces: Sequence[Piece], token_type: str, num_frames: int, confidences: Sequence[float] | None = None
) -> list[TimedWord]:
    """Words of the tokens of an utterance.

    A word begins ``LEAD`` frames before its first token and ends ``TAIL`` after its last one. Where two words
    are nearer to each other, they meet at a third of what lies between them, seen from the later one. A word
    or character is as sure as its least sure frame.

    Args:
        pieces: its tokens in order.
        token_type: ESPnet's: ``char`` (words are parted by ``<space>``), ``bpe`` (sentencepiece's mark begins
            a word) or ``word``.
        num_frames: of the utterance; no word ends later.
        confidences: of its frames, as ``measure_confidence`` gives them; None = not known.
    """
    groups: list[list[Piece]] = [[]]
    for piece in pieces:
        if token_type == "char":
            if piece.text == SPACE:
                groups.append([])
            else:
                groups[-1].append(piece)
            continue
        begins = token_type == "word" or piece.text.startswith(META)
        text = piece.text.removeprefix(META) if token_type != "word" else piece.text
        if begins:
            groups.append([])
        if text:
            groups[-1].append(replace(piece, text=text))
    words = [group for group in groups if group]
    spans = [(group[0].first, group[-1].end) for group in words]
    starts = [max(0, first - LEAD) for first, _ in spans]
    ends = [min(num_frames, end + TAIL) for _, end in spans]
    for place in range(1, len(words)):
        end, first = spans[place - 1][1], spans[place][0]
        if ends[place - 1] > starts[place]:
            meeting = first - round((first - end) * LEAD / (LEAD + TAIL))
            ends[place - 1] = starts[place] = meeting
    return [_make_word(*each, confidences) for each in zip(words, starts, ends, strict=True)]


def _make_word(
    group: Sequence[Piece], start: int, end: int, confidences: Sequence[float] | None
) -> TimedWord:
    """A word whose characters share it out: each lasts from where it is named to where the next one is."""

    def find_least(first: int, end: int) -> float | None:
        return None if confidences is None else float(min(confidences[first : max(end, first + 1)]))

    borders = [start, *(piece.first for piece in group[1:]), end]
    characters = [
        Piece(piece.text, first, max(first, last), find_least(first, last))
        for piece, (first, last) in zip(group, pairwise(borders), strict=True)
    ]
    text = "".join(piece.text for piece in group)
    return TimedWord(text, start, end, find_least(start, end), tuple(characters))
