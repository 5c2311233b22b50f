"""egs/mini_an4/asr1/local/data.py on the archive that the installed ESPnet brings along."""

import io
import tarfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import soundfile
from recipe_scripts import load_data

from espnet_wsm.data.corpora import mini_an4 as data
from espnet_wsm.data.kaldi.directory import read_data_dir
from espnet_wsm.errors import UserError

main = load_data("mini_an4/asr1").main


def test_the_real_archive_gives_the_documented_splits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["--downloads", "downloads", "--out", "data"])
    splits = {name: read_data_dir(Path("data", name)) for name in ("train", "dev", "test")}
    texts = {name: {each.id: each.text for each in utterances} for name, utterances in splits.items()}
    assert texts == {
        "train": {
            "fash-an253-fash-b": "GO",
            "fbbh-cen8-fbbh-b": "MARCH THIRD NINETEEN TWENTY EIGHT",
            "mwhw-an152-mwhw-b": "START",
            "mwhw-cen8-mwhw-b": "ELEVEN SEVENTEEN FIFTY ONE",
        },
        "dev": {"fash-an251-fash-b": "YES"},
        "test": {
            "fcaw-cen8-fcaw-b": "ELEVEN TWENTY SEVEN FIFTY SEVEN",
            "mmxg-cen8-mmxg-b": "OCTOBER TWENTY FOUR NINETEEN SEVENTY",
        },
    }
    every = [each for utterances in splits.values() for each in utterances]
    assert all(each.id.startswith(f"{each.speaker}-") for each in every)
    assert {soundfile.info(each.audio).samplerate for each in every} == {16000}
    assert sum(soundfile.info(each.audio).frames for each in every) == 206_400
    assert not any(Path(each.audio).is_absolute() for each in every)
    printed = capsys.readouterr().out
    assert "left out, no text: downloads/an4/wav/an4_clstk/fash/cen7-fash-b.sph" in printed
    assert "mini_an4 test: 2 utterances, 5.2 seconds, 10 words" in printed


def test_train_has_every_letter_of_dev(tmp_path):
    main(["--downloads", str(tmp_path / "downloads"), "--out", str(tmp_path / "data")])
    train, dev = (read_data_dir(tmp_path / "data" / name) for name in ("train", "dev"))
    assert set("".join(each.text for each in dev)) <= set("".join(each.text for each in train))


def test_a_second_run_keeps_what_is_unpacked(tmp_path, monkeypatch):
    arguments = ["--downloads", str(tmp_path / "downloads"), "--out", str(tmp_path / "data")]
    main(arguments)
    before = (tmp_path / "data" / "train" / "text").read_bytes()
    monkeypatch.setattr(data, "find_archive", lambda: pytest.fail("looked for the archive again"))
    main(arguments)
    assert (tmp_path / "data" / "train" / "text").read_bytes() == before
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["an4"]


@pytest.mark.parametrize(
    ("line", "uid", "text"),
    [
        ("<s> GO </s> (an253-fash-b)", "fash-an253-fash-b", "GO"),
        ("ELEVEN FIFTY (cen8-fcaw-b)", "fcaw-cen8-fcaw-b", "ELEVEN FIFTY"),
    ],
)
def test_train_and_test_transcripts_are_both_understood(tmp_path, line, uid, text):
    path = tmp_path / "transcription"
    path.write_text(line + "\n")
    assert data.read_transcripts(path) == {uid: text}


def test_a_strange_transcript_is_named_with_its_line(tmp_path):
    path = tmp_path / "transcription"
    path.write_text("GO (an253-fash-b)\nno id here\n")
    with pytest.raises(UserError, match=r"transcription: line 2 is not .*'no id here'.*unpack"):
        data.read_transcripts(path)


def test_a_missing_recording_is_named(tmp_path, capsys):
    arguments = ["--downloads", str(tmp_path), "--out", str(tmp_path / "data")]
    main(arguments)
    (tmp_path / "an4/wav/an4_clstk/mwhw/cen8-mwhw-b.sph").unlink()
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    assert "no recording of mwhw-cen8-mwhw-b; remove" in capsys.readouterr().err


def test_without_espnet_the_message_says_what_to_install(monkeypatch, tmp_path, capsys):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(data, "distribution", absent)
    with pytest.raises(SystemExit, match="1"):
        main(["--downloads", str(tmp_path / "downloads")])
    assert "install espnet[asr]==202611" in capsys.readouterr().err


def test_an_espnet_without_the_archive_is_named_with_its_version(monkeypatch):
    monkeypatch.setattr(data, "ARCHIVE", "egs3/mini_an4/nothing.tar.gz")
    with pytest.raises(UserError, match=r"nothing.tar.gz: not in this ESPnet \(2026"):
        data.find_archive()


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../../evil.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    downloads = tmp_path / "a" / "b" / "downloads"
    with pytest.raises(UserError, match="cannot be unpacked"):
        data.unpack_archive(archive, downloads)
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list(downloads.iterdir())
