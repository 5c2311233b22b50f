"""`python -m espnet_wsm.bin.score` from two texts to the files that users read."""

import json

import pytest

from espnet_wsm.bin.score import main
from espnet_wsm.scoring import sclite
from espnet_wsm.scoring.python_scorer import Counts, ScorerResult
from espnet_wsm.scoring.results import find_disagreements, read_score, render_examples
from espnet_wsm.scoring.trn import TOKENIZERS, TextPair

REFERENCE = ["u1 the cat | sat", "u2 a {b c", "u3 hello"]
HYPOTHESIS = ["u1 the bat | sat on", "u2 a {b", "u3"]


@pytest.fixture
def score(write_texts, tmp_path):
    """Runs the command on the two texts; returns --out."""

    def run(reference=REFERENCE, hypothesis=HYPOTHESIS, *options):
        ref, hyp = write_texts(reference, hypothesis)
        out = tmp_path / "exp/decode/test"
        main(["--ref", str(ref), "--hyp", str(hyp), "--out", str(out), *options])
        return out

    return run


@pytest.mark.sclite
def test_both_scorers_are_recorded_and_printed(score, capsys):
    out = score()
    set_name, scores = read_score(out / "score.json")
    assert set_name == "test"
    for name in ("sclite", "python"):
        assert scores["wer"][name].counts == Counts(3, 8, 5, 1, 2, 1, 3)
        assert scores["cer"][name].counts.words == len("the cat | sat" + "a {b c" + "hello")
        assert scores["wer"][name].reason is None and scores["wer"][name].version
    assert scores["wer"]["python"].interval[0] < 50 < scores["wer"]["python"].interval[1]
    printed = capsys.readouterr()
    assert (
        "| test | wer         | sclite |   3 |   8 | 62.5 | 12.5 | 25.0 | 12.5 | 50.0 | 100.0 |"
        in printed.out
    )
    *table, correction = printed.out.splitlines()
    assert len({len(line) for line in table}) == 1, "columns are aligned"
    assert correction.startswith("test: 4 of 8 words to touch (50.0 %, ")
    assert "warning" not in printed.err
    assert "gcer" not in printed.out, "each grapheme is one code point"
    for metric in TOKENIZERS:
        assert {p.name for p in (out / f"score_{metric}").iterdir()} == {"ref.trn", "hyp.trn", "result.txt"}
    assert (out / "score_wer/ref.trn").read_text().splitlines()[1] == "a {b c\t(u2-u2)"
    assert (out / "score_cer/hyp.trn").read_text().splitlines()[1] == "a <space> { b\t(u2-u2)"


def test_without_sclite_python_scores_and_the_reason_is_shown(score, capsys, monkeypatch):
    monkeypatch.setattr(sclite, "find_sclite", lambda: None)
    out = score(REFERENCE, HYPOTHESIS, "--set_name", "dev")
    record = json.loads((out / "score.json").read_text())
    assert record["set"] == "dev"
    missing = {"counts": None, "version": None, "reason": sclite.NOT_FOUND, "interval": None}
    assert record["wer"]["sclite"] == missing
    assert record["wer"]["python"]["counts"]["deletions"] == 2
    assert not (out / "score_wer/result.txt").exists()
    assert "warning: dev wer: scored by Python alone: sclite not found" in capsys.readouterr().err


# Hindi: a vowel sign is a character there, and part of one to readers.
HINDI = ["u1 नमस्ते दुनिया"], ["u1 नमसते दुनयाँ"]


@pytest.mark.sclite
def test_characters_are_counted_by_code_point_and_by_grapheme_with_spaces_and_without(score, capsys):
    _, scores = read_score(score(*HINDI) / "score.json")
    found = {}
    for metric in ("cer", "cer_nospace", "gcer", "gcer_nospace"):
        counts = scores[metric]["sclite"].counts
        assert counts.errors == scores[metric]["python"].counts.errors
        found[metric] = (counts.errors, counts.words)
    # Left out ्, ि; put in ँ. By grapheme स्ते -> स ते, नि -> न, या -> याँ.
    assert found == {"cer": (3, 13), "cer_nospace": (3, 12), "gcer": (4, 7), "gcer_nospace": (4, 6)}
    assert "| test | gcer_nospace | sclite |" in capsys.readouterr().out


