"""What espnet-wsm --version prints."""

import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import espnet_wsm
from espnet_wsm.cli import versions

ROOT = Path(__file__).parents[2]


def read_rows(table: str) -> dict[str, str]:
    return dict(line.split(None, 1) for line in table.splitlines())


def test_version_names_what_a_bug_report_needs():
    command = [sys.executable, "-m", "espnet_wsm", "--version"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = read_rows(result.stdout)
    assert rows["espnet_wsm"].startswith(espnet_wsm.__version__)
    assert rows["python"] == platform.python_version()
    assert platform.system() in rows["platform"]
    for package in ("torch", "espnet", "espnet-s3prl", "transformers", "numpy"):
        assert rows[package] == version(package)
    assert rows["cuda"] and rows["sclite"]


def test_the_commit_of_a_checkout_is_named_and_that_of_another_project_is_not(tmp_path, monkeypatch):
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "c"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    assert re.search(r", commit [0-9a-f]{7,}\n", versions.format_versions())
    installed = tmp_path / "lib"
    installed.mkdir()
    monkeypatch.setattr(versions, "ROOT", installed)
    assert "commit" not in versions.format_versions()


def test_packages_and_tools_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(versions, "PACKAGES", ("no-such-package",))
    monkeypatch.setattr(versions, "find_sclite", lambda: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    rows = read_rows(versions.format_versions())
    assert rows["no-such-package"] == "not installed"
    assert rows["sclite"].startswith("not installed")
    assert rows["cuda"].startswith("torch cannot be imported")


@pytest.mark.parametrize("count", [1, 2])
def test_gpus_are_named(count, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert read_rows(versions.format_versions())["cuda"] == ", ".join(
        ["13.0", *(f"Card {index}" for index in range(count))]
    )


def test_setup_prints_the_same_table():
    assert (ROOT / "tools/setup.sh").read_text().rstrip().endswith(".venv/bin/python -m espnet_wsm --version")
