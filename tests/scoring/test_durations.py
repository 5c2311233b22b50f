"""Character error rates by the duration of utterances, in what stage 5 prints, records and collects."""

import json

import pytest

from espnet_wsm.bin.score import main
from espnet_wsm.errors import UserError
from espnet_wsm.scoring.durations import count_by_duration, describe_durations
from espnet_wsm.scoring.results import read_duration_counts

FS = 16_000


@pytest.fixture
def score(write_texts, tmp_path, capsys):
    """Scores four utterances with these seconds; returns score.json and what was printed."""

    def run(*seconds):
        texts = ("u1 abcd", "u2 abcd", "u3 abcde", "u4 ab")
        ref, hyp = write_texts(texts, ("u1 abcd", "u2 abxd", "u3 abcdefg", "u4"))
        lengths = tmp_path / "utt2num_samples"
        lengths.write_text("".join(f"u{n} {round(s * FS)}\n" for n, s in enumerate(seconds, 1)))
        out = tmp_path / "out/test"
        main(["--ref", str(ref), "--hyp", str(hyp), "--out", str(out), "--utt2num_samples", str(lengths)])
        return out / "score.json", capsys.readouterr().out

    return run


def test_errors_are_counted_by_range(score):
    record, printed = score(10, 10.5, 20, 31)
    found = read_duration_counts(record)
    assert [(each.words, each.utterances, each.characters, each.errors) for each in found] == [
        ("up to 10 s", 1, 4, 0), ("10 to 20 s", 2, 9, 3), ("above 20 s", 1, 2, 2)
    ]  # fmt: skip
    assert (
        "test: CER by duration: up to 10 s 0.0 % (1 utterance, 27 % of the characters), 10 to 20 s 33.3 % "
        "(2 utterances, 60 % of the characters), above 20 s 100.0 % (1 utterance, 13 % of the characters)"
    ) in printed


def test_a_set_of_one_range_is_recorded_and_not_told(score):
    record, printed = score(1, 2, 3, 4)
    assert len(read_duration_counts(record)) == 1 and "by duration" not in printed


def test_an_utterance_without_characters_has_no_rate():
    (only,) = count_by_duration(["I"], [FS])
    assert only.characters == 0 and only.errors == 1 and only.rate != only.rate
    assert "nan %" in describe_durations([only])


def test_a_damaged_entry_is_refused_by_file(score):
    record, _ = score(1, 12, 3, 4)
    content = json.loads(record.read_text())
    content["durations"][0]["more"] = 1
    record.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"score.json is not a score record .*: run stage 5 \(score\) again"):
        read_duration_counts(record)


def test_an_older_record_has_none(score):
    record, _ = score(1, 12, 3, 4)
    content = json.loads(record.read_text())
    del content["durations"]
    record.write_text(json.dumps(content))
    assert read_duration_counts(record) == []
