"""The reports in the repository are those that the records beside them give."""

import shutil
import subprocess
from pathlib import Path

import pytest

from espnet_wsm.experiments.grid import read_grid
from espnet_wsm.experiments.report import REPORT, write_report
from espnet_wsm.experiments.runner import Runner

ROOT = Path(__file__).parents[2]
FULL = "full"  # its report stands at the top of the repository
TRACKED = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files", "results/*/grid.json"], capture_output=True, text=True, check=True
)
NAMES = [Path(line).parent.name for line in TRACKED.stdout.splitlines()]
SHIPPED = "../../debian_multi/ssl1/hubert_debian_multi"
GRIDS = sorted(path.name for path in (ROOT / "conf/experiments").glob("*.yaml"))


def test_there_are_results():
    assert FULL in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_report_is_what_its_records_give(name, tmp_path, no_drawing):
    folder = ROOT / "results" / name
    copy = tmp_path / "results" / name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("figures"))
    out = tmp_path / "RESULTS.md" if name == FULL else copy / REPORT
    write_report(copy, out=out)
    committed = ROOT / "RESULTS.md" if name == FULL else folder / REPORT
    assert out.read_text(encoding="utf-8") == committed.read_text(encoding="utf-8")
    drawn = {path.name for path in copy.glob("figures/*")}
    assert drawn and {path.name for path in folder.glob("figures/*")} == drawn


@pytest.mark.parametrize("name", GRIDS)
def test_grids_for_the_upstream_in_the_box_say_so_by_its_digest(name, tmp_path):
    grid = read_grid(ROOT / "conf/experiments" / name)
    if grid.upstream == SHIPPED:
        assert grid.upstream_digest in Runner(ROOT, grid, tmp_path, "run.pl", 1).upstream
    else:
        assert grid.upstream_digest is None


def test_the_grids_of_run_all_are_for_it():
    assert {"default.yaml", "full.yaml"} <= set(GRIDS)
    assert all(
        read_grid(ROOT / f"conf/experiments/{name}.yaml").upstream == SHIPPED for name in ("default", FULL)
    )
