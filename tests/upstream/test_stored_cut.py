"""A stored cut gives the same suffix without the upstream, and says what it belongs to."""

import shutil
from pathlib import Path

import pytest
import torch

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import WsmConfig, cut_upstream, identify_upstream, load_upstream
from espnet_wsm.upstream.identity import digest_checkpoint
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
from espnet_wsm.upstream.surgery import describe_prefix


@pytest.mark.parametrize("num_replaced", [1, 3])
def test_prefix_and_suffix_come_back_as_they_were(
    upstream_path, family_name, pre_norm, wavs, tmp_path, num_replaced
):
    name, path = upstream_path(family_name, pre_norm)
    config = WsmConfig(name, path, num_replaced=num_replaced)
    prefix, suffix = cut_upstream(*load_upstream(name, path), num_replaced)
    cut = store_cut(tmp_path / "cut", config)
    assert read_cut(tmp_path / "cut") == cut == check_cut(tmp_path / "cut", config)
    assert cut.below == describe_prefix(prefix) and cut.depends_on_padding == (not pre_norm)
    hidden, mask = prefix(wavs)
    stored = load_suffix(tmp_path / "cut", cut)
    assert torch.equal(stored(hidden, mask), suffix.eval()(hidden, mask))
    again, _ = load_prefix(tmp_path / "cut")(wavs)
    assert torch.equal(again, hidden)
    stored.train()
    suffix.train()
    outs = []
    for each in (stored, suffix):  # dropout, which eval mode hides, is as it was
        torch.manual_seed(0)
        outs.append(each(hidden, mask))
    assert torch.equal(*outs) and not torch.equal(outs[0], suffix.eval()(hidden, mask))


def test_loading_takes_no_random_numbers(upstream_path, family_name, tmp_path):
    """New blocks start the same whether the upstream was loaded or its stored suffix."""
    name, path = upstream_path(family_name, True)
    cut = store_cut(tmp_path, WsmConfig(name, path))
    torch.manual_seed(3)
    expected = torch.rand(4)
    for load in (lambda: load_upstream(name, path), lambda: load_suffix(tmp_path, cut)):
        torch.manual_seed(3)
        load()
        assert torch.equal(torch.rand(4), expected)


def test_the_digest_follows_the_model_and_nothing_else(upstream_path, tmp_path):
    _, path = upstream_path("hf_hubert", True)
    folder = tmp_path / "copy"
    shutil.copytree(path, folder)
    digest = digest_checkpoint(folder)
    assert digest == digest_checkpoint(Path(path)) and len(digest) == 32
    (folder / "README.md").write_text("a model card")
    assert digest_checkpoint(folder) == digest
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"hidden_dropout": 0.1', '"hidden_dropout": 0.2'))
    assert digest_checkpoint(folder) != digest
    _, file = upstream_path("wav2vec2", True)
    shutil.copy(file, tmp_path / "renamed.pt")
    assert digest_checkpoint(Path(file)) == digest_checkpoint(tmp_path / "renamed.pt")
    with pytest.raises(UserError, match="upstream path nowhere does not exist"):
        digest_checkpoint(Path("nowhere"))


def test_an_upstream_without_a_path_is_known_by_its_weights(upstream_path):
    name, path = upstream_path("wav2vec2", True)
    expert, _ = load_upstream(name, path)
    digest = identify_upstream("wav2vec2", None, expert).digest
    assert identify_upstream("wav2vec2", None, load_upstream(name, path)[0]).digest == digest
    with torch.no_grad():
        next(expert.parameters()).view(-1)[0] += 1
    assert identify_upstream("wav2vec2", None, expert).digest != digest


def test_the_key_and_the_name_follow_what_the_features_depend_on(upstream_path):
    name, path = upstream_path("hf_hubert", True)
    config = WsmConfig(name, path)
    for changed in (
        WsmConfig(name, path, num_replaced=1),
        WsmConfig(name, path, prefix_dtype="bfloat16"),
        WsmConfig(*upstream_path("hf_wav2vec2", True)),
    ):
        assert describe_key(changed) != describe_key(config)
        assert name_cut(changed, "float16") != name_cut(config, "float16")
    same = WsmConfig(name, path, mixer="sm", window=3, width=8, trainable="mixer", dropout=0.3)
    assert describe_key(same) == describe_key(config)
    assert name_cut(config, "float16") != name_cut(config, "float32")


def test_what_is_missing_or_damaged_is_named(upstream_path, tmp_path):
    config = WsmConfig(*upstream_path("hf_hubert", True))
    with pytest.raises(UserError, match="it holds none at all"):
        find_cut(tmp_path, config, "float16")
    folder = tmp_path / name_cut(config, "float16")
    cut = store_cut(folder, config)
    assert find_cut(tmp_path, config, "float16") == folder
    with pytest.raises(UserError, match="layers above the cut: stored '2', now '1'"):
        find_cut(tmp_path, WsmConfig(config.upstream, config.path, num_replaced=1), "float16")
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
