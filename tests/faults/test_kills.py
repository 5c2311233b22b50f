"""Kills at random moments: every stage is killed again and again, and ends as if it had never been.

Eight of them; ``./run_tests.sh --all`` takes twenty. ``KILLS`` and ``KILLS_SEED`` in the environment take
other numbers; ``pytest -s`` shows the table.
"""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from processes import is_session_alive, kill_session, wait_for

STAGES = {1: "data", 2: "frontend", 3: "train", 4: "decode", 5: "score"}
KILLS = int(os.environ.get("KILLS", "8"))
SEED = int(os.environ.get("KILLS_SEED", "0"))
# Logs, records and curves hold times, also those of the audio that features belong to; .lock tells who wrote.
IGNORED = {"log", "images", "train.log", "run.json", "utt2audio", ".lock", "checkpoint.pth", "config.yaml"}
IGNORED |= {"train.progress.json", "report.html"}


def read_json(path: Path) -> list[bytes]:
    """The lines, without a digest of a checkpoint, whose equal weights may be pickled otherwise."""
    return [line for line in path.read_bytes().splitlines() if b'"model_digest"' not in line]


READERS = {".pth": torch.load, ".safetensors": safetensors.torch.load_file, ".json": read_json}


def words(stage: int) -> list[str]:
    """The command that is killed and given again."""
    return ["./run.sh", "--stage", str(stage), "--stop_stage", str(stage), "--asr_args", "--max_epoch 4"]


def read_outputs(recipe: Path) -> dict[str, object]:
    """What the stages have left, by name: bytes, or weights."""
    found: dict[str, object] = {}
    for folder in ("data", "dump", "exp", "RESULTS.md"):
        for path in sorted([recipe / folder, *(recipe / folder).rglob("*")]):
            name = path.relative_to(recipe)
            if not path.is_file() or IGNORED & set(name.parts):
                continue
            found[str(name)] = READERS.get(path.suffix, Path.read_bytes)(path)
    return found


def differ(one: object, other: object) -> bool:
    """Whether two files do."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() != other.keys() or any(not torch.equal(one[name], other[name]) for name in one)
    return one != other


@pytest.fixture(scope="module")
def recipe(copy_recipe) -> Path:
    """A recipe folder of its own."""
    return copy_recipe("kills")


@pytest.fixture(scope="module")
def whole(recipe, plain_shell) -> tuple[dict[str, object], dict[int, float]]:
    """What the stages leave when nobody kills them, and the seconds that each takes."""
    seconds = {}
    for stage in STAGES:
        start = time.monotonic()
        result = plain_shell(words(stage), recipe)
        seconds[stage] = time.monotonic() - start
        assert result.returncode == 0, result.stderr
    return read_outputs(recipe), seconds


@pytest.mark.recipe
def test_every_stage_survives_kills_at_random_moments(whole, recipe, environment, shell):
    expected, seconds = whole[0], dict(whole[1])
    for folder in ("data", "dump", "exp"):
        shutil.rmtree(recipe / folder)
    (recipe / "RESULTS.md").unlink()
    rng = random.Random(SEED)
    table, kills = [], 0
    for number, stage in enumerate(STAGES):
        for _ in range((KILLS * (number + 1)) // len(STAGES) - (KILLS * number) // len(STAGES)):
            for _attempt in range(2):
                moment, alone = rng.uniform(0, seconds[stage]), rng.random() < 0.25
                start = time.monotonic()
                result = kill_after(moment, alone, stage, recipe, environment)
                table.append(
                    f"| {stage} {STAGES[stage]} | {moment:.2f} of {seconds[stage]:.1f} s | {result} |"
                )
                if result.startswith("killed"):
                    kills += 1
                    break
                seconds[stage] = time.monotonic() - start  # less was left to do, or the machine is less busy
        result = shell(words(stage), recipe)
        print("\n".join(table), flush=True)
        assert result.returncode == 0, result.stderr
    outputs = read_outputs(recipe)
    print(f"seed {SEED}: {kills} kills; {len(outputs)} files compared with those of a run without kills")
    assert outputs.keys() ^ expected.keys() == set()
    assert not [name for name in expected if differ(expected[name], outputs[name])]
    assert kills > KILLS / 2, "most moments came after the end: nothing was tested"


def kill_after(moment: float, alone: bool, stage: int, recipe: Path, environment: dict[str, str]) -> str:
    """Start a stage and kill all its processes, or run.sh ``alone``, whose children end by themselves."""
    process = subprocess.Popen(
        words(stage), cwd=recipe, env=environment, start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        if alone:
            process.kill()
            process.wait()
            wait_for(lambda: not is_session_alive(process.pid), seconds=120)
        else:
            kill_session(process)
        return f"killed ({'run.sh alone' if alone else 'all processes'})"
    assert process.returncode == 0, process.stderr.read()
    return "had ended before"
