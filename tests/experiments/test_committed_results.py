"""The reports in the repository are those that the records beside them give."""

import shutil
import subprocess
from pathlib import Path

import pytest

from espnet_wsm.experiments.grid import read_grid
from espnet_wsm.experiments.report import REPORT, write_report
from espnet_wsm.experiments.runner import Runner

ROOT = Path(__file__).parents[2]
# Their common report stands at the top of the repository.
LEADING = ("whisper_base_more", "whisper_base", "full")
TRACKED = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files", "results/*/grid.json"], capture_output=True, text=True, check=True
)
NAMES = [Path(line).parent.name for line in TRACKED.stdout.splitlines()]
SHIPPED = "../../debian_multi/ssl1/hubert_debian_multi"
GRIDS = sorted(path.name for path in (ROOT / "conf/experiments").glob("*.yaml"))


def test_there_are_results():
    assert set(LEADING) <= set(NAMES)


@pytest.mark.parametrize(
    "names", [LEADING, *((name,) for name in NAMES if name not in LEADING)], ids=" ".join
)
def test_a_report_is_what_its_records_give(names, tmp_path, no_drawing):
    copies = [tmp_path / "results" / name for name in names]
    for name, copy in zip(names, copies, strict=True):
        shutil.copytree(ROOT / "results" / name, copy, ignore=shutil.ignore_patterns("figures"))
    out = Path("RESULTS.md" if names == LEADING else f"results/{names[0]}/{REPORT}")
    write_report(copies, out=tmp_path / out)
    assert (tmp_path / out).read_text(encoding="utf-8") == (ROOT / out).read_text(encoding="utf-8")
    for name, copy in zip(names, copies, strict=True):
        drawn = {path.name for path in copy.glob("figures/*")}
        assert drawn and {path.name for path in (ROOT / "results" / name).glob("figures/*")} == drawn


@pytest.mark.parametrize("name", GRIDS)
def test_grids_for_the_upstream_in_the_box_say_so_by_its_digest(name, tmp_path):
    grid = read_grid(ROOT / "conf/experiments" / name)
    if grid.upstream == SHIPPED:
        assert grid.upstream_digest in Runner(ROOT, grid, tmp_path, "run.pl", 1).upstream


def test_the_grids_of_run_all_are_for_the_upstreams_that_it_names():
    box, whisper = SHIPPED, "../../../upstreams/whisper_base"
    wanted = {"default": whisper, "whisper_base": whisper, "default_box": box, "full": box}
    found = {name: read_grid(ROOT / f"conf/experiments/{name}.yaml").upstream for name in wanted}
    assert found == wanted
