"""What the arms cost above the cut, on a tiny upstream."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from synthetic import make_run

from espnet_wsm.arms import ARMS
from espnet_wsm.errors import UserError
from espnet_wsm.experiments import costs
from espnet_wsm.experiments.costs import Setup, list_setups, measure_costs, read_costs
from espnet_wsm.experiments.grid import Grid

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """A second of audio and few rounds: the figures need not be steady."""
    monkeypatch.setattr(costs, "SECONDS", 1.0)
    monkeypatch.setattr(costs, "ROUNDS", 2)


@pytest.fixture
def checkout(tmp_path, upstream_path) -> Path:
    """A checkout with one recipe, a training configuration and an upstream."""
    (tmp_path / "egs/toy/asr1").mkdir(parents=True)
    (tmp_path / "egs/toy/asr1/run.sh").touch()
    (tmp_path / "conf").mkdir()
    settings = yaml.safe_load((ROOT / "conf/train_ctc.yaml").read_text())
    settings["encoder_conf"] |= {"width": 16, "window": 3, "suffix_dtype": "bfloat16"}
    (tmp_path / "conf/train.yaml").write_text(yaml.safe_dump(settings))
    shutil.copytree(upstream_path("hf_hubert", True), tmp_path / "upstream")
    return tmp_path


def make_grid(*runs) -> Grid:
    return Grid("../../../upstream", "../../../conf/train.yaml", {}, (), (runs,))


def measure(checkout, *runs) -> dict:
    found = measure_costs(make_grid(*runs), checkout, checkout / "results")
    return {row["setup"]: row for row in found["rows"]}


def test_each_way_to_build_the_blocks_is_listed_once_with_attention_to_compare():
    runs = [make_run("wsm", "a", seed=seed) for seed in range(2)]
    runs += [make_run("wsm", "b", minutes=5), make_run("wsm", "a", window=5), make_run("frozen", "a")]
    assert list_setups(make_grid(*runs)) == [
        Setup("wsm", 2),
        Setup("wsm", 2, window=5),
        Setup("frozen", 0),
        Setup("attention", 2),
        Setup("attention", 2, attention_dropout=False),
    ]


def test_every_arm_can_be_measured(checkout):
    # converted is for converted upstreams alone, and what names layers for one with so many.
    arms = {name for name, arm in ARMS.items() if name != "converted" and "layers" not in arm.options}
    rows = measure(checkout, *(make_run(arm, "toy", k=1) for arm in ARMS if arm in arms))
    assert len(rows) == len(arms) + 1
    for setup, row in rows.items():
        assert row["saved_bytes"] > 0 and 0 < row["step_s"]["min"] <= row["step_s"]["median"], setup
        assert row["checkpoint_bytes"] > 4 * row["trainable"], setup
    wsm, attention = rows[Setup("wsm", 1)], rows[Setup("attention", 1)]
    assert wsm["ratios"]["saved_bytes"] == wsm["saved_bytes"] / attention["saved_bytes"]
    assert attention["ratios"] == {"saved_bytes": 1, "step_s": 1, "checkpoint_bytes": 1}
    assert set(rows[Setup("frozen", 0)]["ratios"].values()) == {None}
    assert rows[Setup("drop", 1)]["saved_bytes"] < wsm["saved_bytes"]
    assert rows[Setup("lora", 1)]["trainable"] < wsm["trainable"] < rows[Setup("sm_authors", 1)]["trainable"]
    assert rows[Setup("gc_lora", 1)]["trainable"] < rows[Setup("lora", 1)]["trainable"]
    assert rows[Setup("kv_pool", 1)]["saved_bytes"] < attention["saved_bytes"]
    without = rows[Setup("attention", 1, attention_dropout=False)]
    assert without["saved_bytes"] < attention["saved_bytes"]


def test_the_layers_run_in_the_precision_of_the_training(checkout):
    config = checkout / "conf/train.yaml"
    low = measure(checkout, make_run("wsm", "toy"))[Setup("wsm", 2)]
    config.write_text(config.read_text().replace("suffix_dtype: bfloat16", "suffix_dtype: float32"))
    full = measure(checkout, make_run("wsm", "toy"))[Setup("wsm", 2)]
    assert low["saved_bytes"] < full["saved_bytes"] and low["trainable"] == full["trainable"]


def test_neither_window_nor_width_cost_memory_and_width_has_parameters(checkout):
    """Blocks keep their input alone."""
    runs = [make_run("wsm", "toy"), make_run("wsm", "toy", window=20), make_run("wsm", "toy", width=64)]
    rows = measure(checkout, *runs)
    default, wide_window, wide = (rows[Setup("wsm", 2, *size)] for size in ((None, None), (20,), (None, 64)))
    assert wide_window["saved_bytes"] == pytest.approx(default["saved_bytes"], rel=0.02)
    assert wide["saved_bytes"] == default["saved_bytes"] and wide["trainable"] > default["trainable"]
    assert read_costs(checkout / "results")["configured"] == {
        "window": 3, "width": 16, "suffix_dtype": "bfloat16",
    }  # fmt: skip


def test_more_layers_cost_more(checkout):
    rows = measure(checkout, make_run("wsm", "toy", k=1), make_run("wsm", "toy", k=2))
    assert rows[Setup("wsm", 2)]["saved_bytes"] > 1.5 * rows[Setup("wsm", 1)]["saved_bytes"]


def test_they_are_measured_once_until_something_changes(checkout, monkeypatch):
    measured = []
    whole = costs._measure
    monkeypatch.setattr(costs, "_measure", lambda *args: measured.append(1) or whole(*args))
    first = measure(checkout, make_run("wsm", "toy"))
    content = (checkout / "results/costs.json").read_text()
    assert measure(checkout, make_run("wsm", "toy"), make_run("wsm", "toy", seed=1)) == first
    assert (checkout / "results/costs.json").read_text() == content
    assert len(measured) == 1
    measure(checkout, make_run("wsm", "toy"), make_run("sm", "toy"))
    assert len(measured) == 2
    path = checkout / "conf/train.yaml"
    path.write_text(path.read_text().replace("width: 16", "width: 32"))
    measure(checkout, make_run("wsm", "toy"), make_run("sm", "toy"))
    assert len(measured) == 3


def test_bytes_are_the_same_each_time_and_threads_are_left_as_they_were(checkout):
    threads = torch.get_num_threads()
    rows = [measure(checkout, make_run("wsm", "toy"))]
    (checkout / "results/costs.json").unlink()
    rows.append(measure(checkout, make_run("wsm", "toy")))
    assert torch.get_num_threads() == threads
    for name in ("saved_bytes", "trainable", "checkpoint_bytes"):
        assert [row[name] for row in rows[0].values()] == [row[name] for row in rows[1].values()]


def test_it_says_where_it_was_measured(checkout):
    measure(checkout, make_run("wsm", "toy"))
    content = json.loads((checkout / "results/costs.json").read_text())
    assert content["machine"]["threads"] == 1 and content["machine"]["device"] == "cpu"
    assert content["versions"]["torch"] == torch.__version__.split("+")[0]
    assert str(checkout) not in json.dumps(content)


def test_faults_are_named(checkout):
    with pytest.raises(UserError, match="no recipe egs/other"):
        measure(checkout, make_run("wsm", "other"))
    grid = Grid("../../../upstream", "../../../conf/none.yaml", {}, (), ((make_run("wsm", "toy"),),))
    with pytest.raises(UserError, match=r"none.yaml cannot be read"):
        measure_costs(grid, checkout, checkout / "results")
    (checkout / "results").mkdir()
    (checkout / "results/costs.json").write_text('{"fingerprint": 1}')
    with pytest.raises(UserError, match=r"costs.json is damaged"):
        read_costs(checkout / "results")


def test_no_results_have_no_costs(tmp_path):
    assert read_costs(tmp_path) is None
