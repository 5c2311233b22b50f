"""From annotations to utterances: joined, split, padded, overlaps."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.annotations import Word
from espnet_wsm.data.corpora.pieces import (
    SHORTEST_PAUSE,
    Piece,
    PieceRules,
    join_words,
    measure_overlaps,
    merge_short,
    pad,
    split_long,
)
from espnet_wsm.errors import UserError


def make_piece(start: float, end: float, text: str = "a", words=()) -> Piece:
    return Piece(start, end, text, "anna", f"at {start}", tuple(Word(*times, word) for *times, word in words))


@st.composite
def draw_row(draw) -> list[Piece]:
    """Words of one speaker, in milliseconds without overlap."""
    marks = sorted(draw(st.lists(st.integers(0, 20_000), min_size=2, max_size=24, unique=True)))
    pairs = zip(marks[::2], marks[1::2], strict=False)
    return [
        make_piece(start / 1000, end / 1000, f"w{number}", [(start / 1000, end / 1000, f"w{number}")])
        for number, (start, end) in enumerate(pairs)
    ]


@given(draw_row(), st.floats(0, 3), st.floats(0, 2))
def test_joining_loses_no_word_and_keeps_to_its_limits(row, below, pause):
    rules = PieceRules(merge_below=below, longest_pause=pause, split_above=5)
    joined = merge_short(row, rules)
    assert " ".join(piece.text for piece in joined).split() == [piece.text for piece in row]
    for piece in joined:
        assert piece in row or piece.seconds <= 5
        gaps = [after.start - before.end for before, after in zip(piece.words, piece.words[1:], strict=False)]
        assert all(gap <= pause for gap in gaps)
    # Nothing that could still be joined is left.
    for before, after in itertools.pairwise(joined):
        assert (
            min(before.seconds, after.seconds) >= below
            or after.start - before.end > pause
            or after.end - before.start > 5
        )


@given(draw_row(), st.floats(0.5, 6))
def test_splitting_gives_the_same_words_in_parts_that_follow_each_other(row, limit):
    whole = join_words(row, PieceRules(longest_pause=100, split_above=100))
    assert len(whole) == 1
    parts = split_long(whole[0], PieceRules(split_above=limit))
    assert [word for part in parts for word in part.words] == [word for piece in row for word in piece.words]
    assert " ".join(part.text for part in parts) == whole[0].text
    assert (parts[0].start, parts[-1].end) == (row[0].start, row[-1].end)
    for before, after in itertools.pairwise(parts):
        assert before.end == after.start and before.words[-1].end <= before.end <= after.words[0].start
    for part in parts:
        gaps = [b.start - a.end for a, b in zip(part.words, part.words[1:], strict=False)]
        assert part.seconds <= limit or max(gaps, default=0) < SHORTEST_PAUSE


def test_what_has_no_times_of_its_words_is_not_split():
    rules = PieceRules(split_above=2)
    assert split_long(make_piece(0, 9, "a b c"), rules) == [make_piece(0, 9, "a b c")]
    two = make_piece(0, 9, "a b c", [(0, 1, "a"), (5, 6, "b")])  # a word is missing
    assert split_long(two, rules) == [two]


def test_a_pause_is_split_at_the_longest_and_nearest_to_the_middle():
    words = [(0, 1, "a"), (2, 3, "b"), (4, 5, "c"), (6, 7, "d")]
    parts = split_long(make_piece(0, 7, "a b c d", words), PieceRules(split_above=4))
    assert [(part.text, part.start, part.end) for part in parts] == [("a b", 0, 3.5), ("c d", 3.5, 7)]


@given(draw_row(), st.floats(0, 2))
def test_padding_meets_no_other_utterance_and_stays_in_the_audio(row, seconds):
    padded = pad(row, seconds, 20.0)
    assert [piece.text for piece in padded] == [piece.text for piece in row]
    for piece, wide in zip(row, padded, strict=True):
        assert 0 <= wide.start <= piece.start + 0.0005 and piece.end <= wide.end <= 20.0
        assert wide.seconds <= piece.seconds + 2 * seconds + 0.002
    for before, after in itertools.pairwise(padded):
        assert before.end <= after.start + 0.001


def test_padding_between_overlapping_speakers_is_as_wide_as_asked():
    first, second = make_piece(1, 4), make_piece(2, 3)
    assert [(p.start, p.end) for p in pad([first, second], 0.5, None)] == [(0.5, 4.5), (1.5, 3.5)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=12))
def test_overlaps_are_those_of_a_loop_over_all_pairs(times):
    pieces = sorted(
        (make_piece(start, start + length) for start, length in times), key=lambda each: each.start
    )
    expected = [
        max(
            (min(a.end, b.end) - max(a.start, b.start) for j, b in enumerate(pieces) if j != i),
            default=0.0,
        )
        for i, a in enumerate(pieces)
    ]
    assert measure_overlaps(pieces) == [max(0.0, each) for each in expected]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"padding": -1}, "--padding -1: give seconds"),
        ({"longest_pause": float("nan")}, "--longest_pause nan: give seconds"),
        ({"merge_below": 5, "split_above": 3}, "the first has to be smaller"),
        ({"overlaps": "mix"}, "--overlaps mix: there are keep, leave_out"),
    ],
)
def test_impossible_rules_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        PieceRules(**values)
