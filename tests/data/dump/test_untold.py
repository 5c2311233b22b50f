"""The lists of a training on transcripts and on speech without text."""

from pathlib import Path

import pytest
from test_pseudo_labels import SAMPLES, write_set

from espnet_wsm.data.dump.untold import write_untold_lists
from espnet_wsm.data.kaldi.lists import write_list
from espnet_wsm.errors import UserError


@pytest.fixture
def sets(tmp_path) -> tuple[Path, Path, list[Path]]:
    """Two transcribed utterances, three others, and a set to measure on that has one of these."""
    known = write_set(tmp_path / "train", {"a": 1, "c": 2}, "ab")
    write_list(known / "speech_shape", dict.fromkeys("ac", SAMPLES))
    speech = write_set(tmp_path / "unlabelled", {"b": 3, "d": 4, "e": 9})
    return known, speech, [write_set(tmp_path / "dev", {"v": 9}, "a")]


def test_speech_without_text_has_an_empty_one(sets, tmp_path):
    told = write_untold_lists(tmp_path / "out", *sets)
    assert (tmp_path / "out/text").read_text() == "a ab\nb\nc ab\nd\n"
    assert (tmp_path / "out/speech_shape").read_text() == "".join(f"{id} {SAMPLES}\n" for id in "abcd")
    audio = dict(line.split() for line in (tmp_path / "out/wav.scp").read_text().splitlines())
    assert [Path(audio[id]).parent.name for id in "abcd"] == ["train", "unlabelled"] * 2
    assert told.endswith("out: 2 utterances with text, 0.00 h, and 2 without, 0.00 h")


def test_stored_features_are_those_of_both_sets(sets, tmp_path):
    stored = (tmp_path / "cut/train", tmp_path / "cut/unlabelled")
    for folder, ids in zip(stored, ("ac", "bde"), strict=True):
        folder.mkdir(parents=True)
        write_list(folder / "feats.scp", {id: f"{folder}/features.1" for id in ids})
    write_untold_lists(tmp_path / "out", *sets, stored)
    places = dict(line.split() for line in (tmp_path / "out/feats.scp").read_text().splitlines())
    assert places == {
        id: f"{tmp_path}/cut/{'train' if id in 'ac' else 'unlabelled'}/features.1" for id in "abcd"
    }
    assert not (tmp_path / "out/wav.scp").exists()
    write_list(stored[1] / "feats.scp", {"b": "x"})
    with pytest.raises(UserError, match=r"unlabelled/feats.scp lacks 1 id, d is one: run stage 2 again"):
        write_untold_lists(tmp_path / "out", *sets, stored)


def test_what_a_part_leaves_of_the_training_set_is_taken(tmp_path):
    whole = write_set(tmp_path / "train", {"a": 1, "b": 2}, "ab")
    part = write_set(tmp_path / "part", {"b": 2}, "ab")
    write_list(part / "speech_shape", {"b": SAMPLES})
    write_untold_lists(tmp_path / "out", part, whole, [])
    assert (tmp_path / "out/text").read_text() == "a\nb ab\n"
