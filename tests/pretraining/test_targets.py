"""Cluster ids: one for each frame of each utterance, the same however they were computed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from espnet2.fileio.read_text import load_num_sequence_text

from espnet_wsm.errors import UserError
from espnet_wsm.frames import count_encoder_frames
from espnet_wsm.pretraining import extraction
from espnet_wsm.pretraining.features import NUM_CEPSTRA, extract_mfcc, make_layer_extractor
from espnet_wsm.pretraining.targets import _Frames, _standardise_voices, make_targets
from espnet_wsm.stages.make_targets import main

TRAIN = {f"{voice}-{number}": 4000 + 1234 * number for voice in ("anna", "ben") for number in range(8)}
VALID = {"anna-v1": 9000, "ben-v2": 400}


@pytest.fixture
def sets(write_dump) -> tuple[Path, Path]:
    return write_dump("train", TRAIN), write_dump("valid", VALID, seed=1)


def read_labels(out: Path, name: str) -> dict[str, list[int]]:
    """As ESPnet reads the data type ``text_int``."""
    return {
        uid: list(ids) for uid, ids in load_num_sequence_text(str(out / name / "labels"), "text_int").items()
    }


def test_each_frame_of_each_utterance_gets_a_cluster(sets, tmp_path):
    train, valid = sets
    summaries = make_targets(train, [valid], tmp_path / "out", extract_mfcc, 6, 0, NUM_CEPSTRA, "MFCC")
    for name, samples in (("train", TRAIN), ("valid", VALID)):
        labels = read_labels(tmp_path / "out", name)
        assert {uid: len(ids) for uid, ids in labels.items()} == {
            uid: count_encoder_frames(length) for uid, length in samples.items()
        }
        assert set().union(*labels.values()) <= set(range(6))
        assert summaries[name].frames == sum(map(len, labels.values()))
    assert summaries["train"].used_clusters == 6 and 1 < summaries["train"].perplexity <= 6
    assert summaries["train"].frames_per_run >= 1
    record = json.loads((tmp_path / "out/targets.json").read_text())
    assert record["features"] == "MFCC" and record["seed"] == 0
    assert record["train"]["frames"] == summaries["train"].frames
    assert np.load(tmp_path / "out/centroids.npy").shape == (6, 39)
    assert not list((tmp_path / "out").glob(".features*")), "the features are gone"


def label(sets, out: Path, extract, seed: int = 0) -> dict[str, list[int]]:
    train, valid = sets
    make_targets(train, [valid], out, extract, 6, seed)
    return read_labels(out, "train") | read_labels(out, "valid")


def test_labels_follow_from_the_seed_and_not_from_the_batches(sets, tmp_path, monkeypatch, upstream_path):
    extract = make_layer_extractor(Path(upstream_path("hf_hubert", False)), 2)
    first = label(sets, tmp_path / "first", extract)
    assert label(sets, tmp_path / "again", extract) == first
    assert label(sets, tmp_path / "other", extract, seed=1) != first
    monkeypatch.setattr(extraction, "BATCH_SAMPLES", 1)
    alone = label(sets, tmp_path / "alone", extract)
    pairs = [pair for uid in first for pair in zip(first[uid], alone[uid], strict=True)]
    assert np.mean([one == two for one, two in pairs]) > 0.99, "but for frames half way between two clusters"


def test_batches_hold_each_utterance_once_and_no_more_than_they_may(monkeypatch, sets):
    sizes = []

    def extract(waves: list[torch.Tensor]) -> list[torch.Tensor]:
        sizes.append((len(waves), max(map(len, waves))))
        return extract_mfcc(waves)

    monkeypatch.setattr(extraction, "BATCH_SAMPLES", 30_000)
    found = [utterance.id for utterance, _ in extraction.extract_dump(sets[0], extract)]
    assert sorted(found) == sorted(TRAIN) and [TRAIN[uid] for uid in found] == sorted(TRAIN.values())
    assert all(count == 1 or count * longest <= 30_000 for count, longest in sizes)
    assert 1 < len(sizes) < len(TRAIN)


def test_voices_are_standardised_each_by_itself():
    rng = np.random.default_rng(0)
    loud, soft = 5 + 9 * rng.standard_normal((40, 4)), 0.1 * rng.standard_normal((60, 4))
    frames = _Frames(
        np.concatenate([loud[:10], soft, loud[10:]]),
        {"a-1": (0, 10), "b-1": (10, 70), "a-2": (70, 100)},
        {"a-1": "a", "b-1": "b", "a-2": "a"},
    )
    _standardise_voices(frames, 2)
    own = {"a": np.r_[0:10, 70:100], "b": np.r_[10:70]}
    for rows, before in ((own["a"], loud), (own["b"], soft)):
        np.testing.assert_allclose(frames.features[rows].mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(frames.features[rows, :2].std(0), 1)
        expected = before[:, 2:].std(0) / before[:, :2].std(0)
        np.testing.assert_allclose(
            frames.features[rows, 2:].std(0), expected, err_msg="differences keep their size"
        )


def test_a_dump_whose_parts_do_not_belong_together_is_refused(sets, tmp_path):
    train, _ = sets
    counts = train / "utt2num_samples"
    lines = counts.read_text().splitlines(keepends=True)

    def attempt(message: str) -> None:
        with pytest.raises(UserError, match=message):
            make_targets(train, [], tmp_path / "out", extract_mfcc, 6, 0)
        assert not (tmp_path / "out/targets.json").exists()

    counts.write_text("".join(lines[1:]))
    attempt(r"utt2num_samples: its ids differ from those of .*wav\.scp: anna-0: run stage 2 again")
    counts.write_text("anna-0 4321\n" + "".join(lines[1:]))
    attempt(r"id anna-0\): 12 frames of 4000 samples, expected 13 of 4321: make the dump again")
    counts.write_text("anna-0 many\n" + "".join(lines[1:]))
    attempt("id anna-0 has 'many' instead of a number of samples")
    counts.unlink()
    attempt("utt2num_samples does not exist")


def test_too_few_frames_for_the_clusters_are_refused(sets, tmp_path):
    with pytest.raises(UserError, match=r"train: \d+ frames cannot make 5000 clusters"):
        make_targets(sets[0], [], tmp_path / "out", extract_mfcc, 5000, 0)


def test_the_command_says_what_it_clustered(sets, tmp_path, upstream_path, capsys):
    train, valid = map(str, sets)
    words = ["--train", train, "--others", valid, "--num_clusters", "5"]
    main([*words, "--out", str(tmp_path / "one")])
    main(
        [
            *words,
            "--out",
            str(tmp_path / "two"),
            "--upstream",
            upstream_path("hf_hubert", True),
            "--layer",
            "1",
        ]
    )
    records = [json.loads((tmp_path / name / "targets.json").read_text()) for name in ("one", "two")]
    assert records[0]["features"].startswith("MFCC with first and second differences")
    assert records[1]["features"] == f"layer 1 of {upstream_path('hf_hubert', True)}"
    assert "valid: 2 utterances, 28 frames; " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--upstream", "x"], "--upstream and --layer belong together"),
        (["--layer", "2"], "--upstream and --layer belong together"),
        (["--num_clusters", "1"], "--num_clusters 1: at least 2 are needed"),
    ],
)
def test_options_that_do_not_fit_are_refused(words, message, capsys):
    with pytest.raises(SystemExit, match="1"):
        main(["--train", "a", "--out", "b", *words])
    assert message in capsys.readouterr().err
