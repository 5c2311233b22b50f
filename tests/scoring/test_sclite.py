"""sclite's counts against an independent alignment, and everything that would make it count wrongly."""

import random
import string
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.scoring import sclite
from espnet_wsm.scoring.python_scorer import Counts, score_utterances
from espnet_wsm.scoring.sclite import (
    MAX_TOKEN_BYTES,
    NOT_FOUND,
    SPECIAL,
    ScliteError,
    find_sclite,
    make_escapes,
    parse_result,
    run_sclite,
)
from espnet_wsm.scoring.trn import TextPair, split_characters

ONE = [TextPair("u1", "s", ("a", "b"), ("a",))]


def make_pairs(texts: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> list[TextPair]:
    return [TextPair(f"u{index:04d}", "s", *text) for index, text in enumerate(texts)]


def align_like_sclite(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> Counts:
    """Costs 4, 3, 3; the diagonal where it is no dearer than both others, else the strictly cheaper deletion,
    else the insertion; counted on the way back from the end."""
    rows, columns = len(reference) + 1, len(hypothesis) + 1
    cost = [[3 * (i + j) for j in range(columns)] for i in range(rows)]
    step = [["D" if i else "I" for _ in range(columns)] for i in range(rows)]
    for i in range(1, rows):
        for j in range(1, columns):
            same = reference[i - 1] == hypothesis[j - 1]
            diagonal = cost[i - 1][j - 1] + (0 if same else 4)
            deletion, insertion = cost[i - 1][j] + 3, cost[i][j - 1] + 3
            if diagonal <= deletion and diagonal <= insertion:
                cost[i][j], step[i][j] = diagonal, "C" if same else "S"
            elif deletion < insertion:
                cost[i][j], step[i][j] = deletion, "D"
            else:
                cost[i][j], step[i][j] = insertion, "I"
    i, j, taken = rows - 1, columns - 1, []
    while i or j:
        taken.append(step[i][j])
        i, j = i - (taken[-1] != "I"), j - (taken[-1] != "D")
    return Counts.of_utterance(*map(taken.count, "CSDI"))


def test_alignment_reference_is_not_trivial():
    assert align_like_sclite(tuple("abcd"), tuple("xbde")) == Counts.of_utterance(2, 1, 1, 1)
    assert align_like_sclite((), ("a",)) == Counts.of_utterance(0, 0, 0, 1)
    # Two substitutions are as few edits, but cost 8; a deletion and an insertion cost 6.
    assert align_like_sclite(tuple("ab"), tuple("ba")) == Counts.of_utterance(1, 0, 1, 1)


@pytest.mark.sclite
def test_counts_of_random_pairs_equal_the_reference(tmp_path):
    draw = random.Random(0)
    texts = [
        tuple(tuple(draw.choices("abcA", k=draw.randint(least, 9))) for least in (1, 0)) for _ in range(500)
    ]
    pairs = make_pairs(texts)
    result = run_sclite(pairs, tmp_path / "result.txt")
    parsed = parse_result((tmp_path / "result.txt").read_text(encoding="utf-8"))
    expected = {f"s-{pair.id}": align_like_sclite(pair.reference, pair.hypothesis) for pair in pairs}
    assert parsed == expected
    assert result.counts == sum(expected.values(), Counts())
    splits = [(one.substitutions, one.deletions, one.insertions) for one in score_utterances(pairs)]
    assert splits != [(one.substitutions, one.deletions, one.insertions) for one in expected.values()]


@pytest.mark.sclite
def test_counts_equal_those_by_hand(tmp_path):
    pairs = [
        TextPair("u1", "anna", ("the", "cat", "sat"), ("the", "bat", "sat")),
        TextPair("u2", "anna", ("on", "the", "mat"), ("on", "mat")),
        TextPair("u3", "boris", ("yes",), ("oh", "yes")),
        TextPair("u4", "boris", ("no", "way"), ()),
        TextPair("u5", "boris", ("fine",), ("fine",)),
    ]
    result = run_sclite(pairs, tmp_path / "result.txt")
    assert result.counts == Counts(5, 10, 6, 1, 3, 1, 4)
    assert result.reason is None and result.version.startswith("2.")
    report = (tmp_path / "result.txt").read_text(encoding="utf-8")
    assert "| Sum/Avg|    5     10 | 60.0   10.0   30.0   10.0   50.0   80.0 |" in report
    assert "id: (boris-u4)" in report


@pytest.mark.sclite
def test_special_characters_count_as_any_other(tmp_path):
    """Each as a word and at each place of a word: equal, substituted, deleted, inserted, and all at once."""
    texts = []
    for char in string.punctuation + "\0\x01\x1c\u00a0\u3000\ue000\U0001f600ёЁ":
        for word in (char, f"{char}a", f"a{char}", f"a{char}b", char * 2, f"{char}{char}a{char}"):
            line, without, other = ("x", word, "y"), ("x", "y"), ("x", "q", "y")
            texts += [(line, line), (line, without), (without, line), (line, other), (other, line)]
            texts += [((word,), ("a",)), (("a",), (word,)), ((word, "y"), ()), ((word, "a"), ("a", word))]
    for left, right in ("()", "{}", "[]", "<>", ("((", "))")):
        texts += [
            ((left, "a", right), ("a",)),
            ((f"{left}a{right}",), ("a",)),
            (("a",), (f"{left}a{right}",)),
        ]
    texts += [(("{", "a", "/", "b", "}"), ("a",)), ((";;", "a"), (";;", "b")), (("(s-u0000)",), ("a", "(x)"))]
    pairs = make_pairs(texts)
    run_sclite(pairs, tmp_path / "result.txt")
    parsed = parse_result((tmp_path / "result.txt").read_text(encoding="utf-8"))
    for pair in pairs:
        assert parsed[f"s-{pair.id}"] == align_like_sclite(pair.reference, pair.hypothesis), pair
    assert len(parsed) == len(pairs)


@pytest.mark.sclite
def test_special_characters_reach_the_report(tmp_path):
    pairs = [TextPair("u(1)", "a;b", ("{x}", "y\\", "<space>"), ("{x}", "y@", "<space>"))]
    run_sclite(pairs, tmp_path / "result.txt")
    report = (tmp_path / "result.txt").read_text(encoding="utf-8")
    assert "id: (a;b-u(1))" in report
    assert "{x}" in report and "y@" in report.split("HYP:")[1] and "<space>" in report


@pytest.mark.sclite
@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        (("Привет", "мир"), ("привет", "мир"), 1),
        (("ёж",), (unicodedata.normalize("NFD", "ёж"),), 1),
        (("A",), ("a",), 1),
        (("a\u00a0b",), ("a", "b"), 2),
        (("ёж",), ("ёж",), 0),
    ],
)
def test_words_differ_unless_their_code_points_are_equal(tmp_path, reference, hypothesis, errors):
    pairs = make_pairs([(reference, hypothesis)])
    assert run_sclite(pairs, tmp_path / "result.txt").counts.errors == errors
    assert score_utterances(pairs)[0].errors == errors