def test_words_are_refused_where_no_blanks_stand_between_them(score, capsys):
    out = score(["u1 สวัสดีครับ ผมชื่อ", "u2 โอเค"], ["u1 สวัสดีครับผม ชื่อ", "u2 โอเค"])
    printed = capsys.readouterr()
    assert "warning: test wer: refused: Thai is written without spaces between words" in printed.err
    assert "CER by code point or GCER by grapheme" in printed.err and " n/a |" in printed.out
    _, scores = read_score(out / "score.json")
    assert all(result.counts is None for result in scores["wer"].values())
    assert scores["cer"]["python"].counts.errors == 2
    assert scores["cer_nospace"]["python"].counts.errors == 0
    assert not (out / "score_wer").exists()


def test_symbols_do_not_count(score, tmp_path):
    (tmp_path / "symbols").write_text("[eng]\n")
    out = score(["u1 [eng] a b"], ["u1 [eng]a b"], "--non_linguistic_symbols", str(tmp_path / "symbols"))
    for metric, words in (("wer", 2), ("cer", 3)):
        counts = json.loads((out / "score.json").read_text())[metric]["python"]["counts"]
        assert (counts["words"], counts["correct"]) == (words, words)


@pytest.mark.sclite
def test_speakers_reach_sclite(score, tmp_path):
    (tmp_path / "utt2spk").write_text("u1 anna\nu2 anna\nu3 boris\n")
    out = score(REFERENCE, HYPOTHESIS, "--utt2spk", str(tmp_path / "utt2spk"))
    assert "| anna   |    2      7 |" in (out / "score_wer/result.txt").read_text()


@pytest.mark.sclite
def test_same_input_writes_the_same_bytes(score):
    def read_all(out):
        return {path: path.read_bytes() for path in out.rglob("*.*")}

    first = read_all(score())
    assert len(first) == 17 and read_all(score()) == first


def test_failed_run_leaves_no_record_of_an_earlier_one(score, capsys):
    record = score() / "score.json"
    assert record.exists()
    with pytest.raises(SystemExit) as stop:
        score(REFERENCE, HYPOTHESIS[:2])
    assert stop.value.code == 1
    assert "no hypothesis for u3" in capsys.readouterr().err
    assert not record.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num_examples", "-1"], "--num_examples is -1: give 0 or more"),
        (["--sclite_timeout", "0"], "--sclite_timeout is 0: give a positive"),
        (["--utt2spk", "nowhere"], "nowhere cannot be read"),
        (["--out", __file__], "is a file: name a directory"),
    ],
)
def test_bad_option_is_one_sentence(score, capsys, options, message):
    with pytest.raises(SystemExit):
        score(REFERENCE, HYPOTHESIS, *options)
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and "Traceback" not in error


def test_examples_mark_errors_and_escape_markdown():
    pairs = [
        TextPair("u_1", "s", ("the", "cat", "|", "sat"), ("the", "bat", "|", "sat", "on")),
        TextPair("u2", "s", ("*a*", "snake_case", "_b_", "<i>"), ("*a*", "snake_case", "_b_", "<i>")),
        TextPair("u3", "s", ("x", "y", "z"), ()),
    ]
    assert render_examples(pairs, 10).splitlines() == [
        "| id  | ref                         | hyp                         |",
        "| --- | --------------------------- | --------------------------- |",
        r"| u_1 | the **cat** \| sat          | the **bat** \| sat **on**   |",
        r"| u2  | \*a\* snake_case \_b\_ \<i> | \*a\* snake_case \_b\_ \<i> |",
        "| u3  | **x y z**                   |                             |",
    ]


@pytest.mark.parametrize(("number", "expected"), [(0, []), (1, [0]), (3, [0, 3, 6]), (99, list(range(10)))])
def test_examples_are_spread_over_the_set(number, expected):
    pairs = [TextPair(f"utt{index}", "s", ("a",), ("a",)) for index in range(10)]
    rows = render_examples(pairs, number).splitlines()[2:]
    assert [int(row.split()[1].removeprefix("utt")) for row in rows] == expected


def test_different_totals_are_reported_with_both_numbers():
    def result(substitutions):
        return ScorerResult(Counts.of_utterance(9, substitutions, 0, 0), "1")

    same = {"sclite": result(3), "python": ScorerResult(Counts.of_utterance(9, 1, 2, 0), "1")}
    other = {"sclite": result(4), "python": result(3)}
    (sentence,) = find_disagreements("test", {"wer": same, "cer": other})
    assert sentence.startswith("test cer: sclite counts 4 errors, Python 3")
