"""tools/benchmark.py: what it reads, foresees, measures and writes."""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from espnet_wsm.errors import UserError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # scripts, not part of the installed package

import benchmark  # noqa: E402
import benchmark_config  # noqa: E402
import benchmark_report  # noqa: E402

TINY = ROOT / "conf/benchmark/tiny.yaml"
RATIOS = {
    "saved_bytes_cut",
    "saved_bytes_wsm_vs_attention_cut",
    "step_cut",
    "step_cached",
    "checkpoint_bytes",
    "growth_exponent",
}


def tiny(**changes) -> dict:
    """The tiny configuration as YAML gives it, with changes; None takes a key away."""
    raw = yaml.safe_load(TINY.read_text()) | changes
    return {key: value for key, value in raw.items() if value is not None}


def tiny_with_arm(**arm) -> dict:
    raw = tiny()
    return raw | {"arms": raw["arms"] | {"extra": arm}}


def start(config: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "tools/benchmark.py"), "--config", str(config), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """One run of the tiny configuration to its end, and beside it one of two arms that is stopped."""
    folder = tmp_path_factory.mktemp("runs")
    raw = tiny(rounds=10_000, seconds_per_point=1000, minutes=10)
    raw["arms"] = {name: raw["arms"][name] for name in ("attention_today", "wsm_cut")}
    raw["ratio_arms"] = raw["ratio_arms"] | {"attention_cut": "wsm_cut", "cached": "wsm_cut"}
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
    config = benchmark_config.read_config(TINY)
    planned = benchmark.Measuring(config, None, "cpu", 0.0).num_planned()
    assert sum(len(row["round"]) for row in result["measurements"]) == planned > 0


@pytest.mark.slow
def test_a_run_gives_exactly_the_six_ratios(runs):
    result = read(runs["whole"])
    assert set(result["ratios"]) == RATIOS
    known = {name for name, value in result["ratios"].items() if value is not None}
    assert known == RATIOS - {"growth_exponent"}  # 2 s at most: nothing to fit
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
    trained = {name: arm["trained_parameters"] - head for name, arm in read(runs["whole"])["arms"].items()}
    assert trained == {
        "attention_today": 2 * (attention + rest_of_layer),
        "attention_today_eager": 2 * (attention + rest_of_layer),
        "attention_today_native": 2 * (attention + rest_of_layer),
        "attention_cut": 2 * (attention + rest_of_layer),
        "wsm_cut": 2 * (block + rest_of_layer),
        "wsm_cut_mixer": 2 * block,
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
    # byte for each of 49 frames, and their number.
    assert saved(result, "wsm_cached") - saved(result, "wsm_cut") == 2 * (49 + 8)
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
    assert set(result["ratios"]) == RATIOS
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "huge"}, "architecture has to be one of .*, got 'huge'"),
        ({"lengths_s": [2, 1]}, r"lengths_s .* shortest first, got \(2, 1\)"),
        ({"lengths_s": [-1]}, "lengths_s"),
        ({"lengths_s": ["ten"]}, "lengths_s"),
        ({"reference": {"seconds": 1, "batch": 0}}, "reference: batch has to be .*, got 0"),
        ({"reference": {"second": 1}}, "reference has no key second"),
        ({"reference": 10}, "reference has to be a mapping"),
        ({"num_replaced": 0}, "num_replaced"),
        ({"mixer_conf": {"windows": 5}}, "mixer_conf"),
        ({"mixer_conf": {"window": -5}}, "window has to be .*, got -5"),
        ({"vocab_size": 1}, "vocab_size"),
        ({"tokens_per_second": 60}, "tokens_per_second has to be .*, got 60"),
        ({"device": "tpu"}, "device has to be one of auto, cpu, cuda, got 'tpu'"),
        ({"dtypes": {"cpu": ["float32"]}}, "dtypes"),
        ({"dtypes": {"cpu": ["int8"], "cuda": ["float32"]}}, "dtypes .*int8"),
        ({"threads": 0}, "threads"),
        ({"seed": 1.5}, "seed"),
        ({"rounds": -1}, "rounds"),
        ({"rounds": True}, "rounds"),
        ({"seconds_per_point": 0}, "seconds_per_point"),
        ({"minutes": float("nan")}, "minutes"),
        ({"bars": {"speed": 1}}, "bars"),
        ({"ratio_arms": {"reference": "nobody"}}, "ratio_arms"),
        ({"ratio_arms_other": {"x": {}}}, "ratio_arms_other"),
        ({"ratio_arms": None}, "lacks ratio_arms"),
        ({"arms": []}, "arms has to be a mapping"),
        ({"arms": {}}, "arms"),
        ({"speed": 1}, "has no key speed"),
    ],
)
def test_a_bad_value_is_refused_with_its_field(tmp_path, changes, message):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(tiny(**changes)))
    with pytest.raises(UserError, match=f"bad.yaml: .*{message}"):
        benchmark_config.read_config(file)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({}, "lacks way"),
        ({"way": "tomorrow"}, "way has to be one of .*, got 'tomorrow'"),
        ({"way": "cut", "mixer": "wms"}, "mixer has to be one of .*, got 'wms'"),
        ({"way": "cut", "trainable": "all"}, "trainable"),
        ({"way": "cached", "trainable": "head"}, "trainable"),
        ({"way": "cut", "mixer": "none"}, "trainable"),
        ({"way": "today", "mixer": "none", "trainable": "head"}, "way has to be cut"),
        ({"way": "today", "mixer": "wsm", "trainable": "head"}, "mixer has to be attention"),
        ({"way": "cut", "attention": "flash"}, "attention"),
        ({"way": "today_native", "attention": "eager"}, "attention"),
        ({"way": "cut", "attention_dropout": 1}, "attention_dropout has to be .*, got 1"),
        ({"way": "cached", "measure": ["decode"]}, "measure"),
        ({"way": "cut", "measure": "step"}, "measure"),
        ({"way": "cut", "at": ["home"]}, "at"),
        ({"way": "cut", "longest_s": 0}, "longest_s has to be .*, got 0"),
    ],
)
def test_a_bad_arm_is_refused_with_its_name_and_field(arm, message):
    with pytest.raises(UserError, match=f"arm extra.*{message}"):
        benchmark_config.config_from_dict(tiny_with_arm(**arm))


