"""What the command line of transcribe names, and the files that are written for it."""

import io
import sys
from pathlib import Path

import pytest

from espnet_wsm.annotations import FORMATS
from espnet_wsm.data.audio import media
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.outputs import ENDINGS, Outputs, list_recordings


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a/b.WAV", "a/c/d.flac", "a/notes.txt", "a/._b.wav", "e [1].mp3", "empty/x.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def test_folders_patterns_and_standard_input_stand_for_files(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("x.wav\r\n\n y.wav\n"))
    assert list_recordings(["a", "-", "a/b.WAV", "e [1].mp3"]) == [
        "a/b.WAV", "a/c/d.flac", "x.wav", " y.wav", "e [1].mp3",
    ]  # fmt: skip
    assert list_recordings(["a/**/*.flac", "missing.wav"]) == ["a/c/d.flac", "missing.wav"]


def test_media_files_are_taken_from_folders_where_ffmpeg_is(folder, monkeypatch, capsys):
    for name in ("a/film.MP4", "a/c/d.mkv", "films/x.webm"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    monkeypatch.setattr(media.shutil, "which", lambda program: f"/usr/bin/{program}")
    # d.mkv is what d.flac was taken from
    assert list_recordings(["a", "films"]) == ["a/b.WAV", "a/c/d.flac", "a/film.MP4", "films/x.webm"]
    monkeypatch.setattr(media.shutil, "which", lambda program: None)
    assert list_recordings(["a"]) == ["a/b.WAV", "a/c/d.flac"]
    said = (
        "warning: 1 media file (mp4, m4a, ...) in a left out: install ffmpeg (Debian: apt-get install ffmpeg)"
    )
    assert capsys.readouterr().err == f"{said}\n"
    with pytest.raises(UserError, match="films holds no audio that libsndfile reads, but 1 media file "):
        list_recordings(["films"])


@pytest.mark.parametrize(
    ("name", "message"),
    [("empty", "empty holds no audio"), ("*.sph", "matches no file"), ("-", "no file is named on standard")],
)
def test_what_stands_for_nothing_is_refused(folder, monkeypatch, name, message):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(UserError, match=message):
        list_recordings([name])


def test_files_go_beside_the_recording_or_into_a_folder():
    outputs = Outputs(["srt", "textgrid", "srt"], None, overwrite=False)
    assert outputs.of("a/b.c.wav") == {"srt": Path("a/b.c.srt"), "textgrid": Path("a/b.c.TextGrid")}
    assert Outputs(["json"], Path("out"), False).of("a/b.wav") == {"json": Path("out/b.json")}
    written = {name for name, one in FORMATS.items() if one.write}
    assert ENDINGS.keys() == written and len(set(ENDINGS.values())) == len(ENDINGS)


def test_nothing_is_written_over(folder):
    outputs = Outputs(["txt"], None, overwrite=False)
    Path("a/b.txt").touch()
    assert outputs.are_there("a/b.WAV") and not outputs.are_there("a/c/d.flac")
    with pytest.raises(UserError, match=r"a/b\.txt is there already: --overwrite"):
        outputs.check(["a/b.WAV"])
    Outputs(["txt"], None, overwrite=True).check(["a/b.WAV"])
    with pytest.raises(UserError, match=r"x/b.wav and y/b.flac would both be written to out/b.srt"):
        Outputs(["srt"], Path("out"), overwrite=True).check(["x/b.wav", "y/b.flac"])
