"""No test of a recipe fetches anything; miniature corpora are spoken by espeak-ng."""

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import soxr
from fake_apt import FakeApt, install_fake_apt


@pytest.fixture(autouse=True)
def apt(monkeypatch) -> FakeApt:
    return install_fake_apt(monkeypatch)


@pytest.fixture(scope="session")
def speak() -> Callable[..., None]:
    """``speak(path, text, voice)`` writes speech, mono, in the format that the suffix of ``path`` names."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed (Debian: apt-get install espeak-ng)")

    def write(path: Path, text: str, voice: str, rate: int = 16000, pitch: int = 50) -> None:
        command = ["espeak-ng", "-v", voice, "-p", str(pitch), "--stdout", text]
        spoken = subprocess.run(command, capture_output=True, check=True).stdout
        samples, spoken_rate = soundfile.read(io.BytesIO(spoken))
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, soxr.resample(samples, spoken_rate, rate), rate)

    return write


@pytest.fixture(scope="session")
def run_recipe(project, shell) -> Callable[..., Path]:
    """``run_recipe(name, words..., stages=N)`` runs its stages up to N, trains little, gives its folder."""

    def run(name: str, *words: object, stages: int) -> Path:
        folder = project / "egs" / name / "asr1"
        quick = [
            "--nj",
            "1",
            "--cache",
            "false",
            "--asr_args",
            "--max_epoch 1 --num_iters_per_epoch 3 --use_matplotlib false",
        ]
        result = shell(["./run.sh", "--stop_stage", stages, *quick, *words], folder)
        print(result.stdout, result.stderr, sep="\n")
        assert result.returncode == 0
        return folder

    return run


@pytest.fixture(scope="session")
def prepare_recipe(run_recipe, shell) -> Callable[..., tuple[Path, str]]:
    """``prepare_recipe(name, words...)`` runs stages 1 and 2; gives its folder and that of its experiment.

    What follows is the same for every recipe: mini_an4 and ml_superb go on to the score.
    """

    def run(name: str, *words: object) -> tuple[Path, str]:
        folder = run_recipe(name, *words, stages=2)
        refused = shell(["./run.sh", "--stage", "4", *words], folder)
        return folder, re.search(r"error: (\S+) does not exist; run stage 3 first", refused.stderr)[1]

    return run
