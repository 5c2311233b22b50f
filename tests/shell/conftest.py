"""A copy of the shell part of the project, so that tests leave the recipes of the checkout alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """``egs`` and ``conf`` in an empty folder; nothing that a run has made there."""
    copy = tmp_path_factory.mktemp("project")
    made = shutil.ignore_patterns("data", "dump", "exp", "downloads", "RESULTS.md", "__pycache__")
    for name in ("egs", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=made)
    return copy


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """That of these tests, with their Python in front."""
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    variables.pop("ESPNET_WSM_COMMAND", None)
    return variables


@pytest.fixture(scope="session")
def slurm(environment, tmp_path_factory):
    """A Slurm of one node, for as long as these tests run; commands of ``shell`` use it."""
    for program in ("slurmctld", "slurmd", "sbatch"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: apt-get install slurm-wlm)")
    if os.geteuid() != 0:
        pytest.skip("slurmd can be started by root alone")
    folder = tmp_path_factory.mktemp("slurm")
    tools = ROOT / "tools" / "slurm"
    started = subprocess.run([tools / "start.sh", folder, "8"], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    environment["SLURM_CONF"] = str(folder / "slurm.conf")
    yield folder
    del environment["SLURM_CONF"]
    subprocess.run([tools / "stop.sh", folder], check=True)


@pytest.fixture(scope="session")
def shell(environment):
    """``shell(words, cwd)`` runs a command in that environment and captures its output."""

    def run(words: list[str], cwd: Path, **more) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, **more
        )

    return run