@pytest.mark.parametrize("content", ["- a\n", "a: [", "\xff"])
def test_a_file_that_is_no_configuration_is_refused_by_name(tmp_path, content):
    file = tmp_path / "odd.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"odd\.yaml"):
        benchmark_config.read_config(file)
    with pytest.raises(UserError, match=r"missing\.yaml"):
        benchmark_config.read_config(tmp_path / "missing.yaml")


def test_the_command_reports_a_bad_configuration_in_one_line(tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(tiny(device="tpu")))
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["--config", str(file), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.count("\n") == 1 and "got 'tpu'" in said


def test_every_mixer_that_can_be_measured_has_words_and_a_colour_of_its_own():
    names, colours = benchmark_report.MIXER_NAMES, benchmark_report.COLOURS
    assert set(names) == set(benchmark_config._mixers())
    assert names.keys() <= colours.keys() and len(set(colours.values())) == len(colours)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_growth_exponent_is_the_slope_of_a_power_law(exponent):
    times = {x: 3.7 * x**exponent for x in (10, 20, 40, 80, 160)}
    assert benchmark_report.fit_exponent(times) == pytest.approx(exponent)
    # Lengths outside 10 to 160 s do not count.
    assert benchmark_report.fit_exponent(times | {5: 1e6, 320: 1e6}) == pytest.approx(exponent)


def test_the_growth_exponent_lies_between_linear_and_quadratic_for_their_sum():
    slope = benchmark_report.fit_exponent({x: x + 0.01 * x**2 for x in (10, 20, 40, 80, 160)})
    assert 1.1 < slope < 1.9
    assert benchmark_report.fit_exponent({10: 1.0, 20: 2.0}) is None


def test_costs_are_extrapolated_from_shorter_lengths():
    cost = {x: 7 * x + 0.3 * x**2 for x in (5, 10, 20)}
    assert benchmark.extrapolate(cost, 160) == pytest.approx(7 * 160 + 0.3 * 160**2)
    assert benchmark.extrapolate({5: 1.0}, 20) == 16.0  # nothing known of its growth: the worst
    assert benchmark.extrapolate({10: 4.0, 20: 2.0}, 40) >= 2.0  # noise
    assert benchmark.extrapolate({}, 40) == 0.0


class StubTeam:
    """Arms whose costs are known: seconds and bytes grow with the square of the length."""

    def __init__(self, answers=None):
        self.asked: list[dict] = []
        self.answers = answers or (lambda request: None)
        self.workers = {name: self for name in tiny()["arms"]}

    def ask(self, request: dict) -> dict:
        self.asked.append(request)
        audio = request["seconds"] ** 2 * request["batch"]
        values = {"above_baseline_bytes": 1000 * audio, "saved_bytes": 900 * audio}
        return self.answers(request) or values


def measure(team: StubTeam, seconds: float = 1000.0, **changes) -> benchmark.Measuring:
    config = benchmark_config.config_from_dict(tiny(**changes))
    measuring = benchmark.Measuring(config, team, "cpu", time.monotonic() + seconds)
    with benchmark.Progress(1) as progress:
        for _ in measuring.run(progress):
            pass
    return measuring


def test_the_order_of_arms_is_shuffled_and_repeatable():
    order = [(m["arm"], m["kind"]) for m in measure(StubTeam()).measurements]
    again = [(m["arm"], m["kind"]) for m in measure(StubTeam()).measurements]
    other = [(m["arm"], m["kind"]) for m in measure(StubTeam(), seed=1).measurements]
    assert order == again != other and sorted(order) == sorted(other)


def test_memory_is_foreseen_before_it_is_needed():
    team = StubTeam()
    measure(team, rounds=0)
    for request in team.asked:
        if request["kind"] == "step" and request["seconds"] == 2:
            assert request["need"] == pytest.approx(1000 * 4)
        if request["kind"] == "step" and request["batch"] == 2:
            assert request["need"] == pytest.approx(2000)


def test_what_does_not_fit_is_named_once_and_not_tried_again():
    def refuse(request: dict) -> dict | None:
        return {"skipped": "would not fit: much"} if request["seconds"] == 2 else None

    measuring = measure(StubTeam(refuse), rounds=3)
    assert {row["reason"] for row in measuring.skipped} == {"would not fit: much"}
    places = [(row["arm"], row["kind"]) for row in measuring.skipped]
    assert len(places) == len(set(places)) > 5
    assert not [m for m in measuring.measurements if m["seconds"] == 2]


def test_a_failure_is_named_too():
    measuring = measure(StubTeam(lambda request: {"failed": "KeyError: 'x'"}), rounds=1)
    assert measuring.measurements == []
    assert {row["reason"] for row in measuring.skipped} == {"failed: KeyError: 'x'"}


def test_nothing_is_begun_that_would_pass_the_limit():
    measuring = measure(StubTeam(), seconds=-1.0)
    assert measuring.measurements == []
    assert all("limit of 2 min" in row["reason"] for row in measuring.skipped) and measuring.skipped


def test_slow_points_get_fewer_rounds():
    def take_time(request: dict) -> None:
        time.sleep(0.06 if request["seconds"] == 2 and request["kind"] == "step" else 0)

    arms = {name: {"way": "cut"} for name in ("a", "b")}
    parts = ("reference", "cut", "attention_cut", "cached")
    team = StubTeam(take_time)
    team.workers = {name: team for name in arms}
    changes = {"arms": arms, "ratio_arms": dict.fromkeys(parts, "a")}
    measuring = measure(team, rounds=4, seconds_per_point=0.15, **changes)
    steps = [m for m in measuring.measurements if m["kind"] == "step" and m["arm"] == "a"]
    assert len([m for m in steps if m["seconds"] == 2]) == 2
    assert len([m for m in steps if m["seconds"] == 0.5]) == 5


def test_arms_that_decode_alike_are_decoded_once():
    kinds = benchmark.plan_kinds(benchmark_config.read_config(TINY))
    assert kinds["wsm_cut"] == ("step", "decode") and kinds["wsm_cut_mixer"] == ("step",)
    raw = tiny()
    raw["arms"]["wsm_cut"]["longest_s"] = 1
    kinds = benchmark.plan_kinds(benchmark_config.config_from_dict(raw))
    assert kinds["wsm_cut"] == ("step",) and kinds["wsm_cut_mixer"] == ("step", "decode")


def end_at_once(_connection) -> None:
    os._exit(3)


def test_a_process_that_dies_is_a_reason_not_an_error():
    worker = benchmark.Worker("a", multiprocessing.get_context("spawn"), end_at_once, ())
    worker.process.join()
    assert worker.ask({}) == worker.ask({}) == {"skipped": "its process ended (exit code 3)"}
    worker.stop()


def make_result(times: dict[str, list[float]], growth: float = 1.0) -> dict:
    """A result with one measurement a round at the reference, and a power law over 10, 20, 40 s."""
    raw = tiny(lengths_s=[10, 20, 40], bars={"step_cut": 0.5})
    config = benchmark_config.config_from_dict(raw)
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
        },
        "arms": {name: dict(sizes) for name in config.arms},
        "measurements": measurements,
        "skipped": [{"arm": "wsm_cut", "kind": "step", "seconds": 40, "batch": 1, "dtype": "float32",
                     "round": 0, "reason": "would not fit: 9 GiB"}],
    }  # fmt: skip


