"""Counts by jiwer against counts by hand and a plain edit distance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.scoring.python_scorer import Counts, score_utterances, score_with_jiwer
from espnet_wsm.scoring.significance import bootstrap_error_rate
from espnet_wsm.scoring.trn import TextPair

GOLDEN = [  # reference, hypothesis, (correct, substitutions, deletions, insertions)
    ("the cat sat", "the cat sat", (3, 0, 0, 0)),
    ("the cat sat", "the bat sat", (2, 1, 0, 0)),
    ("the cat sat", "the sat", (2, 0, 1, 0)),
    ("the cat sat", "the cat sat down", (3, 0, 0, 1)),
    ("the cat sat", "", (0, 0, 3, 0)),
    ("a b c d", "x b d", (2, 1, 1, 0)),
    ("The", "the", (0, 1, 0, 0)),
]


def make_pairs(texts: list[tuple[str, str]]) -> list[TextPair]:
    return [
        TextPair(f"u{index:04d}", "s", tuple(reference.split()), tuple(hypothesis.split()))
        for index, (reference, hypothesis) in enumerate(texts)
    ]


def edit_distance(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> int:
    """Levenshtein distance, the textbook recurrence over one row."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def test_edit_distance_reference_is_not_trivial():
    assert edit_distance(tuple("kitten"), tuple("sitting")) == 3
    assert edit_distance((), ("a",)) == edit_distance(("a",), ()) == 1


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), GOLDEN)
def test_counts_equal_those_by_hand(reference, hypothesis, expected):
    (counts,) = score_utterances(make_pairs([(reference, hypothesis)]))
    assert (counts.correct, counts.substitutions, counts.deletions, counts.insertions) == expected
    assert counts.words == len(reference.split())
    assert counts.sentence_errors == (reference != hypothesis)


def test_total_is_the_sum_with_rates_in_percent():
    result = score_with_jiwer(make_pairs([(ref, hypothesis) for ref, hypothesis, _ in GOLDEN]), True)
    assert result.counts == Counts(7, 20, 12, 3, 5, 1, 6)
    assert result.version.startswith("4.") and result.reason is None
    wrong = [sum(counts[1:]) for _, _, counts in GOLDEN]
    words = [len(reference.split()) for reference, _, _ in GOLDEN]
    expected = bootstrap_error_rate(wrong, words)
    assert result.interval == pytest.approx((expected.low, expected.high), abs=0.01)
    assert result.counts.errors == 9
    assert result.counts.error_rate == 45
    assert result.counts.correct_rate == 60
    assert result.counts.substitution_rate == 15
    assert result.counts.deletion_rate == 25
    assert result.counts.insertion_rate == 5
    assert result.counts.sentence_error_rate == pytest.approx(600 / 7)


def test_one_utterance_or_one_without_reference_gives_no_interval():
    for pairs in ([("a b", "a")], [("a b", "a"), ("", "b")]):
        assert score_with_jiwer(make_pairs(pairs), with_interval=True).interval is None
    assert score_with_jiwer(make_pairs([("a b", "a"), ("b", "b")])).interval is None, "not asked for"


def test_no_break_space_does_not_split_a_word():
    (counts,) = score_utterances([TextPair("u", "s", ("a\u00a0b",), ("a", "b"))])
    assert (counts.words, counts.errors) == (1, 2)


words = st.lists(st.sampled_from(["a", "b", "c", "A"]), max_size=9).map(tuple)


@given(st.lists(st.tuples(words.filter(len), words), min_size=1, max_size=5))
def test_errors_equal_the_edit_distance(texts):
    counts = score_utterances([TextPair(str(i), "s", *text) for i, text in enumerate(texts)])
    for (reference, hypothesis), one in zip(texts, counts, strict=True):
        assert one.errors == edit_distance(reference, hypothesis)
        assert one.correct + one.substitutions + one.deletions == one.words == len(reference)
        assert one.correct + one.substitutions + one.insertions == len(hypothesis)
        assert one.sentence_errors == (reference != hypothesis)
