"""Data directories: what is written can be read back, and every fault is named with its place and remedy."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.bin import validate_data_dir
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir
from espnet_wsm.errors import UserError

NAMES = st.text(
    st.characters(codec="utf-8").filter(lambda char: not char.isspace() and ord(char) > 0x20),
    min_size=1,
    max_size=8,
).filter(lambda name: "\x7f" not in name and not name.startswith("\ufeff"))
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1).filter(str.strip)
PATHS = NAMES.filter(lambda path: not path.startswith("|") and not path.endswith("|"))


def two_utterances() -> list[Utterance]:
    return [Utterance("b", "b.wav", "two words", "s"), Utterance("a", Path("a.wav"), "one", "s")]


@pytest.fixture
def data(tmp_path) -> Path:
    """A good data directory with the utterances a and b."""
    write_data_dir(tmp_path / "train", two_utterances())
    return tmp_path / "train"


def fault_of(directory: Path, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        read_data_dir(directory, **kwargs)
    return str(caught.value)


def test_files_are_those_of_kaldi(data):
    assert (data / "wav.scp").read_text() == "a a.wav\nb b.wav\n"
    assert (data / "text").read_text() == "a one\nb two words\n"
    assert (data / "utt2spk").read_text() == "a s\nb s\n"
    assert (data / "spk2utt").read_text() == "s a b\n"
    assert [path.name for path in data.parent.iterdir()] == ["train"]  # nothing temporary is left


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.builds(Utterance, NAMES, PATHS, TEXTS, NAMES), min_size=1, max_size=6, unique_by=lambda u: u.id
    )
)
def test_round_trip_of_any_unicode(tmp_path_factory, utterances):
    directory = tmp_path_factory.mktemp("round") / "train"
    write_data_dir(directory, utterances)
    expected = [Utterance(u.id, u.audio, u.text.strip(" \t"), u.speaker) for u in utterances]
    assert read_data_dir(directory) == sorted(expected, key=lambda u: u.id.encode())
    for name in ("wav.scp", "text", "utt2spk", "spk2utt"):
        check = ["sort", "--check", directory / name]
        assert subprocess.run(check, env={"LC_ALL": "C"}).returncode == 0, name


def test_no_break_space_stays_in_the_text(tmp_path):
    write_data_dir(tmp_path / "d", [Utterance("a", "a.wav", "10\u00a0km  \u00a0", "s")])
    assert read_data_dir(tmp_path / "d")[0].text == "10\u00a0km  \u00a0"


def test_id_ends_at_a_tab_too(data):
    (data / "text").write_text("a\tone\tmore\nb  two\n")
    assert [utterance.text for utterance in read_data_dir(data)] == ["one\tmore", "two"]


def test_an_old_directory_is_replaced_whole(data):
    (data / "feats.scp").write_text("stale\n")
    write_data_dir(data, [Utterance("c", "c.wav", "x", "t")])
    assert sorted(path.name for path in data.iterdir()) == ["spk2utt", "text", "utt2spk", "wav.scp"]


def test_a_failed_write_leaves_the_old_directory(data, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("espnet_wsm.data.kaldi.directory.write_texts", full)
    with pytest.raises(OSError, match="No space"):
        write_data_dir(data, [Utterance("c", "c.wav", "x", "t")])
    assert [utterance.id for utterance in read_data_dir(data)] == ["a", "b"]
    assert [path.name for path in data.parent.iterdir()] == ["train"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(UserError, match=r"not empty and holds no wav\.scp"):
        write_data_dir(tmp_path, two_utterances())
    with pytest.raises(UserError, match="is a file"):
        write_data_dir(tmp_path / "precious", two_utterances())
    assert (tmp_path / "precious").read_text() == "x"


@pytest.mark.parametrize(
    ("utterances", "message"),
    [
        ([], "there is no utterance"),
        (
            [Utterance("a", "a.wav", "x", "s"), Utterance("a", "b.wav", "y", "s")],
            r"'a' was given twice \(a.wav and",
        ),
        (
            [Utterance("a b", "a.wav", "x", "s")],
            r"'a b' holds white space or a control character \(U\+0020\)",
        ),
        ([Utterance("a\u2003b", "a.wav", "x", "s")], r"U\+2003"),
        ([Utterance("a\x7f", "a.wav", "x", "s")], r"U\+007F"),
        ([Utterance("a\x01", "a.wav", "x", "s")], r"U\+0001"),
        ([Utterance("", "a.wav", "x", "s")], "id '' is empty"),
        ([Utterance("a\ud800", "a.wav", "x", "s")], "cannot be written as UTF-8"),
        ([Utterance("a", "a.wav", " \u00a0", "s")], "'a' has an empty transcript"),
        ([Utterance("a", "a.wav", "x\ny", "s")], "text holds a line break"),
        ([Utterance("a", "a.wav", "x\ud800", "s")], "text cannot be written as UTF-8"),
        ([Utterance("a", "a.wav", "x", "")], "speaker '' is empty"),
        ([Utterance("a", "a.wav", "x", "s t")], "speaker 's t' holds white space"),
        ([Utterance("a", "", "x", "s")], "audio '' is empty"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, utterances, message):
    with pytest.raises(UserError, match=message):
        write_data_dir(tmp_path / "train", utterances)
    assert not any(tmp_path.iterdir())


def test_missing_directory_and_files(tmp_path, data):
    assert fault_of(tmp_path / "nowhere") == f"{tmp_path}/nowhere is not a directory: prepare the data first"
    (data / "text").unlink()
    assert fault_of(data) == f"{data}/text does not exist"
    assert [utterance.text for utterance in read_data_dir(data, need_text=False)] == ["", ""]
    (data / "wav.scp").unlink()
    assert "wav.scp does not exist" in fault_of(data, need_text=False)


def test_empty_directory_and_empty_file(tmp_path, data):
    (tmp_path / "empty").mkdir()
    assert "2 problems" in fault_of(tmp_path / "empty")
    (data / "text").write_text("\n")
    assert fault_of(data) == f"{data}/text is empty: it needs one line per utterance"


def test_without_utt2spk_each_utterance_is_its_speaker(data):
    (data / "utt2spk").unlink()
    assert [utterance.speaker for utterance in read_data_dir(data)] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text", b"a one\nb caf\xe9\n", r"text:2: not UTF-8 at byte 11 of the file \(0xe9\): convert it"),
        ("text", b"\xef\xbb\xbfa one\nb \xff\n", r"text:2: not UTF-8 at byte 11 of the file"),
        (
            "text",
            b"\xef\xbb\xbfa one\nb two\n",
            r"text:1: begins with a byte order mark: remove it with `sed",
        ),
        ("text", b"a one\r\nb two\r\n", r"text:1: ends with CRLF \(2 such lines\): run `dos2unix .*text`"),
        ("text", b"a one\nb t\rwo\n", r"text:2: holds a carriage return \(1 such line\): replace it"),
        ("text", b"a one\na two\nb x\n", r"text:2: id a was given before, on line 1: keep one"),
        ("text", b"b one\na two\n", r"text:2: id a comes after b, so .* not sorted: run `LC_ALL=C sort -o"),
        ("text", b"a one\n\nb two\n", r"text:2: empty line: remove it"),
        ("text", b"a one\nb\n", r"text:2: id b has an empty transcript: fill it in or remove"),
        ("text", "a one\nb \u00a0\n".encode(), r"text:2: id b has an empty transcript"),
        ("text", "a one\nb\u00a0x two\n".encode(), r"text:2: id 'b\\xa0x' holds white space .*U\+00A0"),
        (
            "text",
            b"a one\n",
            r"wav\.scp:2: 1 id without a line in .*text: b: add the missing lines or remove",
        ),
        ("text", b"a one\nb two\nc three\n", r"text:3: 1 id without a line in .*wav\.scp: c: add"),
        ("utt2spk", b"a s\n", r"wav\.scp:2: 1 id without a line in .*utt2spk: b"),
        ("utt2spk", b"a s\nb s t\n", r"utt2spk:2: id b: speaker 's t' holds white space"),
        ("utt2spk", b"a s\nb\n", r"utt2spk:2: id b has an empty speaker"),
        ("wav.scp", b"a a.wav\nb\n", r"wav\.scp:2: id b has an empty audio path"),
        ("wav.scp", b"a a.wav\nb cat b.wav |\n", r"wav\.scp:2: id b: audio 'cat b\.wav \|' is a command"),
        ("segments", b"a rec 0 1\nb b 0 1\n", r"segments:1: id a is a part of rec, which wav\.scp does not"),
        (
            "segments",
            b"a a 0 1\nb b 1 1.0\n",
            r"segments:2: id b goes from 1 to 1\.0 s: the end has to be after",
        ),
        ("segments", b"a a 0 1\nb b -1 1.0\n", r"segments:2: id b goes from -1 to 1\.0 s"),
        ("segments", b"a a 0 1\nb b 1 nan\n", r"segments:2: id b goes from 1 to nan s"),
        (
            "segments",
            b"a a 0 1\nb b 1 2 3\n",
            r"segments:2: id b has 'b 1 2 3' instead of RECORDING START END",
        ),
        (
            "segments",
            b"a a 0 1\nb b one 2\n",
            r"segments:2: id b has 'b one 2' instead of RECORDING START END",
        ),
        ("segments", b"a a 0 1\n", r"text:2: 1 id without a line in .*segments: b: add"),
    ],
)
def test_every_fault_names_file_line_id_and_remedy(data, name, content, message):
    (data / name).write_bytes(content)
    assert re.search(message, fault_of(data))


def test_sort_remedy_works(data):
    (data / "text").write_bytes(b"b two\na one\n")
    subprocess.run(re.search("`(.*)`", fault_of(data))[1], shell=True, check=True)
    assert len(read_data_dir(data)) == 2


def test_byte_order_mark_remedy_works(data):
    (data / "text").write_bytes(b"\xef\xbb\xbfa one\nb two\n")
    subprocess.run(re.search("`(.*)`", fault_of(data))[1], shell=True, check=True)
    assert len(read_data_dir(data)) == 2


def test_all_faults_are_counted_and_ten_are_shown(data):
    (data / "wav.scp").write_text("".join(f"u{i:02} cat |\n" for i in range(13)))
    (data / "text").write_text("".join(f"u{i:02} x\n" for i in range(13)))
    (data / "utt2spk").unlink()
    message = fault_of(data)
    assert message.startswith(f"{data}: 13 problems\n") and message.endswith("... and 3 more")
    assert message.count("is a command") == 10


def test_ten_of_many_missing_ids_are_named(data):
    (data / "text").write_text("a one\nb two\n" + "".join(f"u{i:02} x\n" for i in range(12)))
    assert re.search(
        r"text:3: 12 ids without a line in .*: u00, u01, .*u09, \.\.\. \(12 in all\)", fault_of(data)
    )


def test_one_fault_does_not_hide_another_or_breed_more(data):
    (data / "text").write_bytes(b"b \xff\na one\n")
    message = fault_of(data)
    assert "2 problems" in message and "not UTF-8" in message and "not sorted" in message


def test_validate_prints_a_line_per_directory(data, capsys, monkeypatch):
    monkeypatch.chdir(data.parent)
    for name in ("a.wav", "b.wav"):
        Path(name).write_bytes(b"x")
    validate_data_dir.main(["--no_audio", "train", "train"])
    assert capsys.readouterr().out == "train: 2 utterances, 1 speaker, 12 characters\n" * 2
    (data / "text").write_bytes(b"nobody \xff\n")
    validate_data_dir.main(["train", "--no_audio", "--no_text"])
    assert capsys.readouterr().out == "train: 2 utterances, 1 speaker, 0 characters\n"


def test_validate_reports_missing_and_empty_audio_of_every_directory(data, capsys, monkeypatch):
    monkeypatch.chdir(data.parent)
    Path("b.wav").touch()
    with pytest.raises(SystemExit) as caught:
        validate_data_dir.main(["train", "test"])
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: data directories: 3 problems\n")
    assert "train/wav.scp:1: id a: a.wav does not exist: correct the path" in error
    assert "train/wav.scp:2: id b: b.wav is empty (0 bytes)" in error
    assert "test is not a directory" in error
