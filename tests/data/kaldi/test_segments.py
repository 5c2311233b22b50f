"""Utterances that are parts of recordings: written, read, checked and cut as Kaldi does."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.bin import fix_data_dir, prepare_corpus, validate_data_dir
from espnet_wsm.data.audio.recordings import read_recording
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.stages import format_audio, merge_audio

RATE = 16000


@pytest.fixture
def noise(tmp_path, monkeypatch) -> np.ndarray:
    """Ten seconds, in rec/a b.wav and rec/one.flac."""
    monkeypatch.chdir(tmp_path)
    Path("rec").mkdir()
    samples = (3000 * np.random.default_rng(0).standard_normal(10 * RATE)).astype(np.int16)
    soundfile.write("rec/a b.wav", samples, RATE)
    soundfile.write("rec/one.flac", samples, RATE)
    return samples


UTTERANCES = [
    Utterance("u1", "rec/a b.wav", "one", "s", 0.5, 2.25),
    Utterance("u2", "rec/a b.wav", "two", "s", 2.25, 10.2),
    Utterance("u3", "rec/one.flac", "three", "t", 7.5),
    Utterance("u4", "rec/one.flac", "four", "t"),
]


def test_they_are_written_as_kaldi_has_them_and_read_back(noise):
    write_data_dir(Path("data"), UTTERANCES)
    assert Path("data/wav.scp").read_text() == "a_b rec/a b.wav\none rec/one.flac\n"
    assert Path("data/segments").read_text() == (
        "u1 a_b 0.500 2.250\nu2 a_b 2.250 10.200\nu3 one 7.500 -1\nu4 one 0.000 -1\n"
    )
    assert read_data_dir(Path("data")) == UTTERANCES


def test_recordings_of_one_name_have_ids_of_their_own(noise):
    parts = [Utterance(f"u{i}", f"{i}/x y.wav", "a", "s", 1.0) for i in range(3)]
    write_data_dir(Path("data"), [*parts, Utterance("v", "x_y-2.wav", "a", "s")])
    assert Path("data/wav.scp").read_text() == (
        "x_y 0/x y.wav\nx_y-2 x_y-2.wav\nx_y-3 1/x y.wav\nx_y-4 2/x y.wav\n"
    )


@pytest.mark.parametrize("nj", [1, 3])
def test_stage_2_cuts_them_sample_by_sample(noise, nj):
    write_data_dir(Path("data"), UTTERANCES)
    for job in range(1, nj + 1):
        format_audio.main(["--data", "data", "--out", "dump", "--nj", str(nj), "--job", str(job)])
    merge_audio.main(["--data", "data", "--out", "dump", "--nj", str(nj)])
    assert not Path("dump/segments").exists()
    made = {each.id: soundfile.read(each.audio, dtype="int16")[0] for each in read_data_dir(Path("dump"))}
    expected = {"u1": noise[8000:36000], "u2": noise[36000:], "u3": noise[120000:], "u4": noise}
    assert made.keys() == expected.keys()
    for id, samples in expected.items():
        np.testing.assert_array_equal(made[id], samples)


def test_archives_and_commands_have_parts_too(noise):
    parts = [
        read_recording("cat 'rec/a b.wav' |", True, 1.0, 1.5).samples,
        read_recording("rec/a b.wav", False, 1.0, 1.5).samples,
    ]
    np.testing.assert_array_equal(*parts)
    assert parts[0].shape == (RATE // 2, 1)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (9.0, 10.6, "from 9 s to 10.6 s goes beyond rec/one.flac, of 10.00 s: correct the times"),
        (10.0, None, "from 10 s to its end goes beyond rec/one.flac"),
        (12.0, 13.0, "from 12 s to 13 s goes beyond"),
    ],
)
def test_parts_that_are_not_there_are_refused(noise, capsys, start, end, words):
    with pytest.raises(UserError, match=words):
        read_recording("rec/one.flac", False, start, end)
    write_data_dir(Path("data"), [*UTTERANCES, Utterance("u5", "rec/one.flac", "five", "t", start, end)])
    with pytest.raises(SystemExit):
        format_audio.main(["--data", "data", "--out", "dump"])
    assert f"data/segments:5: id u5: the part {words}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        validate_data_dir.main(["data"])
    assert words in capsys.readouterr().err
    fix_data_dir.main(["data", "fixed"])
    assert read_data_dir(Path("fixed")) == UTTERANCES


def test_sets_may_share_a_recording_and_not_a_part_of_it(noise, capsys):
    write_data_dir(Path("train"), UTTERANCES[:1])
    write_data_dir(Path("dev"), [Utterance("u2", "rec/a b.wav", "one two", "s", 2.25, 9.0)])
    validate_data_dir.main(["--train", "train", "dev"])
    write_data_dir(Path("dev"), [Utterance("u2", "rec/a b.wav", "one two", "s", 2.0, 9.0)])
    with pytest.raises(SystemExit):
        validate_data_dir.main(["--train", "train", "dev"])
    said = "dev/segments:1: id u2: rec/a b.wav is also the training utterance u1"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "times", [(2.0, 1.0), (1.0, 1.0004), (-1.0, 1.0), (0.0, float("inf")), (float("nan"), None)]
)
def test_times_that_are_none_are_not_written(noise, times):
    with pytest.raises(UserError, match=r"utterance 'u': from .* is not a part of a recording"):
        write_data_dir(Path("data"), [Utterance("u", "rec/one.flac", "a", "s", *times)])


def test_segments_a_little_outside_their_recording_are_clipped_and_counted(noise, capsys):
    write_data_dir(Path("data"), UTTERANCES)
    lists = {"u1": "a_b -0.02 2.25", "u2": "a_b -0.5 10.2", "u3": "one 7.5 10.3", "u4": "one 0 7"}
    Path("data/segments").write_text("".join(f"{id} {value}\n" for id, value in lists.items()))
    assert [each.start for each in read_data_dir(Path("data"))] == [0, 0, 7.5, 0]
    validate_data_dir.main(["data"])
    assert (
        "warning: data/segments: 3 segments beginning before or ending after the recording, by at most "
        "0.5 s: u1, u2, u3: clipped; see"
    ) in capsys.readouterr().err
    prepare_corpus.main(["--downloads", "data", "--out", "split"])
    said = "warning: data/segments: 2 segments beginning before the recording, taken from 0 s on: u1, u2"
    assert said in capsys.readouterr().err
    fix_data_dir.main(["data", "fixed"])
    assert read_data_dir(Path("fixed")) == read_data_dir(Path("data"))
    assert "changed: u1: began before its recording, begins at 0 s\n" in Path("fixed/fix.log").read_text()
    Path("data/segments").write_text(Path("data/segments").read_text().replace("-0.02", "-1"))
    with pytest.raises(SystemExit):
        validate_data_dir.main(["data"])
    assert "data/segments:1: id u1 goes from -1 to 2.25 s: let it begin at 0 or" in capsys.readouterr().err
