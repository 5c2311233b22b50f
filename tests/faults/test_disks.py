"""Disks that are full, read-only, damaged or of another clock: nothing is lost, and it is said what to do."""

import os
import re
import subprocess
from pathlib import Path

import pytest

QUICK = ["--asr_args", "--max_epoch 1 --use_matplotlib false"]


@pytest.fixture(scope="module")
def recipe(copy_recipe, shell) -> Path:
    """A recipe folder with the first two stages done."""
    folder = copy_recipe("disks")
    result = shell(["./run.sh", "--stop_stage", "2"], folder)
    assert result.returncode == 0, result.stderr
    return folder


def stage(number: int, *more: str) -> list[str]:
    return ["./run.sh", "--stage", str(number), "--stop_stage", str(number), *QUICK, *more]


@pytest.mark.recipe
@pytest.mark.parametrize("size", ["120k", "350k"])
def test_a_full_disk_under_the_dump(recipe, shell, mount, size):
    mount(recipe / "small", "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    words = stage(2, "--dump_dir", "small/dump")
    full = shell(words, recipe)
    assert full.returncode == 1 and "No space left on device: make room on that disk" in full.stderr
    assert "Traceback" not in full.stderr and not list((recipe / "small").rglob(".*.tmp"))
    refused = shell(stage(3, "--dump_dir", "small/dump"), recipe)
    assert refused.returncode == 1 and re.search("run it again|Run stage 2 again", refused.stderr)
    subprocess.run(["mount", "-o", "remount,size=20m", str(recipe / "small")], check=True)
    assert shell(words, recipe).returncode == 0
    lists = [path.relative_to(recipe / "dump") for path in (recipe / "dump/raw").rglob("text")]
    assert lists
    for name in lists:
        assert (recipe / "small/dump" / name).read_bytes() == (recipe / "dump" / name).read_bytes()


@pytest.mark.recipe
def test_a_full_disk_under_the_experiment(recipe, shell, mount):
    mount(recipe / "exp_small", "-t", "tmpfs", "-o", "size=12m", "tmpfs")
    words = stage(3, "--exp_dir", "exp_small", "--asr_args", "--max_epoch 2")
    full = shell(words, recipe)
    assert full.returncode == 1 and "No space left on device: make room on that disk" in full.stderr
    assert "checkpoint.pth" in full.stderr and not list((recipe / "exp_small").rglob("*.pth"))
    subprocess.run(["mount", "-o", "remount,size=100m", str(recipe / "exp_small")], check=True)
    result = shell(words, recipe)
    assert result.returncode == 0, result.stderr


@pytest.mark.recipe
def test_a_read_only_dump_is_read_and_not_written(recipe, shell, mount):
    mount(recipe / "dump", "--bind", str(recipe / "dump"))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(recipe / "dump")], check=True)
    refused = shell(stage(2), recipe)
    assert refused.returncode == 1 and "dump cannot be written: check its permissions" in refused.stderr
    trained = shell(stage(3, "--tag", "read_only"), recipe)
    assert trained.returncode == 0, trained.stderr


@pytest.mark.recipe
def test_a_folder_of_logs_that_is_a_file(recipe, shell):
    (recipe / "exp/asr_log").mkdir(parents=True, exist_ok=True)
    (recipe / "exp/asr_log/train.log").mkdir()
    result = shell(stage(3, "--tag", "log"), recipe)
    assert result.returncode == 1 and "the log exp/asr_log/train.log cannot be written" in result.stderr


@pytest.mark.recipe
def test_damaged_and_missing_features(recipe, shell):
    shard = next((recipe / "dump/cache").glob("*/train/features*.safetensors"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    damaged = shell(stage(3, "--tag", "damaged"), recipe)
    assert damaged.returncode == 1 and "not those that were written: delete that file" in damaged.stderr
    shard.unlink()
    missing = shell(stage(3, "--tag", "damaged"), recipe)
    assert missing.returncode == 1 and f"{shard.name}, named in" in missing.stderr
    assert shell(stage(2), recipe).returncode == 0
    again = next((recipe / "dump/cache").glob("*/train/features*.safetensors"))
    assert len(again.read_bytes()) == len(whole)


@pytest.mark.recipe
def test_clocks_of_other_machines_do_not_matter(recipe, shell):
    for number, path in enumerate(sorted([*(recipe / "data").rglob("*"), *(recipe / "dump").rglob("*")])):
        os.utime(path, (0, 0) if number % 2 else (4e9, 4e9))  # 1970 and 2096
    audio = {path: path.stat().st_mtime_ns for path in (recipe / "dump").rglob("*.flac")}
    result = shell(stage(2), recipe)
    assert result.returncode == 0 and "dump already belongs to data and these options" in result.stderr
    assert audio == {path: path.stat().st_mtime_ns for path in audio}
    assert shell(stage(3, "--tag", "clock"), recipe).returncode == 0
