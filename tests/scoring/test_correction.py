"""Words to touch: by hand, against the error rate, and as stage 5 prints and stores them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.bin.score import main
from espnet_wsm.scoring.correction import count_touched, describe_correction, measure_correction
from espnet_wsm.scoring.python_scorer import list_steps
from espnet_wsm.scoring.results import read_correction
from espnet_wsm.scoring.trn import TextPair

WORDS = st.lists(st.sampled_from("abc"), max_size=8)


@pytest.mark.parametrize(
    ("steps", "touched"),
    [
        ("CCCC", 0),
        ("CSC", 1),
        ("CDC", 1),
        ("CIC", 1),
        ("CIIIC", 1),  # deleted at once
        ("CSIC", 1),  # one word heard as two
        ("CSDC", 2),  # two words heard as one
        ("SSSS", 4),
        ("SCI", 2),  # a right word between them: two places
        ("", 0),
    ],
)
def test_words_to_touch_are_counted_place_by_place(steps, touched):
    assert count_touched(steps) == touched


@given(WORDS.filter(bool), WORDS)
def test_it_is_never_more_than_the_errors_and_hardly_more_than_typing_everything(reference, hypothesis):
    (steps,) = list_steps([TextPair("u", "s", tuple(reference), tuple(hypothesis))])
    touched, errors = count_touched(steps), len(steps) - steps.count("C")
    assert (touched == 0) == (errors == 0)
    assert touched <= errors and touched <= len(reference) + steps.count("C") + 1
    assert steps.count("S") + steps.count("D") <= touched


def test_shares_minutes_and_places_are_over_all_utterances():
    found = measure_correction(["CSC", "CCCIIC", "DD"], samples=[16000, 32000, 48000], seconds_each=3.0)
    assert (found.touched, found.words, found.places, found.seconds) == (4, 9, 3, 6.0)
    assert found.rate == pytest.approx(400 / 9)
    assert found.minutes == pytest.approx(4 * 3 / 6)
    low, high = found.interval
    assert 25 <= low < found.rate < high <= 100
    low, high = found.minutes_interval
    assert 1.5 <= low <= 2 <= high <= 3, "1, 1, 2 words in 1, 2, 3 s at 3 s"


def test_one_utterance_has_no_interval_and_no_lengths_give_no_minutes():
    assert measure_correction(["CS"]).interval is None
    found = measure_correction(["CS", "CC"])
    assert found.minutes is None and found.minutes_interval is None and found.interval == (0, 50)
    assert describe_correction(found).endswith(
        "1 of 4 words to touch (25.0 %, 95 % interval 0.0 to 50.0), in 1 place"
    )


@pytest.fixture
def stage_5(write_texts, tmp_path):
    """Runs the command on three utterances of a second each; returns --out."""

    def run(
        *options, reference=("u1 a b c", "u2 d e", "u3 f"), hypothesis=("u1 a x y c", "u2 d e g h", "u3")
    ):
        ref, hyp = write_texts(reference, hypothesis)
        (tmp_path / "utt2num_samples").write_text("".join(f"u{n} 16000\n" for n in (1, 2, 3)))
        main(["--ref", str(ref), "--hyp", str(hyp), "--out", str(tmp_path / "out/test"), *options])
        return tmp_path / "out/test"

    return run


def test_it_is_printed_beside_the_error_rate_and_recorded(stage_5, tmp_path, capsys):
    out = stage_5("--seconds_per_correction", "4", "--utt2num_samples", str(tmp_path / "utt2num_samples"))
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed.startswith("test: 3 of 6 words to touch (50.0 %, 95 % interval ")
    assert (
        ", in 3 places; at 4 s a word 4.00 (4.00 to 4.00) minutes of correction a minute of audio" in printed
    )
    found = read_correction(out / "score.json")
    assert (found.touched, found.places, found.minutes) == (3, 3, 4.0)
    errors = json.loads((out / "score.json").read_text())["wer"]["python"]["counts"]
    assert errors["substitutions"] + errors["deletions"] + errors["insertions"] == 5


def test_without_seconds_no_minutes_are_told(stage_5, capsys):
    found = read_correction(stage_5() / "score.json")
    assert found.touched == 3 and found.minutes is None
    assert "minutes" not in capsys.readouterr().out


def test_where_words_are_refused_nothing_is_counted(stage_5, capsys):
    out = stage_5(reference=("u1 สวัสดีครับ ผมชื่อ",), hypothesis=("u1 สวัสดีครับผม",))
    assert read_correction(out / "score.json") is None
    assert "touch" not in capsys.readouterr().out


def test_a_record_without_it_is_read(stage_5):
    record = stage_5() / "score.json"
    content = json.loads(record.read_text())
    del content["correction"]
    record.write_text(json.dumps(content))
    assert read_correction(record) is None


@pytest.mark.parametrize(
    ("options", "lengths", "message"),
    [
        (
            ["--seconds_per_correction", "0"],
            None,
            "--seconds_per_correction is 0: give a number of seconds above",
        ),
        (["--seconds_per_correction", "nan"], None, "--seconds_per_correction is nan"),
        (["--seconds_per_correction", "3"], None, "needs the lengths of the audio: give --utt2num_samples"),
        (["--seconds_per_correction", "3"], "u1 16000\nu2 9\n", "no length of u3: run stage 2 again"),
        (["--seconds_per_correction", "3"], "u1 16000\nu2 x\nu3 1\n", "id u2 has 'x' instead of a number"),
    ],
)
def test_bad_seconds_and_lengths_are_named(stage_5, tmp_path, capsys, options, lengths, message):
    if lengths:
        (tmp_path / "lengths").write_text(lengths)
        options = [*options, "--utt2num_samples", str(tmp_path / "lengths")]
    with pytest.raises(SystemExit):
        stage_5(*options)
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
