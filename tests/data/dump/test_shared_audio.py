"""What two sets of a dump share."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.data.dump.lists import read_dumps, write_dump_lists
from espnet_wsm.data.dump.shared_audio import find_shared_audio
from espnet_wsm.data.kaldi.directory import Utterance
from espnet_wsm.errors import UserError
from espnet_wsm.stages import check_unlabelled

SETS = {
    "train": {"a": 1},
    "dev": {"d": 2},
    "test": {"e": 3, "f": 4},
    "unlabelled": {"t1": 3, "t2": 5, "t3": 1},
}


@pytest.fixture
def raw(tmp_path) -> Path:
    """Sets of noises that are numbered; all are of the same length."""
    for name, sounds in SETS.items():
        folder = tmp_path / name
        folder.mkdir()
        utterances = [Utterance(id, folder / f"{id}.flac", "", "s") for id in sounds]
        for each in utterances:
            noise = 0.1 * np.random.default_rng(sounds[each.id]).standard_normal(800)
            soundfile.write(each.audio, noise, 16000)
        write_dump_lists(folder, utterances, dict.fromkeys(sounds, 800))
    return tmp_path


def test_the_same_samples_are_found_under_other_ids(raw):
    assert find_shared_audio(raw / "unlabelled", raw / "test") == {"e": "t1"}
    assert find_shared_audio(raw / "unlabelled", raw / "dev") == {}


def test_headers_are_enough(raw):
    for file in (raw / "unlabelled").glob("*.flac"):
        file.write_bytes(file.read_bytes()[:42])
    assert find_shared_audio(raw / "unlabelled", raw / "test") == {"e": "t1"}


def check(raw: Path) -> None:
    folders = [str(raw / name) for name in ("dev", "test", "test")]
    words = ["--dir", raw / "unlabelled", "--source", "talk", "--train", raw / "train", *folders]
    check_unlabelled.main([str(word) for word in words])


def test_each_set_is_told_once(raw, capsys):
    check(raw)
    error = capsys.readouterr().err
    assert error.count("warning: ") == 1
    assert "--unlabelled talk: 1 utterance of the set test in it: e (there t1): " in error


def test_ids_of_the_training_set_are_refused(raw, capsys):
    (raw / "train/wav.scp").write_text(f"t2 {raw / 'train/a.flac'}\n")
    (raw / "train/utt2num_samples").write_text("t2 800\n")
    (raw / "train/utt2spk").write_text("t2 s\n")
    with pytest.raises(SystemExit):
        check(raw)
    assert (
        "unlabelled/wav.scp: 1 id already those of other speech to learn from: t2" in capsys.readouterr().err
    )


def test_several_sets_are_read_as_one(raw):
    utterances, num_samples = read_dumps([raw / "train", raw / "test"])
    assert [each.id for each in utterances] == ["a", "e", "f"] and num_samples == dict.fromkeys("aef", 800)
    with pytest.raises(UserError, match=r"test/wav.scp: 2 ids already"):
        read_dumps([raw / "test", raw / "test"])
