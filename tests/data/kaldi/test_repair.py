"""What is sound of a data directory is kept, and the log says why the rest is not."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.bin import fix_data_dir, validate_data_dir
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Ten good utterances."""
    monkeypatch.chdir(tmp_path)
    utterances = []
    for number in range(10):
        soundfile.write(f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(8000), 8000)
        utterances.append(Utterance(f"u{number}", f"{number}.wav", f"word {number}", "s"))
    write_data_dir(Path("raw"), utterances)
    return Path("raw")


def edit(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def test_what_is_sound_stays_and_the_log_names_the_rest(data, capsys):
    edit(data / "text", b"u0 word 0\n", b"\xef\xbb\xbfu0 word 0\r\n")
    edit(data / "text", b"u1 word 1\n", b"u1 w\xe4rd\n")
    edit(data / "text", b"u2 word 2\n", b"u2\n\n")
    edit(data / "text", b"u3 word 3\n", b"")
    edit(data / "utt2spk", b"u4 s\n", b"")
    edit(data / "wav.scp", b"u5 5.wav\n", b"u5 cat 5.wav |\n")
    Path("6.wav").unlink()
    Path("7.wav").write_bytes(Path("7.wav").read_bytes()[:5000])
    edit(data / "wav.scp", b"u8 8.wav\nu9 9.wav\n", b"u9 9.wav\nu8 8.wav\nu8 7.wav\n")
    before = {path: path.read_bytes() for path in data.iterdir()}
    fix_data_dir.main(["raw", "fixed"])
    assert capsys.readouterr().out.startswith("fixed: kept 3 of 10 utterances; 1")
    kept = read_data_dir(Path("fixed"))
    assert [(each.id, each.text, each.audio) for each in kept] == [
        ("u0", "word 0", "0.wav"),
        ("u8", "word 8", "8.wav"),
        ("u9", "word 9", "9.wav"),
    ]
    log = Path("fixed/fix.log").read_text().splitlines()
    dropped = [line for line in log if line.startswith("dropped: ")]
    for line, start in zip(
        dropped,
        (
            "u1: its line in text is not UTF-8",
            "u2: text has an empty transcript",
            "u3: not in text",
            "u4: not in utt2spk",
            "u5: wav.scp: audio 'cat 5.wav |' is a command, not a file",
            "u6: 6.wav does not exist",
            "u7: 7.wav is truncated or damaged",
        ),
        strict=True,
    ):
        assert line.startswith(f"dropped: {start}")
    found = " ".join(line for line in log if line.startswith("found: "))
    for what in ("byte order mark", "CRLF", "empty line", "not sorted", "id u8 was given before"):
        assert what in found
    assert before == {path: path.read_bytes() for path in data.iterdir()}
    validate_data_dir.main(["fixed"])
    fix_data_dir.main(["fixed", "again"])
    assert "kept 3 of 3 utterances; 0 faults found" in capsys.readouterr().out


def test_audio_with_a_wrong_header_stays(data, capsys):
    whole = Path("1.wav").read_bytes()
    for number, size in enumerate((0, 0x7FFF0000, 0xFFFFFFFF, len(whole) - 44 + 10), 1):
        Path(f"{number}.wav").write_bytes(whole[:40] + struct.pack("<I", size) + whole[44:])
    Path("5.wav").write_bytes(whole[:5000])
    fix_data_dir.main([str(data), "fixed"])
    assert "kept 9 of 10 utterances; 1 fault and 2 warnings found" in capsys.readouterr().out
    log = Path("fixed/fix.log").read_text()
    assert (
        f"{data}/wav.scp: 3 files read to the end because the header does not say how long it is: 1.wav, "
        "2.wav, 3.wav: listen whether one of them is cut short\n" in log
    )
    assert (
        "wav.scp: 1 file read to the end because the header claims a little more than there is: 4.wav" in log
        and "dropped: u5: 5.wav is" in log
    )


def test_transcripts_of_which_the_configuration_leaves_nothing_go_and_the_others_stay_as_written(data):
    edit(data / "text", b"u2 word 2\n", b"u2 ...!\n")
    Path("text.yaml").write_text("case: upper\npunctuation: remove\n")
    fix_data_dir.main([str(data), "fixed", "--text_config", "text.yaml"])
    texts = {each.id: each.text for each in read_data_dir(Path("fixed"))}
    assert "u2" not in texts and texts["u3"] == "word 3"
    assert "dropped: u2: nothing is left of its transcript '...!'" in Path("fixed/fix.log").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["raw", "raw"], "raw is the directory to be fixed: name a new one"),
        (["raw", "./raw/"], "raw is the directory to be fixed: name a new one"),
        (["none", "out"], "none: no utterance is sound"),
        (["raw", "0.wav"], "0.wav is a file"),
        (["raw", "."], "is not empty and holds no wav.scp, so it is not replaced"),
    ],
)
def test_nothing_is_overwritten_by_mistake(data, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        fix_data_dir.main(words)
    assert stop.value.code == 1 and message in capsys.readouterr().err
    assert len(read_data_dir(data)) == 10


def test_commands_stay_where_they_are_allowed(data):
    edit(data / "wav.scp", b"u5 5.wav\n", b"u5 cat 5.wav |\n")
    fix_data_dir.main(["raw", "fixed", "--allow_pipes", "true"])
    assert len(read_data_dir(Path("fixed"), allow_pipes=True)) == 10
