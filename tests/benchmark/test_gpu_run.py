"""A check from its start to its report, with processes that answer at once."""

import dataclasses
import json
import time
from pathlib import Path

import pytest

from espnet_wsm.benchmark.gpu.plan import FULL, WAYS
from espnet_wsm.benchmark.gpu.process import Late, Lost
from espnet_wsm.benchmark.gpu.report import render_report
from espnet_wsm.benchmark.gpu.run import Check, require_device
from espnet_wsm.errors import UserError

PLAN = dataclasses.replace(
    FULL, device="cpu", architectures=("wav2vec2_base", "xls_r_300m"), lengths_s=(5, 10), replaced=(2, None)
)
MACHINE = {"device": "cpu", "gpu": None, "cpu": "A Processor", "cores": 2, "memory_bytes": 2**34}
PASSED = {
    "passed": 1, "failed": 0, "skipped": 0, "complete": True, "stopped": None, "exit_code": 0,
    "tests": [{"test": "tests/a.py::b", "outcome": "passed", "seconds": 0.1, "figures": {"apart": 1e-6}}],
}  # fmt: skip
SPREAD = {"median": 0.2, "min": 0.1, "max": 0.3}


def leave(request: dict) -> None:
    """The answer to the model."""


class FakeTests:
    """Tests that have run."""

    def __init__(self, result: dict):
        self.result, self.seconds, self.stopped = result, None, False

    def start(self, seconds: float) -> None:
        self.seconds = seconds

    def wait(self) -> dict:
        return self.result

    read = wait

    def stop(self) -> None:
        self.stopped = True

    def read_log(self) -> list[str]:
        return ["the end of pytest's output"]


class FakeProcess:
    """Answers as a model would that needs 100 bytes an utterance, unless ``answer(request)`` does."""

    def __init__(self, answer):
        self.answer, self.requests, self.deadlines, self.runs = answer, [], [], False

    def start(self) -> None:
        self.runs = True

    def stop(self) -> None:
        self.runs = False

    def wait_ready(self, deadline: float) -> dict:
        self.runs = True
        return {"machine": dict(MACHINE)}

    def read_log(self) -> list[str]:
        return ["the end of the process's output"]

    def ask(self, deadline: float, **request) -> dict:
        self.requests.append(request)
        self.deadlines.append(deadline)
        try:
            found = self.answer(request)
        except Lost:
            self.runs = False
            raise
        return found or self._fake(**request)

    def _fake(self, do: str, **request) -> dict:
        if do == "batch":
            peak = 1000 + 100 * request["utterances"]
            said = {"fits": True, "peak_bytes": peak, "step_s": 0.5} if peak <= 50_000 else {"fits": False}
            return said | {"usable_bytes": 50_000}
        if do == "point":
            return {
                "saved_bytes": 10,
                "peak_bytes": 20,
                "rounds": 5,
                "step_s": SPREAD,
                "real_time_factor": SPREAD,
            }
        sizes = {"trained_parameters": 5, "parameters": 9, "resident_bytes": 36}
        return {"copy_bytes_per_s": None, "matmul_flops": None} if do == "ceilings" else sizes


def make_check(out: Path, minutes: float = 60, tests: dict = PASSED, **answers) -> Check:
    facts = {"date": "today", "git": "abc", "versions": {"torch": "2.11"}}
    check = Check(PLAN, out, out / "work", out, minutes, facts)
    check.tests = FakeTests(tests)
    check.processes = {name: FakeProcess(answers.get(name, leave)) for name in PLAN.architectures}
    return check


