"""A dump belongs to data directories as long as their lists and the audio that they name are the same."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def digest(project, shell, tmp_path):
    """``digest()`` of the data directories in ``tmp_path/data``, as a stage takes it."""
    train = tmp_path / "data/train"
    train.mkdir(parents=True)
    (tmp_path / "one.wav").write_bytes(b"a" * 100)
    (tmp_path / "two.ark").write_bytes(b"b" * 100)
    (train / "wav.scp").write_text(
        f"one {tmp_path}/one.wav\ntwo {tmp_path}/two.ark:7\nthree cat {tmp_path}/x |\n"
    )
    (train / "text").write_text("a eins\nb zwei\n")
    (train / "segments").write_text("a one 0.00 1.00\nb one 1.00 2.00\n")

    def run() -> str:
        result = shell(["bash", "-c", f". {project}/egs/common/lib.sh; data_digest data"], tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def touch_later(file: Path) -> None:
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def test_nothing_but_a_change_changes_the_digest(digest, tmp_path):
    before = digest()
    assert len(before.split()) == 2
    touch_later(tmp_path / "data/train/text")
    (tmp_path / "data/.made_from").touch()
    assert digest() == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("data/train/segments", "1.00 2.00", "1.50 2.00"),  # of the same length
        ("data/train/text", "eins", "acht"),
        ("data/train/reco2file_and_channel", "", "one one A\n"),
        ("data/train/utt2spk", "", "a a\n"),
        ("data/train/utt2md5", "", "a 00ff\n"),  # of a dump, whose flac files may have one size
    ],
)
def test_another_list_is_another_input(digest, tmp_path, file, old, new):
    before = digest()
    path = tmp_path / file
    path.write_text(path.read_text().replace(old, new) if old else new)
    assert digest() != before


@pytest.mark.parametrize("audio", ["one.wav", "two.ark"])
def test_another_recording_under_the_same_name_and_of_the_same_size_is_another_input(digest, tmp_path, audio):
    before = digest()
    (tmp_path / audio).write_bytes(b"c" * 100)
    touch_later(tmp_path / audio)
    assert digest() != before
    (tmp_path / audio).unlink()
    assert digest() != before
