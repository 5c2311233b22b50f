"""Tiny random upstreams and waveforms, and a copy of the recipes that leaves the checkout alone."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import CHECKPOINTS, POST_NORM, PRE_NORM

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def upstream_path(tmp_path_factory) -> Callable[[str, bool], str]:
    """``upstream_path(family, pre_norm)`` gives the path of a tiny random upstream."""
    root: Path = tmp_path_factory.mktemp("upstreams")

    @functools.cache
    def get(family: str, pre_norm: bool) -> str:
        place = root / f"{family}_{'pre' if pre_norm else 'post'}"
        return str(CHECKPOINTS[family, PRE_NORM if pre_norm else POST_NORM](place))

    return get


@pytest.fixture(params=["hf_hubert", "hf_wav2vec2", "hubert", "wav2vec2"])
def family_name(request) -> str:
    """Two families of transformers and two of S3PRL; tests/upstream/test_families.py has them all."""
    return request.param


@pytest.fixture(params=[False, True], ids=["post_norm", "pre_norm"])
def pre_norm(request) -> bool:
    """Both places of the norm."""
    return request.param


@pytest.fixture
def wavs() -> list[torch.Tensor]:
    """Three waveforms of different length: 1 s, 0.6 s, 0.3 s."""
    generator = torch.Generator().manual_seed(7)
    return [0.1 * torch.randn(n, generator=generator) for n in (16000, 9600, 4800)]


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """``egs`` and ``conf`` in an empty folder; nothing that a run has made there."""
    copy = tmp_path_factory.mktemp("project")
    made = shutil.ignore_patterns("data", "dump", "exp", "downloads", "RESULTS.md", "__pycache__")
    for name in ("egs", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=made)
    return copy


@pytest.fixture(scope="session")
def copy_recipe(project) -> Callable[[str], Path]:
    """``copy_recipe(name)`` gives mini_an4 before its first stage, as egs/NAME/asr1."""
    made = shutil.ignore_patterns("data", "dump", "exp", "RESULTS.md")
    return lambda name: shutil.copytree(
        project / "egs/mini_an4/asr1", project / "egs" / name / "asr1", ignore=made
    )


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
