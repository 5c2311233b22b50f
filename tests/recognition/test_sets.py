"""The audio of a set: what ESPnet's iterator gives, without its import."""

import argparse

import pytest
import torch

from espnet_wsm.bin import asr_inference_greedy
from espnet_wsm.errors import UserError
from espnet_wsm.plugin.task import WsmASRTask
from espnet_wsm.recognition import sets
from espnet_wsm.recognition.sets import read_batches


@pytest.fixture
def args(corpus) -> argparse.Namespace:
    data = f"{corpus / 'wav.scp'},speech,sound"
    words = ["--output_dir", "x", "--asr_train_config", "x", "--asr_model_file", "x", "--batch_size", "2"]
    return asr_inference_greedy.get_parser().parse_args([*words, "--data_path_and_name_and_type", data])


@pytest.fixture
def train_args(training_arguments, tmp_path) -> argparse.Namespace:
    return WsmASRTask.get_parser().parse_args(training_arguments(tmp_path / "exp"))


def test_batches_are_those_of_espnets_iterator(args, train_args, monkeypatch):
    found = list(read_batches(args, train_args))
    assert isinstance(found[0][0], list) and len(found) == 2
    monkeypatch.setattr(sets, "_is_plain", lambda *_: False)
    train_args.token_list = train_args.token_type = None
    expected = list(read_batches(args, train_args))
    for (ids, batch), (other_ids, other) in zip(found, expected, strict=True):
        assert ids == list(other_ids) and batch.keys() == other.keys()
        assert torch.equal(batch["speech"], other["speech"])
        assert torch.equal(batch["speech_lengths"], other["speech_lengths"])


@pytest.mark.parametrize(
    ("change", "train_change"),
    [
        ({"key_file": "ids"}, {}),
        ({"num_workers": 1}, {}),
        ({"data_path_and_name_and_type": [("a", "speech", "kaldi_ark")]}, {}),
        ({"data_path_and_name_and_type": [("a", "speech", "sound"), ("b", "text", "text")]}, {}),
        ({}, {"speech_volume_normalize": 0.5}),
        ({}, {"preprocessor": "multi"}),
        ({}, {"preprocessor_conf": {"fs": 8000}}),
    ],
)
def test_everything_else_is_left_to_espnet(args, train_args, change, train_change):
    assert sets._is_plain(args, train_args)
    changed = argparse.Namespace(**vars(args) | change), argparse.Namespace(**vars(train_args) | train_change)
    assert not sets._is_plain(*changed)


def test_audio_that_cannot_be_read_is_named(args, train_args, corpus):
    (corpus / "u2.flac").write_bytes(b"fLaC")
    with pytest.raises(UserError, match=r"the audio of u2 cannot be read, .*u2\.flac: .*; run stage 2 again"):
        list(read_batches(args, train_args))
