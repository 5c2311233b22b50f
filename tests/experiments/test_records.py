"""What is kept of a run: written and read again, and read from ESPnet's checkpoint."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from synthetic import Synthetic, make_run

from espnet_wsm.errors import UserError
from espnet_wsm.experiments.records import (
    keep_reference,
    read_epochs,
    read_record,
    read_records,
    read_transfer,
    record_path,
    score_texts,
)
from espnet_wsm.experiments.runs import INFINITE


def write_checkpoint(folder: Path, *epochs: dict) -> Path:
    """A checkpoint with these epochs, the last one first."""
    stats = {}
    for number, epoch in reversed(list(enumerate(epochs, start=1))):
        stats[number] = {
            "train": {"loss": epoch.get("train", 100.5), "time": {"__timedelta_seconds__": 12.25}},
            "valid": {
                "loss": epoch.get("valid", 50.25),
                "cer_ctc": epoch.get("cer", 0.9),
                "acc": math.nan,
                "time": {"__timedelta_seconds__": 1.5},
            },
            "att_plot": {"time": {"__timedelta_seconds__": 2.5}, "total_count": 1},
        }
    torch.save({"reporter": {"epoch": len(epochs), "stats": stats}}, folder / "checkpoint.pth")
    return folder / "checkpoint.pth"


def test_a_record_is_read_as_it_was_written(tmp_path):
    synthetic = Synthetic(tmp_path)
    run = make_run("local", window=INFINITE, width=64, minutes=5, lr=5e-4)
    written = synthetic.add(run)
    found = read_record(record_path(tmp_path, run))
    assert found.run == run
    assert {name: getattr(found, name) for name in ("fingerprint", "trainable", "seconds", "curves")} == {
        name: getattr(written, name) for name in ("fingerprint", "trainable", "seconds", "curves")
    }
    assert set(found.sets) == {"dev", "test"}
    assert len(found.sets["test"].ids) == synthetic.number


def test_a_run_of_the_sweep_has_no_test_set(tmp_path):
    run = make_run(lr=1e-3, sweep=True)
    Synthetic(tmp_path).add(run)
    assert set(read_record(record_path(tmp_path, run)).sets) == {"dev"}


def test_rates_are_those_of_the_errors(tmp_path):
    run = make_run()
    Synthetic(tmp_path).add_errors(run, [0, 3, 6])
    counts = read_record(record_path(tmp_path, run)).sets["test"]
    assert counts.rate("cer") == pytest.approx(100 * 9 / 30)
    assert counts.rate("wer") == pytest.approx(100 * 4 / 6)
    assert counts.ids == ("anna-000", "anna-001", "anna-002")
    np.testing.assert_array_equal(counts.errors["cer"], [0, 3, 6])


def test_texts_are_scored_by_words_and_characters(tmp_path):
    reference, hypothesis = tmp_path / "ref", tmp_path / "hyp"
    reference.write_text("a one two\nb three\n")
    hypothesis.write_text("a one too\nb\n")
    assert score_texts(reference, hypothesis) == [("a", 2, 1, 7, 1, "one too"), ("b", 1, 1, 5, 5, "")]


def test_all_records_are_read_in_order(tmp_path):
    synthetic = Synthetic(tmp_path, number=2)
    for arm, corpus in (("wsm", "b_en"), ("sm", "a_en"), ("wsm", "a_en")):
        synthetic.add(make_run(arm, corpus))
    records = read_records(tmp_path)
    assert [r.run.title for r in records] == ["a_en/sm-k2-all-s0", "a_en/wsm-k2-all-s0", "b_en/wsm-k2-all-s0"]


@pytest.mark.parametrize("content", ["", "{", "null", "[]", "{}", '{"run": {"corpus": "toy"}}'])
def test_a_damaged_record_is_named(tmp_path, content):
    run = make_run()
    Synthetic(tmp_path).add(run)
    path = record_path(tmp_path, run)
    path.write_text(content)
    with pytest.raises(UserError, match="damaged") as caught:
        read_record(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", ["header", "row", "number", "gone", "without test"])
def test_damaged_counts_are_named(tmp_path, damage):
    run = make_run()
    Synthetic(tmp_path).add(run)
    path = record_path(tmp_path, run).with_suffix(".tsv")
    lines = path.read_text().split("\n")
    if damage == "gone":
        path.unlink()
    elif damage == "without test":
        path.write_text("\n".join(line for line in lines if not line.startswith("test")))
    else:
        line = {"header": 0, "row": 1, "number": 2}[damage]
        lines[line] = (
            lines[line].replace("\t", "\tx", 3) if damage == "number" else lines[line].split("\t", 1)[0]
        )
        path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"wsm-k2-all-s0.json or its .tsv is damaged"):
        read_records(tmp_path)


@pytest.mark.parametrize("sweep", [False, True])
@pytest.mark.parametrize("damage", ["lost", "twice", "reference"])
def test_other_utterances_than_the_references_are_refused(tmp_path, damage, sweep):
    run = make_run(lr=1e-3, sweep=sweep)
    Synthetic(tmp_path).add(run)
    path = record_path(tmp_path, run).with_suffix(".tsv")
    reference = tmp_path / "references/toy_en/dev"
    changed = reference if damage == "reference" else path
    lines = changed.read_text().split("\n")
    changed.write_text("\n".join(lines[:2] + lines[1 if damage == "twice" else 3 :]))
    with pytest.raises(UserError, match="has other utterances of dev than") as caught:
        read_records(tmp_path)
    assert str(path) in str(caught.value) and str(reference) in str(caught.value)


def test_a_damaged_reference_is_not_blamed_on_the_record(tmp_path):
    run = make_run()
    Synthetic(tmp_path).add(run)
    (tmp_path / "references/toy_en/test").write_bytes(b"anna \xff\n")
    with pytest.raises(UserError, match="references/toy_en/test:1: not UTF-8"):
        read_records(tmp_path)


def test_curves_hold_a_value_per_epoch_in_their_order(tmp_path):
    seconds, curves = read_epochs(write_checkpoint(tmp_path, {}, {"train": 95.0, "cer": 0.5}))
    assert curves == {
        "train loss": [100.5, 95.0],
        "valid loss": [50.25, 50.25],
        "valid cer_ctc": [0.9, 0.5],
    }
    assert seconds == 2 * (12.25 + 1.5 + 2.5)


def test_a_loss_that_is_no_number_keeps_its_epoch(tmp_path):
    _, curves = read_epochs(write_checkpoint(tmp_path, {}, {"train": math.nan, "valid": math.inf}, {}))
    assert math.isnan(curves["train loss"][1])
    assert curves["valid loss"] == [50.25, math.inf, 50.25]


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other"])
def test_a_checkpoint_without_epochs_is_named(tmp_path, damage):
    path = write_checkpoint(tmp_path, {}, {})
    if damage == "gone":
        path.unlink()
    elif damage in ("empty", "cut"):
        path.write_bytes(path.read_bytes()[: 100 if damage == "cut" else 0])
    else:
        torch.save({"model": {}}, path)
    with pytest.raises(UserError, match=r"checkpoint.pth does not hold the epochs of a training"):
        read_epochs(path)


def write_transfer(folder: Path) -> Path:
    """An experiment whose blocks had learnt, in a recipe's folder; gives the experiment's."""
    exp, transfer = folder / "exp/it/asr_grid/wsm-0", folder / "exp/it/transfer_wsm_k2_01234567"
    exp.mkdir(parents=True)
    transfer.mkdir()
    named = "exp/it/transfer_wsm_k2_01234567/blocks.pth:encoder:encoder"
    (exp / "config.yaml").write_text(yaml.safe_dump({"init_param": [named]}))
    curve = {"layers": [5, 6], "steps": [0, 10, 20], "seconds": 3.26}
    content = {"layers": [5, 6], "error": [0.25, 0.5], "curve": curve}
    (transfer / "transfer.json").write_text(json.dumps(content))
    return exp


def test_what_a_transfer_left_is_kept_with_the_run(tmp_path):
    learnt = read_transfer(write_transfer(tmp_path))
    assert learnt == {"left": {"5": 0.25, "6": 0.5}, "steps": 20, "seconds": 3.3}
    run = make_run("wsm_transfer")
    Synthetic(tmp_path).add(run, transfer=learnt)
    assert read_record(record_path(tmp_path, run)).transfer == learnt
    other = make_run("wsm")
    Synthetic(tmp_path).add(other)
    assert read_record(record_path(tmp_path, other)).transfer is None
    assert '"transfer"' not in record_path(tmp_path, other).read_text()


def test_an_experiment_without_a_transfer_has_none(tmp_path):
    assert read_transfer(tmp_path) is None
    (tmp_path / "config.yaml").write_text("init_param: [../model.pth]\n")
    assert read_transfer(tmp_path) is None


@pytest.mark.parametrize("content", [None, "", "{}", '{"layers": [5], "error": [], "curve": {}}'])
def test_a_transfer_that_cannot_be_read_is_named(tmp_path, content):
    exp = write_transfer(tmp_path)
    (file,) = tmp_path.glob("exp/it/transfer_*/transfer.json")
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(UserError, match=r"transfer.json is missing or damaged .*: delete .*wsm-0"):
        read_transfer(exp)


def test_a_reference_is_kept_once_and_another_refused(tmp_path):
    text = tmp_path / "text"
    text.write_text("a one\n")
    keep_reference(tmp_path, "toy", "test", text)
    keep_reference(tmp_path, "toy", "test", text)
    assert (tmp_path / "references/toy/test").read_text() == "a one\n"
    text.write_text("a two\n")
    with pytest.raises(UserError, match="scored on other texts"):
        keep_reference(tmp_path, "toy", "test", text)
