"""`python -m espnet_wsm.bin.compare_systems` from three texts to a table and a JSON file."""

import json
import random
import re
import subprocess
import sys

import pytest

from espnet_wsm.bin import compare_systems
from espnet_wsm.bin.compare_systems import main
from espnet_wsm.scoring import two_systems
from espnet_wsm.scoring.sc_stats import NOT_FOUND, ScStats, find_sc_stats

WORDS = "the cat sat on a red mat and saw two dogs run home".split()
FAST = ("--replicates", "500")


def make_text(number=40, spoilt=0.0, seed=0):
    """id -> words, of which the share ``spoilt`` is replaced; the words do not depend on it."""
    choose, spoil = random.Random(0), random.Random(seed)
    texts = {}
    for index in range(number):
        words = choose.choices(WORDS, k=8)
        texts[f"s{index % 4}-u{index:02d}"] = ["oops" if spoil.random() < spoilt else word for word in words]
    return texts


REFERENCE, WORSE, BETTER = make_text(), make_text(spoilt=0.4, seed=1), make_text(spoilt=0.1, seed=2)


@pytest.fixture
def compare(tmp_path, capsys):
    """Runs the command on three texts; returns what it printed."""

    def run(reference=REFERENCE, hyp_a=WORSE, hyp_b=BETTER, options=()):
        paths = []
        for name, texts in (("ref", reference), ("hyp_a", hyp_a), ("hyp_b", hyp_b)):
            path = tmp_path / name
            path.write_text("".join(f"{key} {' '.join(words)}\n" for key, words in texts.items()))
            paths += [f"--{name}", str(path)]
        speakers = "".join(f"{key} {key.split('-')[0]}\n" for key in reference)
        (tmp_path / "utt2spk").write_text(speakers)
        main([*paths, *FAST, *options])
        return capsys.readouterr()

    return run


