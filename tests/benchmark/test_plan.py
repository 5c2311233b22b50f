"""The order of measurements, what is foreseen of them, and processes that die."""

import multiprocessing
import os
import time

import pytest
from tiny import TINY, tiny

from espnet_wsm.benchmark.config import config_from_dict, read_config
from espnet_wsm.benchmark.plan import Measuring, extrapolate, plan_kinds
from espnet_wsm.benchmark.ratios import PARTS
from espnet_wsm.benchmark.team import Progress, Worker


def test_costs_are_extrapolated_from_shorter_lengths():
    cost = {x: 7 * x + 0.3 * x**2 for x in (5, 10, 20)}
    assert extrapolate(cost, 160) == pytest.approx(7 * 160 + 0.3 * 160**2)
    assert extrapolate({5: 1.0}, 20) == 16.0  # nothing known of its growth: the worst
    assert extrapolate({10: 4.0, 20: 2.0}, 40) >= 2.0  # noise
    assert extrapolate({}, 40) == 0.0


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


def measure(team: StubTeam, seconds: float = 1000.0, **changes) -> Measuring:
    config = config_from_dict(tiny(**changes))
    measuring = Measuring(config, team, "cpu", time.monotonic() + seconds)
    with Progress(1) as progress:
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
    team = StubTeam(take_time)
    team.workers = {name: team for name in arms}
    changes = {"arms": arms, "ratio_arms": dict.fromkeys(PARTS, "a")}
    measuring = measure(team, rounds=4, seconds_per_point=0.15, **changes)
    steps = [m for m in measuring.measurements if m["kind"] == "step" and m["arm"] == "a"]
    assert len([m for m in steps if m["seconds"] == 2]) == 2
    assert len([m for m in steps if m["seconds"] == 0.5]) == 5


def test_arms_that_decode_alike_are_decoded_once():
    kinds = plan_kinds(read_config(TINY))
    assert kinds["wsm_cut"] == ("step", "decode") and kinds["wsm_cut_mixer"] == ("step",)
    raw = tiny()
    raw["arms"]["wsm_cut"]["longest_s"] = 1
    kinds = plan_kinds(config_from_dict(raw))
    assert kinds["wsm_cut"] == ("step",) and kinds["wsm_cut_mixer"] == ("step", "decode")


def end_at_once(_connection) -> None:
    os._exit(3)


def test_a_process_that_dies_is_a_reason_not_an_error():
    worker = Worker("a", multiprocessing.get_context("spawn"), end_at_once, ())
    worker.process.join()
    assert worker.ask({}) == worker.ask({}) == {"skipped": "its process ended (exit code 3)"}
    worker.stop()
