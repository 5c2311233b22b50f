"""The scripts at the top and in tools/."""

import re
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
