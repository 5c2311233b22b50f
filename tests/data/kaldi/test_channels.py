"""reco2file_and_channel: calls of which each channel is a speaker, read, checked, cut and written."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.bin import fix_data_dir, validate_data_dir
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.stages import format_audio, merge_audio

RATE = 16000
LIST = Path("data/reco2file_and_channel")


@pytest.fixture
def call(tmp_path, monkeypatch) -> np.ndarray:
    """A call of two seconds: both sides of it in one.wav, in data/ as Kaldi's recipes have it."""
    monkeypatch.chdir(tmp_path)
    samples = (3000 * np.random.default_rng(0).standard_normal((2 * RATE, 2))).astype(np.int16)
    soundfile.write("one.wav", samples, RATE)
    Path("data").mkdir()
    write(
        segments="one-A-0 one-A 0.0 1.0\none-B-0 one-B 0.5 -1\n",
        text="one-A-0 hello\none-B-0 yes\n",
        utt2spk="one-A-0 one-A\none-B-0 one-B\n",
        reco2file_and_channel="one-A one A\none-B one B\n",
    )
    write(**{"wav.scp": "one-A one.wav\none-B one.wav\n"})
    return samples


def write(**lists: str) -> None:
    for name, content in lists.items():
        Path("data", name).write_text(content)


def convert(*options: str) -> dict[str, np.ndarray]:
    format_audio.main(["--data", "data", "--out", "dump", *options])
    merge_audio.main(["--data", "data", "--out", "dump"])
    return {each.id: soundfile.read(each.audio, dtype="int16")[0] for each in read_data_dir(Path("dump"))}


def fault_of(capsys, call, *words: str) -> str:
    with pytest.raises(SystemExit):
        call(*words)
    return capsys.readouterr().err


@pytest.mark.parametrize("names", ["A B", "1 2"])
@pytest.mark.parametrize("wav_scp", ["one-A one.wav\none-B one.wav\n", "one one.wav\n"])
def test_each_utterance_is_one_channel(call, capsys, names, wav_scp):
    first, second = names.split()
    write(reco2file_and_channel=f"one-A one {first}\none-B one {second}\n")
    write(**{"wav.scp": wav_scp})  # recordings, or the file that they are in
    validate_data_dir.main(["data"])
    made = convert("--channel", "1")  # the list comes first
    np.testing.assert_array_equal(made["one-A-0"], call[:RATE, 0])
    np.testing.assert_array_equal(made["one-B-0"], call[RATE // 2 :, 1])
    assert "mixed down 0, one channel taken of 2, requantised 0" in capsys.readouterr().out


def test_it_is_written_as_it_is_read(call):
    utterances = read_data_dir(Path("data"))
    assert [(each.channel, each.start) for each in utterances] == [(1, 0), (2, 0.5)]
    write_data_dir(Path("other"), utterances)
    assert read_data_dir(Path("other")) == utterances
    whole = [Utterance("a", "one.wav", "x", "a", channel=1), Utterance("b", "one.wav", "x", "b", channel=27)]
    write_data_dir(Path("other"), whole)
    assert Path("other/reco2file_and_channel").read_text() == "a one A\nb one 27\n"
    assert read_data_dir(Path("other")) == whole
    with pytest.raises(UserError, match="1 id without a channel: c: name one for all"):
        write_data_dir(Path("other"), [*whole, Utterance("c", "one.wav", "x", "c")])
    fix_data_dir.main(["data", "fixed"])
    assert read_data_dir(Path("fixed")) == utterances


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            "one-A one A\n",
            "data/segments:2: id one-B-0: recording one-B has no line in reco2file_and_channel",
        ),
        (
            "one-A one A\none-B one 0\n",
            "id one-B-0: reco2file_and_channel:2 has 'one 0' instead of FILE CHANNEL",
        ),
        ("one-A one A\none-B one\n", "reco2file_and_channel:2 has 'one' instead of FILE CHANNEL"),
        ("one-A one A\none-B\n", "reco2file_and_channel:2 has '' instead of FILE CHANNEL"),
        ("one-A one A\none-B one\u00a0B\n", "instead of FILE CHANNEL"),
        ("one-A one A\none-B one B\ntwo-A two A\n", "1 id that no other list has: two-A: remove the lines"),
        ("one-A one A\none-B one C\n", "id one-B-0: one.wav has 2 channels and no channel 3: name one"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(call, capsys, lines, words):
    write(reco2file_and_channel=lines)
    assert words in fault_of(capsys, validate_data_dir.main, ["data"])
    assert words in fault_of(capsys, convert)
    fix_data_dir.main(["data", "fixed"])
    kept = read_data_dir(Path("fixed"))
    assert [each.channel for each in kept] == ([1, 2] if "two" in lines else [1])


def test_a_file_of_one_channel_is_that_channel_unless_two_are_sought_in_it(call, capsys):
    soundfile.write("one-A.wav", call[:, 0], RATE)
    soundfile.write("one-B.wav", call[:, 1], RATE)
    write(**{"wav.scp": "one-A one-A.wav\none-B one-B.wav\n"})
    validate_data_dir.main(["data"])
    np.testing.assert_array_equal(convert()["one-B-0"], call[RATE // 2 :, 1])
    write(**{"wav.scp": "one-A one-A.wav\none-B one-A.wav\n"})
    words = "data/segments:2: id one-B-0: one-A.wav has one channel and no channel 2"
    assert words in fault_of(capsys, validate_data_dir.main, ["data"])
    assert words in fault_of(capsys, convert)


def test_an_option_says_which_channel_where_the_data_do_not(call, capsys):
    LIST.unlink()
    mixed = convert()["one-A-0"]
    assert np.abs(mixed - call[:RATE].mean(axis=1)).max() <= 0.5
    for channel in (1, 2):
        validate_data_dir.main(["data", "--channel", str(channel)])
        np.testing.assert_array_equal(convert("--channel", str(channel))["one-A-0"], call[:RATE, channel - 1])
    words = "2 problems"
    assert words in fault_of(capsys, validate_data_dir.main, ["data", "--channel", "3"])
    assert words in fault_of(capsys, convert, "--channel", "3")
    assert "is no channel: give 1, 2, ... or mix" in fault_of(capsys, convert, "--channel", "left")


def test_conversions_that_leave_silence_are_named_together(call, capsys):
    LIST.unlink()
    soundfile.write("one.wav", np.stack([call[:, 0], -call[:, 0]], axis=1), RATE)
    message = fault_of(capsys, convert)
    assert (
        "data: 2 problems" in message and "data/segments:1: id one-A-0: the 2 channels of one.wav" in message
    )
    soundfile.write("one.wav", call * 1e-11, RATE, subtype="FLOAT")
    assert "id one-A-0: one.wav is silent at 16 bits, its peak is " in fault_of(capsys, convert)


def test_silence_that_was_recorded_is_told(call, capsys):
    soundfile.write("one.wav", 0 * call, RATE)
    convert()
    said = capsys.readouterr()
    assert "nothing but zeros in 2 utterances: one-A-0, one-B-0" in said.err
    assert said.out.endswith("; nothing but zeros in 2 utterances: one-A-0, one-B-0\n")


def test_sides_of_a_call_are_different_audio(call, capsys):
    write(segments="one-A-0 one-A 0.0 1.0\none-B-0 one-B 0.0 1.0\n")
    sides = read_data_dir(Path("data"))
    write_data_dir(Path("train"), sides[:1])
    write_data_dir(Path("dev"), sides[1:])
    validate_data_dir.main(["--train", "train", "dev"])
    validate_data_dir.main(["data"])
    assert "is the audio of" not in capsys.readouterr().err