def find_row(text, label):
    """The cells of the table row whose first cell is ``label``."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    (row,) = [row for row in rows if row[0] == label]
    return row


@pytest.mark.sclite
def test_tables_and_verdict_are_printed(compare):
    if find_sc_stats() is None:
        pytest.skip(NOT_FOUND)
    out, err = compare(options=["--name_a", "old", "--name_b", "new"])
    errors = [sum(word == "oops" for words in texts.values() for word in words) for texts in (WORSE, BETTER)]
    assert out.startswith("40 utterances, 320 words, 500 test sets resampled by utterance\n")
    assert find_row(out, "old")[1] == f"{100 * errors[0] / 320:.2f}"
    assert find_row(out, "new")[1] == f"{100 * errors[1] / 320:.2f}"
    assert find_row(out, "old - new")[1] == f"{100 * (errors[0] - errors[1]) / 320:+.2f}"
    assert find_row(out, "paired bootstrap")[1:] == ["new better in 100.00%", "0.004"]
    assert find_row(out, "MAPSSWE")[1:] == find_row(out, "MAPSSWE, sc_stats")[1:]
    assert "verdict at 95 %: new better\n" in out
    assert "note: one training run of each system" in out
    assert err == ""


def test_swapped_systems_swap_the_verdict(compare):
    forth = compare().out
    back = compare(hyp_a=BETTER, hyp_b=WORSE).out
    assert "verdict at 95 %: B better" in forth and "verdict at 95 %: A better" in back
    assert find_row(forth, "A")[1:] == find_row(back, "B")[1:]


def test_identical_texts_are_no_difference(compare):
    out = compare(hyp_b=WORSE).out
    assert find_row(out, "A - B")[1:] == ["+0.00", "+0.00 to +0.00"]
    assert find_row(out, "paired bootstrap")[2] == find_row(out, "MAPSSWE")[2] == "1.000"
    assert "verdict at 95 %: no difference\n" in out


def test_symbols_do_not_count(compare, tmp_path):
    (tmp_path / "symbols").write_text("[eng]\n")
    marked = {key: ["[eng]", *words] for key, words in REFERENCE.items()}
    options = ("--non_linguistic_symbols", str(tmp_path / "symbols"))
    out = compare(marked, WORSE, BETTER, options).out
    assert out == compare().out
    assert out != compare(marked).out


def test_texts_without_an_error_are_no_difference(compare):
    out = compare(hyp_a=REFERENCE, hyp_b=REFERENCE).out
    assert find_row(out, "MAPSSWE, sc_stats")[1] == "n/a: no segment holds an error"
    assert "verdict at 95 %: no difference\n" in out
    assert "note: MAPSSWE: no segment holds an error" in out


def test_all_figures_are_written(compare, tmp_path):
    path = tmp_path / "sub/comparison.json"
    options = ["--out", str(path), "--seed", "3", "--level", "0.9", "--unit", "char"]
    out = compare(options=options).out
    first = path.read_bytes()
    record = json.loads(first)
    assert record["resampling"] == {"replicates": 500, "seed": 3, "level": 0.9}
    assert record["unit"] == "char" and record["names"] == ["A", "B"] and record["utterances"] == 40
    assert record["words"] == sum(len(" ".join(words)) for words in REFERENCE.values())
    rate = record["comparison"]["rate_a"]
    assert rate["estimate"] == 100 * record["errors"][0] / record["words"]
    assert find_row(out, "A") == ["A", f"{rate['estimate']:.2f}", f"{rate['low']:.2f} to {rate['high']:.2f}"]
    assert "CER %" in out and "90 % interval" in out
    assert record["verdict"] == "B better" and record["mapsswe"]["segments"] > 30
    compare(options=options)
    assert path.read_bytes() == first


def test_speakers_are_resampled_whole(compare, tmp_path):
    out = compare(options=["--by", "speaker", "--utt2spk", str(tmp_path / "utt2spk")]).out
    assert "resampled by speaker" in out
    assert "note: bootstrap: only 4 were resampled" in out
    assert find_row(out, "A")[1] == find_row(compare().out, "A")[1]


def test_tests_that_disagree_are_pointed_out(compare, monkeypatch):
    assert "do not agree" not in compare().out
    real = two_systems.compare_segments
    monkeypatch.setattr(two_systems, "compare_segments", lambda segments: real([(1, 0), (0, 1)] * 40))
    monkeypatch.setattr(compare_systems, "run_sc_stats", lambda *_: (None, "not asked"))
    assert "note: the paired bootstrap and MAPSSWE do not agree" in compare().out


def test_sc_stats_that_finds_other_figures_is_a_warning(compare, monkeypatch):
    other = ScStats(7, 0.5, 1.0, 1.3, False, "0.194")
    monkeypatch.setattr(compare_systems, "run_sc_stats", lambda *_: (other, None))
    printed = compare()
    assert "warning: sc_stats and the Python MAPSSWE differ" in printed.err
    assert find_row(printed.out, "MAPSSWE, sc_stats")[1].startswith("7 segments")


def test_without_sc_stats_its_row_holds_the_reason(compare, monkeypatch):
    monkeypatch.setattr(compare_systems, "run_sc_stats", lambda *_: (None, NOT_FOUND))
    assert find_row(compare().out, "MAPSSWE, sc_stats")[1:] == [f"n/a: {NOT_FOUND}", "n/a"]


def without(texts, key):
    return {name: words for name, words in texts.items() if name != key}


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (
            {"hyp_b": without(BETTER, "s2-u10")},
            [],
            r"hyp_b: no hypothesis for s2-u10 of \S*ref: decode again",
        ),
        ({"hyp_a": WORSE | {"odd": ["a"]}}, [], r"hyp_a: odd not in \S*ref: score against the set"),
        ({"hyp_a": {}}, [], r"hyp_a: no hypothesis for s0-u00, .* \(40 in all\)"),
        ({"reference": {}}, [], r"ref is empty: it needs one line per utterance"),
        ({"reference": dict.fromkeys(REFERENCE, ())}, [], r"ref: empty reference of s0-u00, .*remove these"),
        (
            {"reference": {"u": ["a"]}, "hyp_a": {"u": ["b"]}, "hyp_b": {"u": []}},
            [],
            "ref has one utterance, u",
        ),
        ({}, ["--by", "speaker"], "--by speaker needs --utt2spk"),
        ({}, ["--by", "speaker", "--utt2spk", "nowhere"], "nowhere cannot be read"),
        ({}, ["--replicates", "3"], "replicates is 3: give 100 or more"),
        ({}, ["--level", "95"], "level is 95: give a share between 0 and 1"),
        ({}, ["--name_a", "B"], "--name_a and --name_b are both B"),
        ({}, ["--name_b", " "], "--name_b is ' ': give a name"),
        ({}, ["--hyp_a", "nowhere"], "nowhere cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(compare, capsys, texts, options, message):
    with pytest.raises(SystemExit) as stop:
        compare(**texts, options=options)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert re.search(message, error) and error.startswith("error: ") and "Traceback" not in error


def test_one_speaker_cannot_be_resampled(compare, tmp_path, capsys):
    path = tmp_path / "one"
    path.write_text("".join(f"{key} anna\n" for key in REFERENCE))
    with pytest.raises(SystemExit):
        compare(options=["--by", "speaker", "--utt2spk", str(path)])
    assert "one: all utterances are of speaker anna: use --by utterance" in capsys.readouterr().err


def test_command_starts_without_torch():
    code = (
        "import sys, espnet_wsm.bin.compare_systems; print({'torch', 'espnet2', 's3prl'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
