"""Real-time factors: what is measured, skipped, kept and shown."""

import json
from pathlib import Path

import pytest
import torch

from espnet_wsm.benchmark import inference
from espnet_wsm.benchmark.inference import (
    PARTS,
    WAYS,
    find_upstream,
    measure,
    read_result,
    render,
    write_result,
)
from espnet_wsm.benchmark.models import write_upstream

FACTS = {"date": "today", "git": "abc", "versions": {"torch": "2"}}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inference")
    return inference.write_experiment(folder / "asr", write_upstream(folder, "tiny", 0, with_native=False))


@pytest.mark.parametrize("name", WAYS)
def test_each_way_is_measured_part_by_part(experiment, name, monkeypatch):
    kept = []
    monkeypatch.setattr(inference, "keep_memory", lambda: kept.append(True))
    found = measure(experiment, name, rounds=2, seconds=(0.5, 1.0))
    assert len(found["rounds_s"]) == 2 and found["real_time_factor"] > 0 < found["processor_factor"]
    assert found["shares"].keys() == set(PARTS) and all(share > 0 for share in found["shares"].values())
    assert sum(found["shares"].values()) <= 1 and len(kept) == WAYS[name].keeps_memory


def test_the_table_compares_with_before_and_says_what_was_skipped(tmp_path):
    found = {
        name: {
            "real_time_factor": 0.4,
            "processor_factor": factor,
            "shares": dict.fromkeys(PARTS, 0.25),
            "other_cpu": 0.52,
        }
        for name, factor in zip(WAYS, (0.2, 0.1, 0.05), strict=True)
    }
    result = read_result(tmp_path, FACTS)
    result["upstreams"]["box"] = {"start_s": 9.9, "start_processor_s": 2.34, "ways": found}
    write_result(result, tmp_path)
    result = read_result(tmp_path, FACTS)  # a later call keeps it
    result["upstreams"]["other"] = {"skipped": "x is not there"}
    write_result(result, tmp_path)
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["upstreams"].keys() == {"box", "other"} and stored["threads"] == torch.get_num_threads()
    table = (tmp_path / "table.md").read_text()
    assert table == render(stored) + "\n" and "skipped: x is not there" in table
    cells = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if "| box" in line]
    assert [row[5:7] for row in cells] == [["0.2000", "1.00"], ["0.1000", "2.00"], ["0.0500", "4.00"]]
    assert all(row[3:5] + row[7:11] == ["0.4000", "0.5", *["25 %"] * 3, "2.3"] for row in cells)


def test_an_upstream_that_is_not_there_is_named(tmp_path):
    place = tmp_path / "whisper_base"
    assert find_upstream("whisper_base", {"whisper_base": place}, tmp_path) == f"{place} is not there"
    place.mkdir()
    assert find_upstream("whisper_base", {"whisper_base": place}, tmp_path) == place
    assert (find_upstream("tiny", {}, tmp_path) / "config.json").is_file()