tokens = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=" \t\n\r\v\f"), min_size=1, max_size=4
)
texts = st.lists(tokens | st.sampled_from("ab{};\\@*()/"), max_size=6).map(tuple)


@pytest.mark.sclite
@settings(max_examples=25, deadline=None)
@given(batch=st.lists(st.tuples(texts.filter(len), texts), min_size=1, max_size=20), id_part=tokens)
def test_any_text_counts_as_in_the_reference(tmp_path_factory, batch, id_part):
    result = tmp_path_factory.mktemp("sclite") / "result.txt"
    pairs = [TextPair(f"{id_part}{index}", id_part, *text) for index, text in enumerate(batch)]
    for scored in (pairs, list(map(split_characters, pairs))):
        expected = sum((align_like_sclite(pair.reference, pair.hypothesis) for pair in scored), Counts())
        assert run_sclite(scored, result).counts == expected


@given(st.text())
def test_escapes_can_be_undone(text):
    escapes = make_escapes([text])
    escaped = text.translate(escapes)
    assert len(escapes) == len(SPECIAL)
    assert not set(SPECIAL) & set(escaped)
    assert escaped.translate({code: special for special, code in escapes.items()}) == text


def test_missing_sclite_is_a_reason_and_leaves_no_old_report(tmp_path, monkeypatch):
    monkeypatch.setattr(sclite, "DEBIAN_SCLITE", str(tmp_path / "sclite"))
    monkeypatch.setattr(sclite.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "result.txt").write_text("old")
    assert find_sclite() is None
    result = run_sclite(ONE, tmp_path / "result.txt")
    assert (result.counts, result.version, result.reason) == (None, None, NOT_FOUND)
    assert not (tmp_path / "result.txt").exists()


