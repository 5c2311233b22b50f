"""Speech without text that blocks learn from beside the training set."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from espnet_wsm.data.dump.lists import read_num_samples
from espnet_wsm.data.features.reader import FeatureReader, read_stamps
from espnet_wsm.files import digest_text
from espnet_wsm.transfer.pairs import compute_pairs
from espnet_wsm.upstream.stored_cut import load_suffix, read_cut

STEPS = ["--steps", "20"]
ALL = "train dev unlabelled"


def add_speech(dump: Path, ids: tuple[str, ...]) -> None:
    """``dump/raw/unlabelled`` with an utterance of noise for each id."""
    folder = dump / "raw/unlabelled"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for name in ids:
        soundfile.write(folder / f"{name}.flac", 0.1 * rng.standard_normal(6400), 16000)
    (folder / "wav.scp").write_text("".join(f"{name} {folder / name}.flac\n" for name in ids))
    (folder / "utt2num_samples").write_text("".join(f"{name} 6400\n" for name in ids))


def test_blocks_learn_from_both_sets(recipe):
    add_speech(recipe.dump, ("t1", "t2"))
    recipe.sets = ALL
    cache = recipe.store()
    folder = recipe.transfer(*STEPS)
    assert Path(recipe.call("find", *STEPS)) == folder / "blocks.pth"
    (pairs,) = cache.glob("pairs_*_unlabelled")
    learnt = FeatureReader(pairs / "train/feats.scp")
    assert list(learnt) == ["t1", "t2", "u1", "u2", "u3"]
    assert list(FeatureReader(pairs / "held_out/feats.scp")) == ["u1", "u2", "u3"]
    stamps = read_stamps(pairs / "train")
    assert [stamps[id] for id in ("t1", "u2")] == [
        read_stamps(cache / "unlabelled")["t1"], read_stamps(cache / "train")["u2"],
    ]  # fmt: skip
    # What is stored of an utterance is what attention gives on the states of its own set.
    suffix = load_suffix(cache, read_cut(cache))
    for name, id in (("unlabelled", "t1"), ("train", "u2")):
        states = torch.from_numpy(FeatureReader(cache / name / "feats.scp")[id])[None]
        assert torch.allclose(
            compute_pairs(suffix, states, None, [0, 1])[0], torch.from_numpy(learnt[id]), atol=1e-5
        )


def test_without_it_the_result_is_what_it_was(recipe):
    """The name of a folder is a digest, of the audio too."""
    add_speech(recipe.dump, ("t1", "t2"))
    recipe.sets = ALL
    cache = recipe.store()
    both = recipe.call("plan", *STEPS)
    recipe.sets = "train dev"
    alone = Path(recipe.call("plan", *STEPS))
    assert str(alone) != both
    stamps = read_stamps(cache / "train")
    audio = digest_text("\n".join(f"{id} {stamps[id].digest}" for id in ("u1", "u2", "u3")))
    assert json.loads((alone / "plan.json").read_text())["audio"]["train"] == audio
    shutil.rmtree(recipe.dump / "raw/unlabelled")
    assert Path(recipe.call("plan", *STEPS)) == alone


def test_the_minutes_bound_both_sets_together(recipe):
    add_speech(recipe.dump, ("t1", "t2", "t3", "t4"))
    recipe.sets = ALL
    cache = recipe.store()
    recipe.call("plan", *STEPS, "--minutes", str(1.5 / 60))
    (lists,) = cache.glob("pairs_*_unlabelled/lists/train")
    taken = read_num_samples(lists / "utt2num_samples", [])
    inside = [f"t{n}" for n in range(1, 5)] + ["u1", "u2", "u3"]
    assert list(taken) == sorted(sorted(inside, key=digest_text)[: len(taken)])
    assert sum(taken.values()) <= 1.5 * 16000 < sum(taken.values()) + 11200


def test_ids_in_both_sets_are_refused(recipe):
    add_speech(recipe.dump, ("t1", "u2"))
    recipe.sets = ALL
    recipe.store()
    with pytest.raises(SystemExit):
        recipe.call("plan", *STEPS)
    error = recipe.capsys.readouterr().err
    assert "raw/unlabelled/wav.scp: 1 id already those of other speech to learn from: u2: " in error
    assert "utils/copy_data_dir.sh --utt-prefix" in error


def test_speech_that_was_not_stored_is_refused(recipe):
    recipe.store()
    recipe.sets = ALL
    with pytest.raises(SystemExit):
        recipe.call("plan", *STEPS)
    error = recipe.capsys.readouterr().err
    assert "unlabelled does not exist: run stage 2 again" in error