def read(out: Path) -> dict:
    return json.loads((out / "result.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Check:
    """A check that has run to its end, with figures."""
    check = make_check(tmp_path_factory.mktemp("whole"))
    assert check.run() is True
    return check


@pytest.fixture
def no_figures(monkeypatch) -> None:
    """They take seconds."""
    for name in ("plot_lengths", "plot_largest"):
        monkeypatch.setattr(f"espnet_wsm.benchmark.gpu.report.{name}", lambda *_, **__: None)


def test_everything_is_measured_once_and_written(whole):
    result = read(whole.out)
    assert result["complete"] and result["left_out"] == result["failures"] == []
    arms = {(a["architecture"], a["k"], a["mixer"], a["way"]) for a in result["arms"]}
    assert len(arms) == len(result["arms"]) == 2 * 2 * 2 * 3
    assert {(r["k"], r["dtype"]) for r in result["measurements"]} == {
        (2, "bfloat16"), (2, "float32"), ("all", "bfloat16"),
    }  # fmt: skip
    assert len(result["measurements"]) == 2 * 2 * 3 * (2 * 2 + 2)
    for row in result["largest"]:
        assert 470 <= row["utterances"] <= 490 < row["too_many"] and row["stopped_by"] is None
        assert row["batch_seconds"] == 10 * row["utterances"] and row["dtype"] == "bfloat16"
    for file in ("memory.png", "time.png", "batch.png"):
        assert (whole.out / file).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert (whole.out / file).stat().st_size < 200_000  # the most that this repository takes
    assert not any(process.runs for process in whole.processes.values())
    assert whole.tests.seconds == 60 * 60 * PLAN.tests_share


def test_the_page_says_what_was_measured_and_how(whole):
    table = (whole.out / "table.md").read_text()
    assert "1 passed, 0 failed" in table and "| a.py::b | apart | 1e-06 |" in table
    assert "## xls_r_300m, bfloat16: Training step, ms" in table and "200 [100-300]" in table
    for way in WAYS.values():
        assert f"| wav2vec2_base | all | wsm | {way} | 4" in table
    assert "mean nothing" in table and "Incomplete" not in table and "## Left out" not in table


def test_a_model_is_built_once_for_the_cut_and_the_cache(whole):
    asked = [r["do"] for r in whole.processes["xls_r_300m"].requests if r["do"] in ("build", "use_cache")]
    assert asked == ["build", "build", "use_cache"] * 4


def test_what_there_is_no_time_for_is_named(no_figures, tmp_path):
    check = make_check(tmp_path)

    def end_soon(request):
        if request["do"] == "batch":
            check.end = time.monotonic()

    check.processes["wav2vec2_base"].answer = end_soon
    assert check.run() is True
    result = read(tmp_path)
    assert result["complete"] and result["failures"] == [] and result["largest"] == []
    first, *others = result["left_out"]
    assert first["part"] == "largest batch" and first["way"] == "today"
    assert {row["part"] for row in others} == {"all"} and len(others) == 2 * 2 * 2 * 3 - 1
    assert {row["reason"] for row in result["left_out"]} == {"the time was up"}
    assert (
        "- xls_r_300m, k = all, attention, cut + cache, all: the time was up"
        in (tmp_path / "table.md").read_text()
    )


def test_no_request_may_last_beyond_the_end(no_figures, tmp_path):
    check = make_check(tmp_path, minutes=1)
    check.run()
    for process in check.processes.values():
        assert process.deadlines and max(process.deadlines) <= check.begin + 60 - 10


def test_a_request_without_answer_costs_its_way_alone(no_figures, tmp_path):
    def stuck(request):
        if request["do"] == "point" and request["seconds"] == 10:
            raise Late("no answer within 90 s")

    check = make_check(tmp_path, wav2vec2_base=stuck)
    assert check.run() is True
    result = read(tmp_path)
    assert result["failures"] == [] and len(result["left_out"]) == 2 * 2 * 3
    assert result["left_out"][0]["part"] == "10 s bfloat16 and what follows"
    assert {row["architecture"] for row in result["largest"]} == {"xls_r_300m"}
    # Each way was built anew, as the process that had the model was ended.
    asked = [r["do"] for r in check.processes["wav2vec2_base"].requests if r["do"] in ("build", "use_cache")]
    assert asked == ["build", "build", "build", "use_cache"] * 4


def test_a_failure_is_recorded_with_the_end_of_the_output(no_figures, tmp_path):
    def fail(request):
        if request["do"] == "build" and request["mixer"] == "wsm":
            raise Lost("RuntimeError: CUDA error: an illegal memory access was encountered")

    check = make_check(tmp_path, wav2vec2_base=fail)
    assert check.run() is True
    failures = read(tmp_path)["failures"]
    assert len(failures) == 2 * 3 and {row["part"] for row in failures} == {"all"}
    assert failures[0]["log"] == ["the end of the process's output"]
    assert "## Failed" in (tmp_path / "table.md").read_text()


def test_a_length_that_fails_costs_itself_alone_unless_others_do_too(no_figures, tmp_path):
    def fail(request):
        if request["do"] == "point" and request["seconds"] == 10:
            raise Lost("RuntimeError: CUDA error: invalid configuration argument")

    check = make_check(tmp_path, xls_r_300m=fail)
    check.run()
    result = read(tmp_path)
    assert len(result["failures"]) == 2 * 3 * (2 + 1) and len(result["largest"]) == 2 * 2 * 2 * 3
    assert result["failures"][0]["part"] == "10 s bfloat16" and result["failures"][0]["mixer"] == "wsm"

    check = make_check(tmp_path, xls_r_300m=lambda request: fail(request | {"seconds": 10}))
    check.plan = dataclasses.replace(PLAN, lengths_s=(5, 10, 20, 40))
    check.run()
    result = read(tmp_path)
    assert len(result["failures"]) == 2 * 2 * 3 * 3
    assert result["failures"][2]["part"] == "20 s bfloat16 and what follows"
    assert {row["architecture"] for row in result["largest"]} == {"wav2vec2_base"}


def test_a_batch_that_fails_for_another_reason_is_too_large_and_says_why(no_figures, tmp_path):
    def fail(request):
        if request["do"] == "batch" and request["utterances"] > 470:
            raise Lost("RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")

    check = make_check(tmp_path, wav2vec2_base=fail)
    check.run()
    result = read(tmp_path)
    assert result["failures"] == [] and len(result["largest"]) == 2 * 2 * 2 * 3
    row = result["largest"][2]
    assert row["way"] == "cached" and 440 <= row["utterances"] <= 470 < row["too_many"]
    assert "NOT_SUPPORTED" in row["stopped_by"] and "NOT_SUPPORTED" in (tmp_path / "table.md").read_text()
    # What the failure has cost is built anew, with the cache where there was one.
    asked = [r["do"] for r in check.processes["wav2vec2_base"].requests if r["do"] != "point"]
    for position, do in enumerate(asked):
        if do == "use_cache":
            assert asked[position - 1] in ("build", "batch") and asked[position + 1] == "batch"


def test_a_search_that_fails_again_and_again_is_a_failure(no_figures, tmp_path):
    def fail(request):
        if request["do"] == "batch" and request["utterances"] > 2:
            raise Lost("RuntimeError: CUDA error: an illegal memory access was encountered")

    make_check(tmp_path, wav2vec2_base=fail).run()
    result = read(tmp_path)
    assert {row["architecture"] for row in result["largest"]} >= {"xls_r_300m"}
    of_base = [row for row in result["largest"] if row["architecture"] == "wav2vec2_base"]
    for row in of_base:
        assert row["utterances"] <= 2 and "illegal" in row["stopped_by"]
    assert len(of_base) + len(result["failures"]) == 2 * 2 * 3


def test_a_gpu_is_described_with_its_rates_as_far_as_they_are_known(no_figures, tmp_path):
    gpu = {"gpu": "A Card", "gpu_memory_bytes": 80 * 2**30, "capability": "9.0", "cuda": "13", "cudnn": 9}
    check = make_check(tmp_path)
    for rates in ({}, {"copy_bytes_per_s": 2e12, "matmul_flops": {"float32": 50e12, "bfloat16": 700e12}}):
        check.result["machine"] = MACHINE | gpu | rates
        page = render_report(check.result | {"seconds": 60})
        assert "# Check of a GPU: A Card" in page and "80 GiB, compute capability 9.0" in page
        assert ("2.00 TB/s" in page and "700 in bfloat16" in page) == bool(rates)


def test_a_length_that_does_not_fit_is_left_out_and_the_rest_measured(no_figures, tmp_path):
    def small(request):
        if request["do"] == "point" and request["seconds"] == 10:
            return {"skipped": "did not fit: CUDA out of memory."}

    make_check(tmp_path, xls_r_300m=small).run()
    result = read(tmp_path)
    assert len(result["largest"]) == 2 * 2 * 2 * 3
    assert {row["reason"] for row in result["left_out"]} == {"did not fit: CUDA out of memory."}
    assert len(result["left_out"]) == 2 * 3 * (2 + 1)


def test_what_is_stopped_is_kept_and_marked(no_figures, tmp_path):
    def interrupt(request):
        if request["do"] == "batch":
            raise KeyboardInterrupt

    check = make_check(tmp_path, wav2vec2_base=interrupt)
    assert check.run() is False
    result = read(tmp_path)
    assert result["complete"] is False and len(result["measurements"]) == 4 and check.tests.stopped
    assert "Incomplete" in (tmp_path / "table.md").read_text()


def test_the_result_is_there_from_the_beginning_and_grows(no_figures, tmp_path):
    seen = []

    def look(request):
        if request["do"] == "build":
            seen.append(len(read(tmp_path)["measurements"]))

    make_check(tmp_path, wav2vec2_base=look, xls_r_300m=look).run()
    assert seen[0] == 0 and seen == sorted(seen) and seen[-1] > seen[1] > 0


def test_tests_that_end_early_are_a_failure(no_figures, tmp_path):
    check = make_check(tmp_path, tests=PASSED | {"complete": False, "stopped": "out of time"})
    assert check.run() is True
    (failure,) = read(tmp_path)["failures"]
    assert failure == {"part": "tests", "reason": "out of time", "log": ["the end of pytest's output"]}
    assert "did not run to their end" in (tmp_path / "table.md").read_text()


def test_without_a_gpu_it_does_not_begin(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    require_device("cpu")
    with pytest.raises(
        UserError, match="finds no NVIDIA GPU here: run this where there is one, or give --dry-run"
    ):
        require_device("cuda")