def test_sclite_is_found_through_sctk(tmp_path, monkeypatch):
    monkeypatch.setattr(sclite, "DEBIAN_SCLITE", str(tmp_path / "sclite"))
    monkeypatch.setattr(sclite.sys, "executable", str(tmp_path / "python"))
    (tmp_path / "sctk").write_text("#!/bin/sh\n")
    (tmp_path / "sctk").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_sclite() == [str(tmp_path / "sctk"), "sclite"]


def is_running(pid: str) -> bool:
    """Whether the process exists and is no zombie, by Linux's /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_hanging_sclite_is_given_up_with_its_children(tmp_path, fake_sclite):
    """`sctk` is a shell script: killing it alone would leave sclite running for ever."""
    fake_sclite(f"sleep 60 &\necho $! > {tmp_path}/child\nwait")
    result = run_sclite(ONE, tmp_path / "result.txt", timeout=0.5)
    assert result.counts is None and result.version == "9 (SCTK 8)"
    assert result.reason == "sclite did not finish within 0.5 s"
    child = (tmp_path / "child").read_text().strip()
    deadline = time.monotonic() + 5
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(child)


def test_crashing_sclite_is_a_reason(tmp_path, fake_sclite):
    fake_sclite("kill -SEGV $$")
    result = run_sclite(ONE, tmp_path / "result.txt")
    assert result.counts is None and "SIGSEGV" in result.reason


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("", "scored 0 of 1 utterances, the first that differs: s-u1"),
        ("id: (s-u1)\nScores: (#C #S #D #I) 1 0 0 0\n", "read 1 reference and 1 hypothesis words of s-u1"),
        ("id: (s-u1)\nScores: (#C #S #D #I) 1 0 1 1\n", "read 2 reference and 2 hypothesis words of s-u1"),
        ("id: (s-u2)\nScores: (#C #S #D #I) 1 0 1 0\n", "scored 1 of 1 utterances"),
    ],
)
def test_counts_that_do_not_fit_the_text_raise(tmp_path, fake_sclite, report, message):
    fake_sclite(f"cat <<'END'\n{report}END")
    with pytest.raises(ScliteError, match=message):
        run_sclite(ONE, tmp_path / "result.txt")
    assert not (tmp_path / "result.txt").exists()


@pytest.mark.sclite
def test_longest_allowed_word_is_scored_and_a_longer_one_refused(tmp_path):
    longest = "ё" * (MAX_TOKEN_BYTES // 2)
    fits = run_sclite(
        make_pairs([((longest, "b"), ("c", "b", longest))]), tmp_path / "result.txt", timeout=20
    )
    assert fits.counts.errors == 2
    refused = run_sclite(make_pairs([((longest + "a",), ("c",))]), tmp_path / "result.txt", timeout=20)
    assert refused.counts is None and "utterance u0000 has a word or id of 901 bytes" in refused.reason
    escaped = run_sclite(make_pairs([(("a",), ("{" * 300,))]), tmp_path / "result.txt", timeout=20)
    assert escaped.counts is None and "1200 bytes" in escaped.reason


@pytest.mark.sclite
def test_two_utterances_with_one_sclite_id_are_refused(tmp_path):
    pairs = [TextPair("b-c", "a", ("x",), ("x",)), TextPair("c", "a-b", ("x",), ("x",))]
    assert "share sclite's id a-b-c" in run_sclite(pairs, tmp_path / "result.txt").reason
