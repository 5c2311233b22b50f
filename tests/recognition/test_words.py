"""Words of a CTC path: their texts, times and how sure they are."""

import pytest

from espnet_wsm.recognition.words import (
    Piece,
    collapse_path,
    format_ctm_lines,
    group_words,
    to_seconds,
)

TOKENS = ["<blank>", "a", "b", "<space>"]


def test_repeats_are_one_token_and_blanks_part_two():
    pieces = collapse_path([0, 1, 1, 0, 1, 2, 2], TOKENS, 0)
    assert pieces == [Piece("a", 1, 3), Piece("a", 4, 5), Piece("b", 5, 7)]
    assert collapse_path([0, 0], TOKENS, 0) == []
    assert collapse_path([1, 1], TOKENS, 0) == [Piece("a", 0, 2)]


def chars(text: str, frames: list[int]) -> list[Piece]:
    named = ("<space>" if character == " " else character for character in text)
    return [Piece(token, frame, frame + 1) for token, frame in zip(named, frames, strict=True)]


def test_words_begin_before_and_end_after_their_characters():
    words = group_words(chars("ab c", [10, 12, 20, 40]), "char", 43)
    assert [(w.text, w.start, w.end) for w in words] == [("ab", 0.14, 0.38), ("c", 0.74, 0.86)]
    assert [word.confidence for word in words] == [None, None]
    characters = [(each.text, each.start, each.end) for each in words[0].characters]
    assert characters == [("a", 0.14, 0.24), ("b", 0.24, 0.38)]


def test_a_word_is_as_sure_as_its_least_sure_frame():
    sure = [1.0] * 43
    sure[8], sure[13], sure[30] = 0.5, 0.25, 0.0  # before its first character, after its last, between words
    one, other = group_words(chars("ab c", [10, 12, 20, 40]), "char", 43, sure)
    assert (one.confidence, other.confidence) == (0.25, 1.0)
    assert [character.confidence for character in one.characters] == [0.5, 0.25]
    (squeezed,) = group_words(chars("aa", [0, 0]), "char", 1, [0.5])
    assert [character.confidence for character in squeezed.characters] == [0.5, 0.5]


def test_words_near_each_other_meet_between_them():
    one, other = group_words(chars("a b", [10, 12, 17]), "char", 100)
    assert one.end == other.start == 0.3  # two of the six frames between 11 and 17 belong to the later word
    first, second = group_words(chars("a b", [1, 2, 3]), "char", 4)
    assert (first.start, first.end, second.start, second.end) == (0, 0.06, 0.06, 0.08)


@pytest.mark.parametrize(
    ("token_type", "tokens", "texts"),
    [
        ("bpe", ["▁he", "llo", "▁", "you", "▁"], ["hello", "you"]),
        ("bpe", ["lo", "▁a"], ["lo", "a"]),
        ("bpe", ["▁", "<0xC3>", "<0xA9>", "t", "<0x0A>", "▁<0x41>"], ["ét\ufffd", "<0x41>"]),
        ("unigram", ["▁", "<0xC3>", "▁a"], ["\ufffd", "a"]),
        ("char", ["<0x41>"], ["<0x41>"]),
        ("word", ["he", "▁x"], ["he", "▁x"]),
        ("char", ["<space>", "a", "<space>", "<space>", "b", "<unk>"], ["a", "b<unk>"]),
        ("char", [], []),
    ],
)
def test_tokens_of_each_kind_become_words(token_type, tokens, texts):
    pieces = [Piece(token, 10 * place, 10 * place + 1) for place, token in enumerate(tokens)]
    words = group_words(pieces, token_type, 100)
    assert [word.text for word in words] == texts
    for word in words:
        assert word.start == word.characters[0].start and word.end == word.characters[-1].end


def test_a_frame_begins_after_so_many_times_20_ms():
    assert to_seconds(3) == 0.06 and to_seconds(180_001) == 3600.02


def test_lines_of_a_ctm_keep_what_tells_confidences_apart():
    words = group_words(chars("ab c", [10, 12, 20, 40]), "char", 43, [0.9999991] * 30 + [0.25] * 13)
    lines = ["u1 1 0.140 0.240 ab 0.999999", "u1 1 0.740 0.120 c 0.250000"]
    assert format_ctm_lines("u1", words) == lines and format_ctm_lines("u1", []) == []
