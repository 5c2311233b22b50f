"""Tiny random upstreams and waveforms, and a copy of the recipes that leaves the checkout alone."""

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from browser import browser, open_page  # noqa: F401
from checkpoints import CHECKPOINTS, POST_NORM, PRE_NORM
from processes import wait_for

ROOT = Path(__file__).parents[1]
# The process that a person has started: with pytest-xdist it alone outlives its workers.
MAIN_PROCESS = "ESPNET_WSM_TESTS"


# In this order: what takes long begins first, so that no worker is left alone with it.
SLOW_MARKS = ("slurm", "recipe", "slow", "large")
SLOW_FILES = ("test_benchmark.py", "test_families.py")


def pytest_configure(config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[MAIN_PROCESS] = str(os.getpid())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Slurm or a browser, and put files with slow tests in front."""
    for item in items:
        launcher = item.callspec.params.get("launcher") if hasattr(item, "callspec") else None
        if "slurm" in (*item.fixturenames, launcher):
            item.add_marker("slurm")
        if "browser" in item.fixturenames:
            item.add_marker("browser")
    ranks: dict[Path, int] = {}  # by file, that of its slowest kind of test
    for item in items:
        kinds = [number for number, name in enumerate(SLOW_MARKS) if item.get_closest_marker(name)]
        unmarked = len(SLOW_MARKS) + (item.path.name not in SLOW_FILES)
        ranks[item.path] = min([ranks.get(item.path, unmarked), *kinds])
    items.sort(key=lambda item: ranks[item.path])


def pytest_terminal_summary(terminalreporter) -> None:
    """What was skipped for want of a package, and the command that installs it."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    missing = [name for reason in reasons for name in re.findall(r"apt-get install ([\w-]+)", reason)]
    if missing:
        command = f"apt-get install {' '.join(sorted(set(missing)))}"
        terminalreporter.write_line(f"{len(missing)} tests were skipped that would run after: {command}")


@pytest.fixture(autouse=True)
def skip_without_sclite(request: pytest.FixtureRequest) -> None:
    from espnet_wsm.scoring.sclite import NOT_FOUND, find_sclite

    if request.node.get_closest_marker("sclite") and find_sclite() is None:
        pytest.skip(NOT_FOUND)


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


@pytest.fixture(
    params=[
        pytest.param("cpu", marks=pytest.mark.device),
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.device,
                pytest.mark.cuda,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
            ],
        ),
    ]
)
def device(request) -> Iterator[torch.device]:
    """The CPU, and an NVIDIA GPU where there is one, whose products are then in full float32."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield torch.device(request.param)
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


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
def forking_python(tmp_path_factory, environment) -> Path:
    """A folder with a ``python`` that starts at once, see ``tests/forking``. One server serves all."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "forking"
    folder.mkdir(exist_ok=True)
    socket, tests = folder / "socket", ROOT / "tests"
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not socket.exists():
            python = folder / "python"
            words = [sys.executable, "-I", "-S", tests / "forking/client.py", socket, sys.executable]
            python.write_text(f'#!/bin/sh\nexec {" ".join(map(str, words))} "$@"\n')
            python.chmod(0o755)
            # As stage scripts set them: a fork cannot change what an interpreter reads at its start.
            started = {"LC_ALL": "C", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
            with open(folder / "log", "w") as log:
                server = subprocess.Popen(
                    [sys.executable, "-m", "forking.server", str(socket), os.environ[MAIN_PROCESS]],
                    cwd=tests, env=environment | started, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            wait_for(lambda: socket.exists() or server.poll() is not None)
    return folder


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
def shell(environment, forking_python):
    """``shell(words, cwd)`` runs a command in that environment and captures its output.

    Its Python processes are forks of one that has imported ESPnet; ``plain_shell`` has none of that.
    """
    return functools.partial(run_command, environment, f"{forking_python}:")


@pytest.fixture(scope="session")
def plain_shell(environment):
    """``shell`` with Python as it is installed."""
    return functools.partial(run_command, environment, "")


def run_command(
    environment: dict[str, str], in_front: str, words: list[str], cwd: Path, **more
) -> subprocess.CompletedProcess:
    """Run ``words`` in ``cwd`` with a folder in front of PATH and capture what they print."""
    variables = environment | {"PATH": f"{in_front}{environment['PATH']}"}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=variables, capture_output=True, text=True, **more
    )


@pytest.fixture
def mount():
    """``mount(folder, *options)``, with the options of that program; unmounted afterwards."""
    mounted: list[Path] = []

    def do(folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        result = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"nothing can be mounted here: {result.stderr.strip()}")
        mounted.append(folder)

    yield do
    for folder in reversed(mounted):
        subprocess.run(["umount", str(folder)], check=True)
