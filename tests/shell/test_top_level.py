"""The scripts at the top and in tools/."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["./run_all.sh", "--help"], "--results"),
        (["./run_tests.sh", "--help"], "pytest alone"),
        (["tools/setup.sh", "--help"], "--check"),
    ],
)
def test_help_describes_the_script_and_changes_nothing(shell, words, text):
    result = shell(words, ROOT)
    assert result.returncode == 0 and text in result.stdout and result.stderr == ""


def test_a_choice_of_tests_does_not_drop_what_stands_behind_it(shell):
    result = shell(["./run_tests.sh", "--quick", "tests/mixing"], ROOT)
    assert (
        result.returncode == 1
        and result.stderr == "error: --quick takes no more arguments, got tests/mixing\n"
    )


@pytest.fixture(scope="module")
def top(tmp_path_factory) -> Path:
    """A checkout whose environment is said to be complete; it has no upstream but that in the box."""
    folder = tmp_path_factory.mktemp("top")
    for name in ("egs/common", "conf/experiments"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("full", "whisper_base"):
        (folder / "results" / name).mkdir(parents=True)
        (folder / "results" / name / "chosen_lr.json").write_text('{"wsm": 0.1}')
    (folder / "tools").mkdir()
    (folder / "tools/setup.sh").write_text("#!/bin/sh\n")
    (folder / "tools/setup.sh").chmod(0o755)
    shutil.copy(ROOT / "run_all.sh", folder)
    return folder


# Nothing can be fetched; and an arm that does not exist, at which run_experiments stops after the choice.
OFFLINE = ["env", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=", "HF_ENDPOINT=http://127.0.0.1:9", "./run_all.sh"]
STOP = ["--arms", "nothing"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "run_all.sh: whisper_base cannot be fetched (see above)\nrun_all.sh: upstream box\ndefault_box:",
        ),
        (["--upstream", "box"], "run_all.sh: upstream box\ndefault_box:"),
        (["--upstream", "my/model"], "run_all.sh: upstream my/model\ndefault: grid 1: arm 'nothing'"),
        (["--upstream", "whisper_base"], "the upstream in the box needs no network: --upstream box"),
        (["--full"], "the upstream in the box needs no network: --upstream box"),
        (["--full", "--upstream", "box"], "run_all.sh: upstream box\nfull has a sweep or several blocks"),
        (["--full", "--upstream", "my/model"], "not for my/model: give --config too"),
    ],
)
def test_run_all_says_which_upstream_it_takes(shell, top, words, said):
    result = shell([*OFFLINE, *words, *STOP], top)
    assert result.returncode == 1
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in result.stderr.splitlines()]
    lines = [line.removeprefix("error: conf/experiments/").replace(".yaml", "", 1) for line in lines]
    assert said in "\n".join(lines)


def test_run_all_takes_whisper_where_it_is(shell, top):
    (top / "upstreams/whisper_base").mkdir(parents=True)
    (top / "upstreams/whisper_base/upstream.json").touch()
    try:
        result = shell([*OFFLINE, *STOP], top)
    finally:
        shutil.rmtree(top / "upstreams")
    assert "run_all.sh: upstream whisper_base\n" in result.stderr
    assert "conf/experiments/default.yaml: grid 1: arm 'nothing' is none of" in result.stderr


def test_setup_knows_that_it_is_complete_and_refuses_unknown_arguments(shell):
    if (ROOT / ".venv/.setup_complete").exists():
        assert shell(["tools/setup.sh", "--check"], ROOT).returncode == 0
        table = shell(["tools/setup.sh"], ROOT).stdout
        assert re.search(r"^ +torch +2\.\d+", table, re.MULTILINE) and "sclite" in table
    result = shell(["tools/setup.sh", "--force"], ROOT)
    assert result.returncode == 1 and "unknown argument --force" in result.stderr


def test_setup_notices_a_missing_environment(shell, tmp_path):
    (tmp_path / "tools").mkdir()
    for name in ("setup.py", "tools/setup.sh"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    assert shell(["bash", "tools/setup.sh", "--check"], tmp_path).returncode == 1
    assert not (tmp_path / ".venv").exists()
