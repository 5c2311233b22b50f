"""Upstreams that cannot be loaded are refused in one sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import load_upstream
from espnet_wsm.upstream.families import FAMILIES, find_family


def test_every_supported_name_is_known_to_s3prl():
    from s3prl.nn import S3PRLUpstream

    names = S3PRLUpstream.available_names()
    for family in FAMILIES:
        for pattern in family.upstreams:
            assert pattern in names or any(find_family_or_none(name) is family for name in names), pattern


def find_family_or_none(name: str):
    try:
        return find_family(name)
    except UserError:
        return None


@pytest.mark.parametrize("name", ["fbank", "apc", "wavlm_base", "no_such_model", ""])
def test_an_unsupported_upstream_lists_what_is(name):
    with pytest.raises(UserError, match=f"upstream '{name}' is not supported; .*hf_hubert_custom.*xls_r_"):
        load_upstream(name)


def test_a_name_that_s3prl_does_not_have_is_refused():
    with pytest.raises(UserError, match="upstream 'hubert_enormous' is unknown to the installed S3PRL"):
        load_upstream("hubert_enormous")


@pytest.mark.parametrize("name", ["hf_hubert_custom", "wav2vec2_local"])
def test_a_missing_path_is_refused(name):
    with pytest.raises(UserError, match="needs the path of a checkpoint"):
        load_upstream(name)
    with pytest.raises(UserError, match="upstream path nowhere/at_all does not exist"):
        load_upstream(name, "nowhere/at_all")


def test_a_file_is_no_hugging_face_directory_and_a_directory_no_native_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UserError, match="expected a directory written by save_pretrained"):
        load_upstream("hf_hubert_custom", str(tmp_path / "file"))
    with pytest.raises(UserError, match="expected one file with task_cfg"):
        load_upstream("hubert_local", str(tmp_path))


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_an_incomplete_hugging_face_directory_names_the_missing_file(upstream_path, tmp_path, missing):
    name, path = upstream_path("hf_hubert", True)
    copy = Path(shutil.copytree(path, tmp_path / "copy"))
    (copy / missing).unlink()
    with pytest.raises(UserError, match=f"is not a checkpoint of hf_hubert: it has no {missing}"):
        load_upstream(name, str(copy))


def test_a_model_of_another_type_is_refused(upstream_path):
    _, path = upstream_path("hf_wav2vec2", True)
    with pytest.raises(UserError, match="holds a wav2vec2 model, but hf_hubert_custom needs a hubert one"):
        load_upstream("hf_hubert_custom", path)


def test_models_that_shorten_time_are_refused(upstream_path, tmp_path):
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    name, path = upstream_path("hf_wav2vec2", True)
    copy = Path(shutil.copytree(path, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text()) | {"add_adapter": True, "output_hidden_size": 32}
    Wav2Vec2Model(Wav2Vec2Config(**config)).save_pretrained(copy)
    with pytest.raises(UserError, match="add_adapter are not supported"):
        load_upstream(name, str(copy))


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda key: f"other.{key}", "encoder.layer_norm.bias"),
        (lambda key: None if ".layers.1." in key else key, "encoder.layers.1."),
    ],
    ids=["foreign names", "a missing layer"],
)
@pytest.mark.parametrize("family", ["hf_hubert", "hf_wav2vec2"])
def test_weights_that_would_stay_random_are_refused(upstream_path, tmp_path, family, change, first):
    from safetensors.torch import load_file, save_file

    name, path = upstream_path(family, True)
    copy = Path(shutil.copytree(path, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    renamed = {change(key): value for key, value in weights.items() if change(key) is not None}
    save_file(renamed, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"not a complete checkpoint of {family}: \d+ weights .*{first}"):
        load_upstream(name, str(copy))


def test_a_path_is_refused_where_s3prl_would_ignore_it(upstream_path):
    _, path = upstream_path("wav2vec2", True)
    with pytest.raises(UserError, match="xls_r_300m has its own checkpoint and takes no path"):
        load_upstream("xls_r_300m", path)
    with pytest.raises(UserError, match="fetch the file and name it with wav2vec2_local"):
        load_upstream("wav2vec2_url", "https://example.org/w.pt")


@pytest.mark.parametrize("family", ["hf_hubert", "hubert"])
def test_corrupt_weights_are_refused_with_the_path(upstream_path, tmp_path, family):
    name, path = upstream_path(family, True)
    copy = tmp_path / "copy"
    if Path(path).is_dir():
        shutil.copytree(path, copy)
        weights = copy / "model.safetensors"
    else:
        shutil.copy(path, copy)
        weights = copy
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=f"upstream {name} cannot be loaded from {copy}"):
        load_upstream(name, str(copy))


def test_a_file_that_is_no_checkpoint_says_what_is_missing(tmp_path):
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="required key: task_cfg is missing"):
        load_upstream("wav2vec2_local", str(tmp_path / "other.pt"))


def test_conformer_layers_are_refused(tmp_path):
    from dataclasses import asdict

    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig, Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        layer_type="conformer",
        encoder_layers=1,
        encoder_embed_dim=32,
        encoder_ffn_embed_dim=32,
        encoder_attention_heads=2,
        conv_feature_layers="[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2",
        final_dim=32,
    )
    state = {"task_cfg": asdict(AudioPretrainingConfig()), "model_cfg": asdict(config)}
    torch.save(state | {"model_weight": Wav2Vec2Model(config).state_dict()}, tmp_path / "conformer.pt")
    with pytest.raises(UserError, match="ConformerWav2Vec2EncoderLayer layers are not supported"):
        load_upstream("wav2vec2_local", str(tmp_path / "conformer.pt"))
