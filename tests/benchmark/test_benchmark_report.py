"""Ratios, growth and the page that tells of them."""

import json
import math
from dataclasses import asdict

import pytest
from tiny import ROOT, tiny

from espnet_wsm.benchmark.config import config_from_dict
from espnet_wsm.benchmark.report import render_report, write_report
from espnet_wsm.benchmark.summary import complete_result, fit_exponent, group_rounds


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_growth_exponent_is_the_slope_of_a_power_law(exponent):
    times = {x: 3.7 * x**exponent for x in (10, 20, 40, 80, 160)}
    assert fit_exponent(times) == pytest.approx(exponent)
    # Lengths outside 10 to 160 s do not count.
    assert fit_exponent(times | {5: 1e6, 320: 1e6}) == pytest.approx(exponent)


def test_the_growth_exponent_lies_between_linear_and_quadratic_for_their_sum():
    slope = fit_exponent({x: x + 0.01 * x**2 for x in (10, 20, 40, 80, 160)})
    assert 1.1 < slope < 1.9
    assert fit_exponent({10: 1.0, 20: 2.0}) is None


def make_result(times: dict[str, list[float]], growth: float = 1.0) -> dict:
    """A result with one measurement a round at the reference, and a power law over 10, 20, 40 s."""
    raw = tiny(lengths_s=[10, 20, 40], bars={"step_cut": 0.5})
    config = config_from_dict(raw)
    measurements = []
    for arm, rounds in times.items():
        at = {"arm": arm, "kind": "step", "dtype": "float32"}
        sizes = {"peak_bytes": 5, "baseline_bytes": 1, "above_baseline_bytes": 4}
        sizes |= {"other_cpu": 1.25, "seconds_taken": 1.0}
        for number, seconds in enumerate(rounds):
            values = {"step_s": seconds, "suffix_s": seconds / 2, "forward_s": 0.1, "update_s": 0.1}
            count = {"saved_bytes": 100, "saved_with_parameters_bytes": 120} if number == 0 else {}
            point = {"seconds": 1, "batch": 2, "round": number}
            measurements.append(at | point | values | count | sizes)
        for length in (10, 20, 40):
            values = {"step_s": 1.0, "suffix_s": length**growth, "forward_s": 0.1, "update_s": 0.1}
            measurements.append(at | {"seconds": length, "batch": 1, "round": 0} | values | sizes)
    sizes = {
        "trained_parameters": 1,
        "parameters": 2,
        "checkpoint_bytes": 10,
        "training_checkpoint_bytes": 20,
        "cache_bytes_per_hour": None,
        "resident_bytes": 1,
        "peak_resets": False,
        "decodes_as": None,
    }
    return {
        "complete": True,
        "config_name": "made.yaml",
        "config": asdict(config),
        "date": "today",
        "git": "0",
        "versions": {},
        "seconds": 1.0,
        "machine": {
            "device": "cpu", "gpu": None, "cpu": "x", "cores": 1, "threads": 1, "memory_bytes": 2**30,
            "windowed_mean": {"500": 0.2, "5000": 0.3},
        },
        "arms": {name: dict(sizes) for name in config.arms},
        "measurements": group_rounds(measurements),
        "skipped": [{"arm": "wsm_cut", "kind": "step", "seconds": 40, "batch": 1, "dtype": "float32",
                     "round": 0, "reason": "would not fit: 9 GiB"}],
    }  # fmt: skip


def test_ratios_are_of_medians_without_the_first_measurement():
    result = make_result({"attention_today": [99, 8, 10, 30], "wsm_cut": [1, 4, 5, 60], "wsm_cached": [2.5]})
    ratios = complete_result(result)["ratios"]
    assert ratios["step_cut"] == pytest.approx(5 / 10)
    assert ratios["step_cached"] == pytest.approx(2.5 / 10)  # its only measurement is the first
    assert ratios["saved_bytes_cut"] == 1.0 and ratios["saved_bytes_wsm_vs_attention_cut"] is None
    assert ratios["growth_exponent"] == pytest.approx(1.0)
    assert ratios["windowed_mean"] == 0.3 and ratios["saved_bytes_recompute"] is None


@pytest.mark.parametrize(("step", "verdict"), [(5.0, "0.5 met"), (5.1, "**0.51 not met**")])
def test_the_table_says_whether_a_bar_is_met(tmp_path, step, verdict):
    result = make_result({"attention_today": [10.0], "wsm_cut": [step], "wsm_cached": [1.0]}, growth=1.5)
    write_report(result, tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert f"| {verdict} | <= 0.5 |" in table
    assert "- wsm_cut, step, 1 x 40 s, float32: would not fit: 9 GiB" in table
    assert "| wsm_cached | 0 | 1.5 |" in table and "since the process began" in table
    assert "and the head, from 10 to 40 s." in table and "## Growth exponents, 10 to 40 s" in table
    assert "used 1.2 of 1 cores" in table
    written = json.loads((tmp_path / "result.json").read_text())
    assert math.isclose(written["growth"]["wsm_cached"]["suffix_s"], 1.5)


@pytest.mark.parametrize("name", ["base", "quick", "whisper_base", "xls_r_300m"])
def test_a_committed_record_gives_its_page(name):
    folder = ROOT / "bench" / name
    result = json.loads((folder / "result.json").read_text())
    assert f"{render_report(complete_result(result))}\n" == (folder / "table.md").read_text()
