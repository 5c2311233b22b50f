"""Words with times: which frames of a CTC path a word takes, and where it begins and ends."""

import re
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from espnet_wsm.annotations import Character, Word
from espnet_wsm.annotations.clock import show_seconds
from espnet_wsm.data.text.tokens import SPACE
from espnet_wsm.frames import HOP, SAMPLE_RATE

META = "▁"  # in sentencepiece's tokens
BYTE = re.compile("<0x([0-9A-F]{2})>")
CONTROL = re.compile("[\x00-\x1f]")
# CTC names a character in one or two frames inside of it. Words begin about 3 frames (60 ms) before the first
# of their characters is named, and end about 6 after the last one: the medians on joined prompts of asterisk,
# with attention, SM and WSM on Whisper base.
LEAD, TAIL = 3, 6


class Piece(NamedTuple):
    """A token and the frames in which it is named: the first, and the one after the last."""

    text: str
    first: int
    end: int


def to_seconds(frame: int) -> float:
    """When a frame begins: frames are 20 ms of the audio, whatever its own rate."""
    return frame * (1000 * HOP // SAMPLE_RATE) / 1000


def format_ctm_lines(id: str, words: Sequence[Word]) -> list[str]:
    """The words of an utterance as lines of a CTM, with six decimals of their confidence.

    ``annotations.ctm`` writes three, which are too few to be calibrated: most words are nearer to 1, and it
    refuses words that sclite cannot read, as whole utterances of scripts without spaces are.
    """
    return [
        f"{id} 1 {show_seconds(word.start)} {show_seconds(word.end - word.start)} {word.text} "
        f"{word.confidence:.6f}"
        for word in words
    ]


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


def join_bytes(pieces: Sequence[Piece]) -> list[Piece]:
    """Each run of sentencepiece's byte tokens, ``<0xC3>``, as one piece of the characters that it spells."""
    joined: list[Piece] = []
    for is_byte, run in groupby(pieces, lambda piece: BYTE.fullmatch(piece.text) is not None):
        members = list(run)
        if is_byte:
            spelled = bytes(int(BYTE.fullmatch(piece.text)[1], 16) for piece in members)
            text = CONTROL.sub("\ufffd", spelled.decode(errors="replace"))
            members = [Piece(text, members[0].first, members[-1].end)]
        joined += members
    return joined


def group_words(
    pieces: Sequence[Piece], token_type: str, num_frames: int, confidences: Sequence[float] | None = None
) -> list[Word]:
    """Words of the tokens of an utterance, with their characters (with bpe: tokens), as :func:`place_words`.

    Args are those of :func:`split_words`, and:
        num_frames: of the utterance; no word ends later.
        confidences: of its frames, as ``measure_confidence`` gives them; None = not known.
    """
    return place_words(split_words(pieces, token_type), num_frames, confidences)


def split_words(pieces: Sequence[Piece], token_type: str) -> list[list[Piece]]:
    """The pieces of each word, none without.

    Args:
        pieces: tokens in order.
        token_type: ESPnet's: ``char`` (words are parted by ``<space>``), ``bpe`` (sentencepiece's mark begins
            a word) or ``word``.
    """
    groups: list[list[Piece]] = [[]]
    for piece in pieces if token_type in ("char", "word") else join_bytes(pieces):
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
            groups[-1].append(piece._replace(text=text))
    return [group for group in groups if group]


def place_words(
    words: Sequence[Sequence[Piece]], num_frames: int, confidences: Sequence[float] | None = None
) -> list[Word]:
    """Words, each of one or more pieces, with times.

    A word begins ``LEAD`` frames before its first piece and ends ``TAIL`` after its last one. Where two words
    are nearer to each other, they meet at a third of what lies between them, seen from the later one. A word
    or character is as sure as its least sure frame.

    Args:
        words: in order.
        num_frames: of the utterance; no word ends later.
        confidences: of its frames; None = not known.
    """
    spans = [(group[0].first, group[-1].end) for group in words]
    starts = [max(0, first - LEAD) for first, _ in spans]
    ends = [min(num_frames, end + TAIL) for _, end in spans]
    for place in range(1, len(words)):
        end, first = spans[place - 1][1], spans[place][0]
        if ends[place - 1] > starts[place]:
            meeting = first - round((first - end) * LEAD / (LEAD + TAIL))
            ends[place - 1] = starts[place] = meeting
    return [_make_word(*each, confidences) for each in zip(words, starts, ends, strict=True)]


def _make_word(group: Sequence[Piece], start: int, end: int, confidences: Sequence[float] | None) -> Word:
    """A word whose characters share it out: each lasts from where it is named to where the next one is."""

    def find_least(first: int, end: int) -> float | None:
        return None if confidences is None else float(min(confidences[first : max(end, first + 1)]))

    borders = [start, *(piece.first for piece in group[1:]), end]
    characters = []
    for piece, (first, last) in zip(group, pairwise(borders), strict=True):
        last = max(first, last)
        times = to_seconds(first), to_seconds(last)
        characters.append(Character(*times, piece.text, find_least(first, last)))
    text = "".join(piece.text for piece in group)
    return Word(to_seconds(start), to_seconds(end), text, find_least(start, end), tuple(characters))
