"""A stored cut says what it belongs to; that it gives back every family's layers is in test_families.py."""

import shutil
from pathlib import Path

import pytest
import torch

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import WsmConfig, find_checkpoint, load_upstream
from espnet_wsm.upstream.cut import cut_of
from espnet_wsm.upstream.layer_table import describe_prefix
from espnet_wsm.upstream.stored_cut import (
    check_cut,
    describe_key,
    find_cut,
    load_prefix,
    load_suffix,
    name_cut,
    read_cut,
    store_cut,
)


@pytest.mark.parametrize("family", ["hf_hubert", "wav2vec2"])
def test_a_cut_below_a_chosen_layer_comes_back(upstream_path, wavs, tmp_path, family):
    config = WsmConfig(upstream_path(family, True), layers=[2])
    expert, checkpoint = load_upstream(config.upstream)
    prefix, suffix = cut_of(expert, checkpoint.family, config)
    cut = store_cut(tmp_path, config)
    assert read_cut(tmp_path) == cut == check_cut(tmp_path, config)
    assert cut.below == describe_prefix(prefix) and cut.num_above == len(suffix.layers) == 2
    hidden, mask = load_prefix(tmp_path)(wavs)
    assert torch.equal(hidden, prefix(wavs)[0])
    assert torch.equal(load_suffix(tmp_path, cut)(hidden, mask), suffix.eval()(hidden, mask))


def digest(path: Path | str) -> str:
    return find_checkpoint(str(path)).digest


def test_the_digest_follows_the_model_and_nothing_else(upstream_path, tmp_path):
    path = upstream_path("hf_hubert", True)
    folder = tmp_path / "copy"
    shutil.copytree(path, folder)
    before = digest(folder)
    assert before == digest(path) and len(before) == 32
    (folder / "README.md").write_text("a model card")
    assert digest(folder) == before
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"hidden_dropout": 0.1', '"hidden_dropout": 0.2'))
    assert digest(folder) != before
    file = upstream_path("wav2vec2", True)
    shutil.copy(file, tmp_path / "renamed.pt")
    assert digest(file) == digest(tmp_path / "renamed.pt")


def test_the_digest_follows_the_weights(upstream_path, tmp_path):
    file = Path(shutil.copy(upstream_path("wav2vec2", True), tmp_path / "changed.pt"))
    before = digest(file)
    state = torch.load(file)
    next(iter(state["model_weight"].values())).view(-1)[0] += 1
    torch.save(state, file)
    assert digest(file) != before


def test_the_key_and_the_name_follow_what_the_features_depend_on(upstream_path):
    path = upstream_path("hf_hubert", True)
    config = WsmConfig(path)
    for changed in (
        WsmConfig(path, num_replaced=1),
        WsmConfig(path, layers=[3]),
        WsmConfig(path, layers=[1, 3]),
        WsmConfig(path, prefix_dtype="bfloat16"),
        WsmConfig(upstream_path("hf_hubert", False)),
        WsmConfig(upstream_path("hf_wav2vec2", True)),
    ):
        assert describe_key(changed) != describe_key(config)
        assert name_cut(changed, "float16") != name_cut(config, "float16")
    same = WsmConfig(path, mixer="sm", window=3, width=8, trainable="mixer", dropout=0.3)
    assert describe_key(same) == describe_key(config)
    assert name_cut(config, "float16") != name_cut(config, "float32")
    above = [WsmConfig(path, layers=layers, mixer="drop") for layers in ([1, 3], [2, 1])]  # one cut
    assert describe_key(above[0]) == describe_key(above[1])


def test_what_is_missing_or_damaged_is_named(upstream_path, tmp_path):
    config = WsmConfig(upstream_path("hf_hubert", True))
    with pytest.raises(UserError, match="it holds none at all"):
        find_cut(tmp_path, config, "float16")
    folder = tmp_path / name_cut(config, "float16")
    cut = store_cut(folder, config)
    assert find_cut(tmp_path, config, "float16") == folder
    with pytest.raises(UserError, match="layers above the cut: stored '2', now '1'"):
        find_cut(tmp_path, WsmConfig(config.upstream, num_replaced=1), "float16")
    weights = folder / "suffix.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"suffix.safetensors is damaged .*: delete .* and run stage 2 again"):
        load_suffix(folder, cut)
    weights.unlink()
    with pytest.raises(UserError, match=r"suffix\.safetensors does not exist"):
        load_suffix(folder, cut)
    (folder / "cut.json").write_text("{")
    with pytest.raises(UserError, match=r"cut\.json is damaged"):
        read_cut(folder)
