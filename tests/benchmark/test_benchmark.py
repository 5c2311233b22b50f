"""tools/benchmark.py: a whole run, one that is stopped, and what both leave."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tiny import ROOT, TINY, tiny

from espnet_wsm.benchmark.config import read_config
from espnet_wsm.benchmark.plan import Measuring
from espnet_wsm.benchmark.ratios import OPTIONAL_PARTS, PARTS, RATIOS


def start(config: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "tools/benchmark.py"), "--config", str(config), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """One run of the tiny configuration to its end, and beside it one of two arms that is stopped."""
    folder = tmp_path_factory.mktemp("runs")
    raw = tiny(rounds=10_000, seconds_per_point=1000, minutes=10)
    raw["arms"] = {name: raw["arms"][name] for name in ("attention_today", "wsm_cut")}
    raw["ratio_arms"] = dict.fromkeys(PARTS, "wsm_cut") | {"reference": "attention_today"}
    endless = folder / "endless.yaml"
    endless.write_text(yaml.safe_dump(raw))
    whole, stopped = start(TINY, folder / "whole"), start(endless, folder / "stopped")
    try:
        limit = time.monotonic() + 240
        while not (folder / "stopped/result.json").exists() and time.monotonic() < limit:
            assert stopped.poll() is None, stopped.communicate()
            time.sleep(0.2)
        stopped.send_signal(signal.SIGTERM)
        _, said = stopped.communicate(timeout=60)
        assert stopped.returncode == 130 and "stopped" in said
        printed, said = whole.communicate(timeout=240)
        assert whole.returncode == 0, said
        assert "saved_bytes_cut " in printed and "met (bar 1)" in printed
    finally:
        for process in (whole, stopped):
            process.kill()
    return {"whole": folder / "whole", "stopped": folder / "stopped"}


def read(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_a_run_records_machine_software_configuration_and_every_measurement(runs):
    result = read(runs["whole"])
    assert result["complete"] is True and result["skipped"] == []
    assert result["machine"]["device"] == "cpu" and result["machine"]["threads"] == 1
    assert set(result["versions"]) == {"torch", "transformers", "espnet", "espnet-s3prl"}
    assert result["git"] and result["config"]["arms"].keys() == tiny()["arms"].keys()
    config = read_config(TINY)
    planned = Measuring(config, None, "cpu", 0.0).num_planned()
    assert sum(len(row["round"]) for row in result["measurements"]) == planned > 0


@pytest.mark.slow
def test_a_run_gives_the_ratios_of_the_arms_that_are_named(runs):
    result = read(runs["whole"])
    assert result["ratios"].keys() == RATIOS.keys()
    known = {name for name, value in result["ratios"].items() if value is not None}
    unnamed = set(OPTIONAL_PARTS) - {"recompute"}
    expected = {name for name, ratio in RATIOS.items() if not unnamed & set(ratio.parts)}
    assert known == expected - {"growth_exponent"}  # 2 s at most: nothing to fit
    assert all(result["ratios"][name] > 0 for name in known)
    arms = result["arms"]
    expected = arms["wsm_cut"]["checkpoint_bytes"] / arms["attention_today"]["checkpoint_bytes"]
    assert result["ratios"]["checkpoint_bytes"] == expected < 1


@pytest.mark.slow
def test_each_arm_trains_what_it_says(runs):
    dim, inner, width = 48, 96, 16
    head = dim * 50 + 50
    attention = 4 * (dim * dim + dim)
    block = 2 * (dim * width + width) + 3 * width * dim + dim
    rest_of_layer = 2 * dim * inner + inner + dim + 2 * 2 * dim
    arms = read(runs["whole"])["arms"]
    trained = {name: arm["trained_parameters"] - head for name, arm in arms.items()}
    assert trained.pop("transformers_full") == arms["transformers_full"]["parameters"] - head
    assert trained == {
        "transformers_lora": 4 * 2 * 2 * 8 * dim,  # layers, queries and values, two matrices of rank 8
        "attention_today": 2 * (attention + rest_of_layer),
        "attention_today_eager": 2 * (attention + rest_of_layer),
        "attention_today_native": 2 * (attention + rest_of_layer),
        "attention_cut": 2 * (attention + rest_of_layer),
        "wsm_cut": 2 * (block + rest_of_layer),
        "wsm_cut_mixer": 2 * block,
        "wsm_cut_recompute": 2 * (block + rest_of_layer),
        "removed_cut": 0,
        "wsm_cached": 2 * (block + rest_of_layer),
    }


def saved(result: dict, arm: str, seconds: float = 1, batch: int = 1, name: str = "saved_bytes") -> int:
    wanted = {"arm": arm, "kind": "step", "seconds": seconds, "batch": batch}
    (row,) = [row for row in result["measurements"] if wanted.items() <= row.items()]
    return row[name]


@pytest.mark.slow
def test_today_keeps_more_than_the_cut_and_attention_more_than_wsm(runs):
    result = read(runs["whole"])
    assert saved(result, "attention_today") > saved(result, "attention_today_native")
    assert saved(result, "attention_today") > saved(result, "attention_cut") > saved(result, "wsm_cut")
    assert saved(result, "wsm_cut") > saved(result, "wsm_cut_mixer") > saved(result, "removed_cut")
    # The prefix knows that nothing is padded; stored features come with a mask: in each of the two layers one
    # byte for each of 49 frames.
    assert saved(result, "wsm_cached") - saved(result, "wsm_cut") == 2 * 49
    assert saved(result, "wsm_cut_recompute") < saved(result, "wsm_cut")
    # A block keeps its input: 49 frames of 48 channels; attention four times as much and more.
    assert saved(result, "wsm_cut", 1, 2, "block_saved_bytes") == 4 * 2 * 49 * 48
    assert saved(result, "attention_cut", 1, 2, "block_saved_bytes") > 4 * 4 * 2 * 49 * 48
    with_parameters = saved(result, "wsm_cut", name="saved_with_parameters_bytes")
    assert with_parameters > saved(result, "wsm_cut")


@pytest.mark.slow
def test_saved_bytes_are_the_same_in_every_run(runs):
    whole, stopped = read(runs["whole"]), read(runs["stopped"])
    for arm in ("attention_today", "wsm_cut"):
        assert saved(whole, arm, 0.5) == saved(stopped, arm, 0.5) > 0


@pytest.mark.slow
def test_peak_and_time_are_measured_in_each_round(runs):
    for row in read(runs["whole"])["measurements"]:
        for peak, baseline in zip(row["peak_bytes"], row["baseline_bytes"], strict=True):
            assert peak > baseline > 0
        if row["kind"] == "step":
            assert row["round"] in ([0], [0, 1]) and isinstance(row["saved_bytes"], int)
            for step, forward, update in zip(row["step_s"], row["forward_s"], row["update_s"], strict=True):
                assert step > forward > 0 and update > 0
        else:
            audio = row["seconds"] * row["batch"]
            factors = [seconds / audio for seconds in row["decode_s"]]
            assert row["real_time_factor"] == pytest.approx(factors, abs=5e-6)


@pytest.mark.slow
def test_a_stopped_run_leaves_a_valid_result_marked_incomplete(runs):
    result = read(runs["stopped"])
    assert result["complete"] is False and len(result["measurements"]) > 0
    assert result["ratios"].keys() == RATIOS.keys()
    assert "Incomplete" in (runs["stopped"] / "table.md").read_text()


@pytest.mark.parametrize("name", ["whole", "stopped"])
@pytest.mark.slow
def test_figures_are_pictures(runs, name):
    import matplotlib.image

    for file in ("memory.png", "time.png"):
        assert (runs[name] / file).stat().st_size < 200_000  # the most that this repository takes
        assert (runs[name] / file).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        picture = matplotlib.image.imread(runs[name] / file)
        assert picture.shape[0] > 300 and picture[..., 0].std() > 0


@pytest.mark.slow
def test_the_table_names_every_arm_bar_and_unit(runs):
    table = (runs["whole"] / "table.md").read_text()
    for arm in tiny()["arms"]:
        assert f"| {arm} |" in table
    assert "MiB" in table and "met | <= 1" in table and "wsm_cached decodes as wsm_cut" in table
