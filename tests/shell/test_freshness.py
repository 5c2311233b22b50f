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

    def run(unlabelled: str = "") -> str:
        call = f". {project}/egs/common/lib.sh; unlabelled={unlabelled}; input_digest"
        result = shell(["bash", "-euo", "pipefail", "-O", "inherit_errexit", "-c", call], tmp_path)
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


@pytest.fixture
def talk(tmp_path) -> Path:
    """A directory of speech without text."""
    folder = tmp_path / "talk"
    folder.mkdir()
    (tmp_path / "three.wav").write_bytes(b"d" * 100)
    (folder / "wav.scp").write_text(f"three {tmp_path}/three.wav\n")
    return folder


def test_unlabelled_speech_is_input_too(digest, talk, tmp_path):
    alone, both = digest(), digest("talk")
    assert len(alone.split()) == 2 and both.split()[:2] == alone.split() and len(both.split()) == 4
    (talk / "text").write_text("three drei\n")
    assert digest("talk") == both, "text is not read"
    (talk / "segments").write_text("c three 0.00 1.00\n")
    assert digest("talk").split()[2] != both.split()[2]
    (talk / "segments").unlink()
    (tmp_path / "three.wav").write_bytes(b"e" * 100)
    touch_later(tmp_path / "three.wav")
    assert digest("talk").split()[3] != both.split()[3] and digest() == alone


def test_a_dump_with_unlabelled_speech_serves_a_training_without_it(project, shell, digest, talk, tmp_path):
    both, alone = digest("talk"), digest()

    def accepts(made_from: str, unlabelled: str) -> bool:
        (tmp_path / "dump").mkdir(exist_ok=True)
        (tmp_path / "dump/.made_from").write_text(made_from)
        call = f". {project}/egs/common/lib.sh; unlabelled={unlabelled}; require_fresh_dump"
        result = shell(["bash", "-euo", "pipefail", "-c", call], tmp_path)
        assert result.returncode == 0 or "run stage 2 again" in result.stderr
        return result.returncode == 0

    assert accepts(alone, "") and accepts(both, "talk") and accepts(both, "")
    assert not accepts(alone, "talk"), "the speech is not in it"
    assert not accepts(both.replace(both[0], "x"), ""), "other labelled data"


def test_what_was_trained_does_not_depend_on_unlabelled_speech(project, shell, tmp_path):
    for name in ("dump/raw/train", "dump/raw/org/train", "dump/raw/unlabelled", "dump/raw/org/unlabelled"):
        (tmp_path / name).mkdir(parents=True)

    def run() -> str:
        return shell(["bash", "-c", f". {project}/egs/common/lib.sh; folder_digest dump"], tmp_path).stdout

    before = run()
    (tmp_path / "dump/raw/unlabelled/wav.scp").write_text("a a.flac\n")
    (tmp_path / "dump/raw/org/unlabelled/a.flac").write_bytes(b"a")
    assert run() == before
    (tmp_path / "dump/raw/train/wav.scp").write_text("a a.flac\n")
    assert run() != before