def test_ratios_are_of_medians_without_the_first_measurement():
    result = make_result({"attention_today": [99, 8, 10, 30], "wsm_cut": [1, 4, 5, 60], "wsm_cached": [2.5]})
    ratios = benchmark_report.complete_result(result)["ratios"]
    assert ratios["step_cut"] == pytest.approx(5 / 10)
    assert ratios["step_cached"] == pytest.approx(2.5 / 10)  # its only measurement is the first
    assert ratios["saved_bytes_cut"] == 1.0 and ratios["saved_bytes_wsm_vs_attention_cut"] is None
    assert ratios["growth_exponent"] == pytest.approx(1.0)


@pytest.mark.parametrize(("step", "verdict"), [(5.0, "0.5 met"), (5.1, "**0.51 not met**")])
def test_the_table_says_whether_a_bar_is_met(tmp_path, step, verdict):
    result = make_result({"attention_today": [10.0], "wsm_cut": [step], "wsm_cached": [1.0]}, growth=1.5)
    benchmark_report.write_report(result, tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert f"| {verdict} | <= 0.5 |" in table
    assert "- wsm_cut, step, 1 x 40 s, float32: would not fit: 9 GiB" in table
    assert "| wsm_cached | 0 | 1.5 |" in table and "since the process began" in table
    assert "used 1.2 of 1 cores" in table
    assert math.isclose(read(tmp_path)["growth"]["wsm_cached"]["suffix_s"], 1.5)


def test_only_the_parameters_of_the_arm_train():
    """The freezing of today's arms is ESPnet's rule, with no parameter forgotten."""
    import benchmark_worker
    from torch import nn

    model = nn.ModuleDict({"body": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "ctc": nn.Linear(2, 2)})
    patterns = benchmark_worker.list_freeze_params(model, [model["body"][1], model["ctc"]])
    assert patterns == ["body.0"]
    benchmark_worker.freeze_as_espnet(model, patterns)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"body.1.weight", "body.1.bias", "ctc.weight", "ctc.bias"}


def test_saved_bytes_are_those_of_a_known_graph():
    import benchmark_worker
    import torch

    model = torch.nn.Linear(4, 8)
    counter = benchmark_worker.SavedBytes(model)
    x = torch.randn(16, 4)
    with counter.hooks():
        kept = model(x).exp()  # keeps x for the weight, and its own result
        model(x).sin()  # its graph is gone at once
    assert counter.count()["saved_bytes"] == 4 * (16 * 4 + 16 * 8)
    assert kept.shape == (16, 8)
