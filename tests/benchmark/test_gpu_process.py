"""The process of an upstream and that of the tests: answers, failures, time, and what each leaves."""

import dataclasses
import os
import time

import pytest
from processes import wait_for

from espnet_wsm.benchmark.gpu.plan import DRY_RUN
from espnet_wsm.benchmark.gpu.process import Late, Lost, UpstreamProcess
from espnet_wsm.benchmark.gpu.suite import DeviceTests


def begin(_plan, architecture, _folder):
    """A body whose answers are its process id, and which fails in every way."""
    os.write(1, f"{architecture} begins\n".encode())

    def answer(do: str) -> dict:
        if do == "raise":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if do == "end":
            os._exit(3)
        if do == "sleep":
            time.sleep(60)
        return {"pid": os.getpid()}

    return {"machine": {"pid": os.getpid()}}, answer


def refuse(_plan, _architecture, _folder):
    raise RuntimeError("no disk")


@pytest.fixture
def process(tmp_path):
    """Forked, as nothing here uses a GPU."""
    process = UpstreamProcess(DRY_RUN, "tiny", tmp_path, begin, method="fork")
    yield process
    process.stop()


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


def test_one_process_answers_all_requests(process):
    assert not process.runs and process.read_log() == []
    first = process.wait_ready(soon())["machine"]["pid"]
    assert process.ask(soon(), do="tell") == process.ask(soon(), do="tell") == {"pid": first}
    assert process.runs and process.read_log() == ["tiny begins"]
    process.stop()
    assert not process.runs


@pytest.mark.parametrize(
    ("do", "reason"),
    [("raise", "RuntimeError: CUDA error: an illegal"), ("end", r"its process ended \(exit code 3\)")],
)
def test_after_a_failure_the_next_request_goes_to_a_new_process(process, do, reason):
    first = process.ask(soon(), do="tell")
    with pytest.raises(Lost, match=reason) as caught:
        process.ask(soon(), do=do)
    assert not isinstance(caught.value, Late) and not process.runs
    assert process.ask(soon(), do="tell") != first
    assert process.read_log() == ["tiny begins"] * 2


def test_a_request_without_answer_ends_the_process(process):
    process.wait_ready(soon())
    with pytest.raises(Late, match="no answer within 0 s"):
        process.ask(soon(0.2), do="sleep")
    assert not process.runs


def test_a_process_that_cannot_begin_says_why(tmp_path):
    process = UpstreamProcess(DRY_RUN, "tiny", tmp_path, refuse, method="fork")
    for _ in range(2):
        with pytest.raises(Lost, match="RuntimeError: no disk"):
            process.wait_ready(soon())


@pytest.fixture
def run_tests(tmp_path):
    """``run_tests(text of a test file)`` begins it."""

    def run(text: str) -> DeviceTests:
        (tmp_path / "test_it.py").write_text(f"import pytest, time\npytestmark = pytest.mark.device\n{text}")
        settings = "[pytest]\naddopts = -p no:randomly\nmarkers =\n    device: d\n    cuda: c\n"
        (tmp_path / "pytest.ini").write_text(settings)
        plan = dataclasses.replace(DRY_RUN, tests=("test_it.py",))
        tests = DeviceTests(plan, tmp_path, tmp_path, tmp_path / "out" / "tests.log")
        tests.start(600)
        return tests

    return run


def test_each_test_is_recorded_with_its_figures_and_the_end_of_a_failure(run_tests):
    tests = run_tests(
        "def test_good(record_property):\n    record_property('apart', 1e-7)\n"
        "def test_bad():\n    assert 1 == 2\n"
        "def test_left():\n    pytest.skip('no time')\n"
        "@pytest.mark.cuda\ndef test_of_cuda():\n    raise RuntimeError\n"
    )
    result = tests.wait()
    assert (result["passed"], result["failed"], result["skipped"]) == (1, 1, 1)
    assert result["complete"] and result["exit_code"] == 1 and result["stopped"] is None
    good, bad, left = result["tests"]
    assert good["test"] == "test_it.py::test_good" and good["figures"] == {"apart": 1e-7}
    assert any("assert 1 == 2" in line for line in bad["said"])
    assert "no time" in left["said"][0]
    assert any("1 failed, 1 passed" in line for line in tests.read_log())


def test_tests_that_take_too_long_are_ended_and_the_others_kept(run_tests):
    tests = run_tests("def test_good():\n    pass\ndef test_endless():\n    time.sleep(600)\n")
    wait_for(lambda: tests.read()["passed"])
    tests._end()  # as its timer does
    result = tests.wait()
    assert result["passed"] == 1 and not result["complete"] and result["stopped"] == "out of time"


def test_without_any_test_they_are_not_complete(run_tests):
    result = run_tests("").wait()
    assert result["passed"] == 0 and not result["complete"] and result["exit_code"] == 5
