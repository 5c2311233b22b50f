"""The stage: from stored features to blocks that a training starts from, without labels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from espnet_wsm.errors import UserError
from espnet_wsm.stages import transfer
from espnet_wsm.transfer.learning import TransferSettings

STEPS = ["--steps", "20"]


def test_a_training_starts_from_what_the_blocks_have_learnt(recipe):
    cache = recipe.store(mixer="wsm_heads")
    folder = recipe.transfer(*STEPS, mixer="wsm_heads")
    assert folder.name.startswith("transfer_wsm_heads_k2_")
    blocks = recipe.call("find", *STEPS, mixer="wsm_heads")
    learnt = torch.load(blocks)
    began = recipe.train(cache, "a", "--init_param", f"{blocks}:encoder:encoder", mixer="wsm_heads")
    plain = recipe.train(cache, "b", mixer="wsm_heads")
    changed = {name for name in began if not torch.equal(began[name], plain[name])}
    assert changed and changed <= learnt.keys()
    assert all(torch.equal(began[name], value) for name, value in learnt.items())
    assert not any("q_proj" in name for name in began), "the teacher is not in the checkpoint"
    result = json.loads((folder / "transfer.json").read_text())
    assert result["layers"] == [2, 3] and result["error"] == result["curve"]["held_out"][-1]
    assert max(result["error"]) < min(result["curve"]["held_out"][0])
    assert (folder / "transfer.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "checkpoint.pt").exists()
    conf = yaml.safe_load((recipe.exp / "a" / "config.yaml").read_text())["encoder_conf"]
    heads = json.loads((cache / "heads.json").read_text())
    assert conf["windows"] == [layer["windows"] for layer in heads["layers"]]


def test_a_resumed_training_keeps_its_windows(recipe):
    cache = recipe.store(mixer="wsm_heads")
    recipe.train(cache, "a", mixer="wsm_heads")
    heads = json.loads((cache / "heads.json").read_text())
    before = [layer["windows"] for layer in heads["layers"]]
    for layer in heads["layers"]:
        layer["windows"] = [[0, 0]] * len(layer["windows"])
    (cache / "heads.json").write_text(json.dumps(heads))
    recipe.train(cache, "a", "--max_epoch", "2", "--resume", "true", mixer="wsm_heads")
    conf = yaml.safe_load((recipe.exp / "a" / "config.yaml").read_text())["encoder_conf"]
    assert conf["windows"] == before != [[[0, 0]] * 4] * 2
    recipe.train(cache, "b", mixer="wsm_heads")
    conf = yaml.safe_load((recipe.exp / "b" / "config.yaml").read_text())["encoder_conf"]
    assert conf["windows"] == [[[0, 0]] * 4] * 2


def test_the_result_is_that_of_audio_cut_and_blocks_alone(recipe):
    """Not of the seed and the learning rate of a training, nor of transcripts; it is made once."""
    recipe.store()
    folder = recipe.transfer(*STEPS)
    before = (folder / "blocks.pth").stat().st_mtime_ns
    (recipe.dump / "raw" / "train" / "text").write_text("u1 A\nu2 B\nu3 C\n")
    assert Path(recipe.call("plan", *STEPS, trainable="mixer")) == folder
    assert (folder / "blocks.pth").stat().st_mtime_ns == before
    others = [
        recipe.call("plan", *STEPS, window=4),
        recipe.call("plan", *STEPS, mixer="sm"),
        recipe.call("plan", "--steps", "21"),
        recipe.call("plan", *STEPS, "--lr", "0.001"),
        recipe.call("plan", *STEPS, "--target", "layer"),
    ]
    assert len({str(folder), *others}) == 6
    with pytest.raises(SystemExit):
        recipe.call("find", *STEPS, window=4)
    assert "holds no finished transfer of the present data and settings" in recipe.capsys.readouterr().err


def test_the_same_transfer_gives_the_same_blocks_without_labels(recipe):
    recipe.store()
    (recipe.dump / "raw" / "train" / "text").write_text("u1 A\nu2 B\nu3 C\n")
    folder = recipe.transfer(*STEPS)
    first = torch.load(folder / "blocks.pth")
    shutil.rmtree(recipe.exp)
    (recipe.dump / "raw" / "train" / "text").unlink()
    again = recipe.transfer(*STEPS)
    assert again == folder
    second = torch.load(folder / "blocks.pth")
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_other_audio_makes_another_transfer(recipe):
    import soundfile

    recipe.store()
    folder = recipe.call("plan", *STEPS)
    file = (recipe.dump / "raw" / "train" / "wav.scp").read_text().split()[1]
    soundfile.write(file, 0.1 * np.random.default_rng(9).standard_normal(8000), 16000)
    with pytest.raises(SystemExit):
        recipe.call("plan", *STEPS)
    assert "run stage 2 again" in recipe.capsys.readouterr().err
    recipe.store()
    assert recipe.call("plan", *STEPS) != folder


def test_pairs_are_shared_by_all_blocks(recipe):
    cache = recipe.store()
    recipe.transfer(*STEPS)
    shards = sorted(cache.glob("pairs_*/train/features.*"))
    before = [shard.stat().st_mtime_ns for shard in shards]
    recipe.transfer(*STEPS, mixer="local")
    assert before and [shard.stat().st_mtime_ns for shard in shards] == before


@pytest.mark.parametrize(
    ("options", "conf", "message"),
    [
        (["--steps", "0"], {}, "--steps 0 of a transfer has to be above 0"),
        (["--lr", "2"], {}, "--lr 2 of a transfer has to be between 0 and 1"),
        (["--minutes", "-1"], {}, "--minutes -1.0 of a transfer"),
        ([], {"num_replaced": 0}, "num_replaced is 0"),
        ([], {"num_replaced": 1}, "holds no features of the present cut"),
        ([], {"features": "weighted_sum"}, "a transfer needs stored features, but features weighted_sum"),
        ([], {"mixer": "wsm_heads", "windows": "attention"}, "heads.json does not exist"),
        (
            [],
            {"mixer": "wsm_heads", "windows": "[[0,1]]"},
            "windows are given for 1 heads, but the attention",
        ),
    ],
)
def test_what_cannot_be_learnt_is_refused(recipe, options, conf, message):
    recipe.store()
    if conf.get("num_replaced") == 0:
        recipe.store(num_replaced=0)
    with pytest.raises(SystemExit) as ended:
        recipe.call("plan", *options, **conf)
        for verb in ("store", "merge", "learn"):
            recipe.call(verb, *options, **conf)
    assert ended.value.code and message in recipe.capsys.readouterr().err


def test_attention_has_nothing_to_learn(recipe):
    recipe.store()
    assert recipe.call("plan", *STEPS, mixer="attention") == ""
    assert recipe.call("find", *STEPS, mixer="drop") == ""


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"num_replaced": 0}, "no layer is replaced"),
        ({"features": "weighted_sum"}, "it needs stored features, but features weighted_sum"),
        ({"mixer": "drop"}, "drop has nothing to learn from attention"),
        ({"upstream": "random"}, " has random weights"),
    ],
)
def test_by_default_there_is_no_transfer_where_it_cannot_be(recipe, tmp_path, conf, reason):
    recipe.store()
    if "upstream" in conf:
        conf = {"upstream": str(tmp_path)}
        (tmp_path / "upstream_description.txt").write_text("random upstream: HuBERT\n")
    assert recipe.call("plan", "--by_default", *STEPS, **conf) == ""
    assert recipe.said.startswith("no transfer: ") and reason in recipe.said
    assert recipe.call("find", "--by_default", *STEPS, **conf) == recipe.said == "", "said once"


def test_by_default_it_is_the_same_transfer(recipe):
    recipe.store()
    assert recipe.call("plan", "--by_default", *STEPS) == recipe.call("plan", *STEPS) != ""


def test_a_parameter_file_of_another_upstream_is_refused(recipe, upstream_path, tmp_path):
    cache = recipe.store()
    folder = recipe.transfer(*STEPS)
    blocks = torch.load(folder / "blocks.pth")
    identity = json.loads(bytes(blocks["encoder._extra_state"].long().tolist()))
    other = json.dumps(identity | {"digest": "0" * 32}).encode()
    blocks["encoder._extra_state"] = torch.tensor(list(other), dtype=torch.float64)
    torch.save(blocks, tmp_path / "other.pth")
    with pytest.raises((UserError, SystemExit)):
        recipe.train(cache, "c", "--init_param", f"{tmp_path / 'other.pth'}:encoder:encoder")
    assert "trained on the upstream" in recipe.capsys.readouterr().err


def test_the_command_has_the_defaults_of_the_library():
    args = transfer.make_parser().parse_args(["plan", "--dump_dir", "dump", "--exp_dir", "exp"])
    assert transfer.read_settings(args) == TransferSettings()
