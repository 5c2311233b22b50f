"""What is found and recognised, but cannot be loaded, is refused in one sentence."""

import shutil
from functools import partial
from pathlib import Path

import checkpoints
import pytest
import torch
from safetensors.torch import load_file, save_file

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import load_upstream


def copy_upstream(path: str, place: Path) -> Path:
    """A copy to damage."""
    return Path((shutil.copytree if Path(path).is_dir() else shutil.copy)(path, place))


def test_a_model_saved_in_half_precision_trains_in_full_precision(upstream_path, tmp_path):
    """Stored and fresh: transformers would keep the precision of the file."""
    from transformers import AutoModel

    from espnet_wsm.upstream import WsmConfig
    from espnet_wsm.upstream.cut import cut_of
    from espnet_wsm.upstream.stored_cut import load_suffix, store_cut

    copy = copy_upstream(upstream_path("hf_hubert", True), tmp_path / "copy")
    AutoModel.from_pretrained(copy).half().save_pretrained(copy)
    assert {weight.dtype for weight in load_file(copy / "model.safetensors").values()} == {torch.float16}
    expert, checkpoint = load_upstream(str(copy))
    assert {parameter.dtype for parameter in expert.parameters()} == {torch.float32}
    config = WsmConfig(str(copy))
    _, suffix = cut_of(expert, checkpoint.family, config)
    stored = load_suffix(tmp_path / "cut", store_cut(tmp_path / "cut", config))
    for name, parameter in stored.named_parameters():
        assert torch.equal(parameter, suffix.get_parameter(name)) and parameter.dtype == torch.float32


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "{copy} holds no checkpoint: expected config.json"),
        (
            "preprocessor_config.json",
            "{copy} has no preprocessor_config.json, and no processor_config.json with a",
        ),
        ("model.safetensors", "{copy} is not a checkpoint of hf_hubert: it has no model.safetensors"),
    ],
)
def test_an_incomplete_hugging_face_directory_names_the_missing_file(
    upstream_path, tmp_path, missing, message
):
    copy = copy_upstream(upstream_path("hf_hubert", True), tmp_path / "copy")
    (copy / missing).unlink()
    with pytest.raises(UserError, match=message.format(copy=copy)):
        load_upstream(str(copy))


def change_names(path: Path, change) -> None:
    """Rename the weights of a checkpoint; ``change(name)`` None leaves one out."""

    def rename(weights: dict) -> dict:
        return {change(key): value for key, value in weights.items() if change(key) is not None}

    if (path / "model.safetensors").is_file():
        file = path / "model.safetensors"
        save_file(rename(load_file(file)), file, metadata={"format": "pt"})
    elif path.is_dir():
        file = path / checkpoints.ESPNET_WEIGHTS
        torch.save(rename(torch.load(file)), file)
    else:
        state = torch.load(path)
        torch.save(state | {"model_weight": rename(state["model_weight"])}, path)


NAMES = {
    "foreign names": lambda key: f"other.{key}",
    "a missing layer": lambda key: None if ".layers.1." in key else key,
}


@pytest.mark.parametrize(
    ("change", "first"), [("foreign names", ""), ("a missing layer", r"encoder\.(transformer\.)?layers\.1\.")]
)
@pytest.mark.parametrize("family", ["hf_hubert", "hf_wav2vec2", "hf_wavlm", "espnet_hubert"])
def test_weights_that_would_stay_random_are_refused(upstream_path, tmp_path, family, change, first):
    """Their loaders only log what they do not find."""
    copy = copy_upstream(upstream_path(family, True), tmp_path / "copy")
    change_names(copy, NAMES[change])
    with pytest.raises(UserError, match=rf"not a complete checkpoint of {family}: \d+ weights .*{first}"):
        load_upstream(str(copy))


@pytest.mark.parametrize("change", NAMES)
@pytest.mark.parametrize("family", ["hubert", "wav2vec2"])
def test_a_file_that_does_not_fit_its_own_description_is_refused(upstream_path, tmp_path, family, change):
    copy = copy_upstream(upstream_path(family, True), tmp_path / "copy.pt")
    change_names(copy, NAMES[change])
    with pytest.raises(UserError, match=rf"(?s){family}_local cannot be loaded from {copy}: .*Missing key"):
        load_upstream(str(copy))


@pytest.mark.parametrize(
    ("family", "file", "message"),
    [
        ("hf_hubert", "model.safetensors", "upstream hf_hubert_custom cannot be loaded from {copy}: "),
        ("hf_hubert", "preprocessor_config.json", "cannot be loaded from {copy}: .*preprocessor_config.json"),
        ("hubert", "", "{copy} is damaged or not a checkpoint"),
        (
            "espnet_hubert",
            checkpoints.ESPNET_WEIGHTS,
            "upstream espnet_hubert_custom cannot be loaded from {copy}: ",
        ),
    ],
)
def test_corrupt_files_are_refused_with_the_path(upstream_path, tmp_path, family, file, message):
    copy = copy_upstream(upstream_path(family, True), tmp_path / "copy")
    damaged = copy / file
    damaged.write_bytes(damaged.read_bytes()[: min(1000, damaged.stat().st_size // 2)])
    with pytest.raises(UserError, match=message.format(copy=copy)):
        load_upstream(str(copy))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (checkpoints.REFUSED["hf_adapter"], "hf_wav2vec2 models with add_adapter are not supported"),
        (
            partial(
                checkpoints.write_hf,
                model_type="wav2vec2-bert",
                changes=checkpoints.HF_BERT | {"position_embeddings_type": "rotary"},
            ),
            "hf_wav2vec2_bert models with position_embeddings_type rotary are not supported",
        ),
        (
            partial(
                checkpoints.write_wavlm, pre_norm=True, activation_fn="glu", **checkpoints.WAVLM_POSITION
            ),
            r"wavlm upstreams with gated linear units \(.*glu\) are not supported",
        ),
        (
            partial(checkpoints.write_wav2vec2, pre_norm=True, quantize_input=True),
            "wav2vec2 upstreams that quantise their input are not supported",
        ),
        (
            partial(checkpoints.write_wav2vec2, pre_norm=True, crop_seq_to_multiple=2),
            r"wav2vec2 upstreams that crop time \(crop_seq_to_multiple\) are not supported",
        ),
    ],
    ids=["adapter", "rotary positions", "gated", "quantised", "cropped"],
)
def test_architectures_that_no_contract_covers_are_refused(tmp_path, write, message):
    with pytest.raises(UserError, match=message):
        load_upstream(str(write(tmp_path / "upstream")))
