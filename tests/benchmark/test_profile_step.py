"""tools/profile_step.py: its tables agree with what the benchmark counts."""

import re
import runpy
import sys

import pytest
from tiny import ROOT, TINY

from espnet_wsm.benchmark.config import read_config
from espnet_wsm.benchmark.models import write_upstream
from espnet_wsm.benchmark.worker import ArmBench

TOOL = ROOT / "tools/profile_step.py"


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(TOOL))


def call(tool, monkeypatch, *words) -> None:
    monkeypatch.setattr(sys, "argv", ["profile_step.py", *map(str, words)])
    tool["main"]()


def test_bytes_are_those_that_the_benchmark_counts_and_times_add_up(tool, monkeypatch, capsys, tmp_path):
    call(tool, monkeypatch, "--config", TINY, "--arms", "wsm_cached", "attention_cut", "--steps", "1")
    times, kept = (
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        for table in capsys.readouterr().out.strip().split("\n\n")
    )
    assert times[0] == ["ms a step, 2 x 1 s", "wsm_cached", "attention_cut"]
    assert [row[0] for row in times[2:-1]] == [*tool["KINDS"], tool["REST"]]
    config = read_config(TINY)
    upstream = write_upstream(tmp_path, config.architecture, config.seed, with_native=False)
    for column, name in enumerate(times[0][1:], start=1):
        milliseconds = [float(row[column].split()[0]) for row in times[2:-1]]
        assert milliseconds[1] > 0 and float(times[-1][column]) == pytest.approx(sum(milliseconds), abs=0.6)
        counted = ArmBench(config.arms[name], config, upstream, "cpu").measure(
            "step", 1.0, 2, "float32", count_saved=True, need=0
        )
        found = tool["profile_arm"](name, config, upstream, 1)[1]
        assert found.total() == counted["saved_bytes"] > 0
    assert all(re.fullmatch(r"[\d x]+, \w+", row[0]) for row in kept[2:-1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--arms", "wsm_cached", "nobody"), "no arm nobody; there are attention_today, "),
        (("--arms", "wsm_cached", "--steps", "0"), "--steps has to be 1 or more, got 0"),
    ],
)
def test_faulty_arguments_are_refused(tool, monkeypatch, capsys, words, said):
    with pytest.raises(SystemExit):
        call(tool, monkeypatch, "--config", TINY, *words)
    assert said in capsys.readouterr().err


def test_every_operation_has_one_kind(tool):
    kinds = {name: tool["name_kind"](f"aten::{name}") for name in ("addmm", "add_", "_ctc_loss", "made_up")}
    assert list(kinds.values()) == [
        "products of matrices",
        "sums and other element-wise operations",
        "CTC",
        tool["REST"],
    ]
