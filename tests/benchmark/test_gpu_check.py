"""tools/gpu_check.sh: a whole dry run, one that is killed, one that is stopped, and wrong options."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import is_session_alive, wait_for

from espnet_wsm.errors import UserError

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools/gpu_check.sh"


@pytest.fixture(scope="module")
def tool():
    """tools/gpu_check.py as a module."""
    spec = importlib.util.spec_from_file_location("gpu_check", ROOT / "tools/gpu_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(*words: str | Path, **more) -> subprocess.Popen:
    environment = os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [SCRIPT, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **more,
    )  # fmt: skip


def fault_of(*words: str | Path) -> str:
    process = start(*words)
    printed, said = process.communicate(timeout=120)
    assert process.returncode in (1, 2) and printed == "", printed
    return said


def read(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A dry run to its end, and beside it one that is killed and one that is stopped."""
    folder = tmp_path_factory.mktemp("runs")
    names = ("whole", "killed", "stopped")
    begun = {name: start(folder / name, "--dry-run", start_new_session=True) for name in names}
    try:
        for name, sent in (("killed", signal.SIGKILL), ("stopped", signal.SIGTERM)):
            wait_for(lambda name=name: (folder / name / "result.json").exists(), 240)
            begun[name].send_signal(sent)
            wait_for(lambda name=name: not is_session_alive(begun[name].pid), 120)
        _, said = begun["stopped"].communicate(timeout=120)
        assert begun["stopped"].returncode == 130 and "stopped: what was measured so far is kept" in said
        printed, said = begun["whole"].communicate(timeout=300)
        assert begun["whole"].returncode == 0, said
        assert "tests passed, 0 failed" in printed and f"more in {folder / 'whole' / 'table.md'}" in printed
    finally:
        for process in begun.values():
            process.kill()
    return {name: folder / name for name in names}


@pytest.mark.slow
def test_a_dry_run_does_every_part(runs):
    result = read(runs["whole"])
    assert result["complete"] and result["left_out"] == result["failures"] == []
    assert result["tests"]["complete"] and result["tests"]["passed"] > 30 and result["tests"]["failed"] == 0
    assert any(row["figures"] for row in result["tests"]["tests"])
    arms = {(row["k"], row["mixer"], row["way"]) for row in result["measurements"]}
    assert len(arms) == 2 * 2 * 3 and result["machine"]["gpu"] is None
    assert set(result["versions"]) == {"torch", "transformers", "espnet", "espnet-s3prl"}
    files = {file.name for file in runs["whole"].iterdir()}
    assert files == {"result.json", "table.md", "memory.png", "time.png", "batch.png", "tests.log"}


@pytest.mark.slow
def test_the_largest_batches_are_those_that_the_card_takes(runs):
    result = read(runs["whole"])
    largest = {(row["k"], row["mixer"], row["way"]): row for row in result["largest"]}
    for (k, mixer, way), row in largest.items():
        assert row["peak_bytes"] <= row["usable_bytes"] == result["plan"]["card_bytes"]
        assert row["utterances"] < row["too_many"] <= row["utterances"] + max(1, 0.04 * row["utterances"])
        if way != "today":
            assert row["utterances"] > largest[k, mixer, "today"]["utterances"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["killed", "stopped"])
def test_a_run_that_does_not_end_leaves_a_result_that_says_so(runs, name):
    result = read(runs[name])
    assert result["complete"] is False and result["plan"]["device"] == "cpu"
    if name == "stopped":
        assert "Incomplete" in (runs[name] / "table.md").read_text()


def test_help_names_every_option(tool, capsys):
    result = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True)
    assert result.returncode == 0 and result.stderr == ""
    with pytest.raises(SystemExit):
        tool.parse_arguments(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert options == {"--wheels", "--minutes", "--dry-run"}
    assert options == set(re.findall(r"--[a-z-]+", result.stdout))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: out"),
        (["OUT", "--gpu"], "unrecognized arguments: --gpu"),
        (["OUT", "--minutes", "many"], "invalid float value: 'many'"),
        (["OUT", "--minutes", "0"], "error: --minutes has to be 0.25 to 600, got 0\n"),
        (["OUT", "--minutes", "nan"], "error: --minutes has to be 0.25 to 600, got nan\n"),
    ],
)
def test_wrong_options_are_refused(tool, capsys, words, said):
    with pytest.raises(SystemExit):
        tool.main(words)
    assert said in capsys.readouterr().err


def test_a_folder_without_wheels_is_refused(tmp_path):
    said = fault_of(tmp_path / "out", "--dry-run", "--wheels", tmp_path)
    assert said == f"error: {tmp_path} holds no wheels (*.whl): collect them as docs/benchmark.md says\n"
    assert not (tmp_path / "out").exists()


def test_a_wheel_that_is_none_is_refused(tmp_path):
    (tmp_path / "espnet-1-py3-none-any.whl").write_bytes(b"no zip")
    said = fault_of(tmp_path / "out", "--dry-run", "--wheels", tmp_path)
    assert said.startswith(f"error: pip cannot install the wheels of {tmp_path}: ") and said.count("\n") == 1


def test_missing_packages_are_named_before_anything_begins(tool, monkeypatch):
    tool.require_modules()
    monkeypatch.setattr(tool, "MODULES", ("json", "no_such_one", "nor_this"))
    with pytest.raises(UserError, match=r"this Python lacks no_such_one, nor_this: run tools/setup\.sh"):
        tool.require_modules()


def test_without_a_gpu_and_dry_run_it_says_so_in_a_sentence(tmp_path):
    said = fault_of(tmp_path / "out")
    assert re.fullmatch(r"error: torch .* finds no NVIDIA GPU here: run this .*, or give --dry-run\n", said)
    assert not (tmp_path / "out").exists()


def test_a_python_that_is_too_old_is_refused(tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    environment = os.environ | {"PYTHON": str(tmp_path / "python")}
    result = subprocess.run([SCRIPT, tmp_path / "out"], env=environment, capture_output=True, text=True)
    assert result.returncode == 1 and "is no Python 3.12 or 3.13" in result.stderr
