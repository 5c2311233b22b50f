"""What is kept of a run: written and read again, and read from ESPnet's log."""

import math

import numpy as np
import pytest
from synthetic import Synthetic, make_run

from espnet_wsm.errors import UserError
from espnet_wsm.experiments.grid import INFINITE
from espnet_wsm.experiments.records import (
    keep_reference,
    read_curves,
    read_record,
    read_records,
    read_seconds,
    record_path,
    score_texts,
    select,
)

EPOCH = (
    "[host] 2026-01-02 03:04:05 (trainer:392) INFO: {number}epoch results: [train] iter_time=0.2, "
    "loss_ctc={train}, loss={train}, optim0_lr0=1.700e-04, train_time=0.123, time={time}, "
    "total_count=99, [valid] loss_ctc=69.187, cer_ctc={cer}, loss_att=nan, cer=nan, wer=nan, "
    "loss={valid}, time=1.46 seconds, total_count=11{more}\n"
)


def write_log(tmp_path, *epochs):
    log = tmp_path / "train.log"
    usual = {"train": "100.5", "valid": "50.25", "cer": "0.900", "time": "12.21 seconds", "more": ""}
    lines = ["# started\n", *(EPOCH.format(**usual | epoch) for epoch in epochs), "# 5epoch done\n"]
    log.write_text("".join(lines))
    return log


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


def test_all_records_are_read_in_order_and_selected(tmp_path):
    synthetic = Synthetic(tmp_path, number=2)
    for arm, corpus in (("wsm", "b_en"), ("sm", "a_en"), ("wsm", "a_en")):
        synthetic.add(make_run(arm, corpus))
    records = read_records(tmp_path)
    assert [r.run.title for r in records] == ["a_en/sm-k2-all-s0", "a_en/wsm-k2-all-s0", "b_en/wsm-k2-all-s0"]
    assert [r.run.corpus for r in select(records, arm="wsm")] == ["a_en", "b_en"]


@pytest.mark.parametrize("content", ["", "{", "null", "[]", "{}", '{"run": {"corpus": "toy"}}'])
def test_a_damaged_record_is_named(tmp_path, content):
    run = make_run()
    Synthetic(tmp_path).add(run)
    path = record_path(tmp_path, run)
    path.write_text(content)
    with pytest.raises(UserError, match="damaged") as caught:
        read_record(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", ["header", "row", "number", "gone"])
def test_damaged_counts_are_named(tmp_path, damage):
    run = make_run()
    Synthetic(tmp_path).add(run)
    path = record_path(tmp_path, run).with_suffix(".tsv")
    lines = path.read_text().split("\n")
    if damage == "gone":
        path.unlink()
    else:
        line = {"header": 0, "row": 1, "number": 2}[damage]
        lines[line] = (
            lines[line].replace("\t", "\tx", 3) if damage == "number" else lines[line].split("\t", 1)[0]
        )
        path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"wsm-k2-all-s0.json or its .tsv is damaged"):
        read_records(tmp_path)


def test_curves_hold_a_value_per_epoch(tmp_path):
    log = write_log(tmp_path, {"number": 1}, {"number": 2, "train": "9.5e+01", "cer": "0.5"})
    assert read_curves(log) == {
        "train loss": [100.5, 95.0],
        "valid cer_ctc": [0.9, 0.5],
        "valid loss": [50.25, 50.25],
    }


def test_of_an_epoch_done_twice_the_later_counts(tmp_path):
    epochs = [{"number": 1}, {"number": 2, "train": "80"}, {"number": 2, "train": "70"}, {"number": 3}]
    assert read_curves(write_log(tmp_path, *epochs))["train loss"] == [100.5, 70.0, 100.5]
    assert read_seconds(tmp_path / "train.log") == round(3 * (12.21 + 1.46), 1)


def test_a_loss_that_is_no_number_keeps_its_epoch(tmp_path):
    log = write_log(tmp_path, {"number": 1}, {"number": 2, "train": "nan", "valid": "inf"}, {"number": 3})
    curves = read_curves(log)
    assert math.isnan(curves["train loss"][1])
    assert curves["valid loss"] == [50.25, math.inf, 50.25]


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("53.58 seconds", 53.58),
        ("1 second", 1),
        ("3 minutes and 53.58 seconds", 233.58),
        ("1 minute", 60),
        ("1 hour, 2 minutes and 3.5 seconds", 3723.5),
        ("2 hours", 7200),
    ],
)
def test_times_are_read_as_espnet_writes_them(tmp_path, words, seconds):
    log = write_log(tmp_path, {"number": 1, "time": words, "more": ", [att_plot] time=2.5 seconds"})
    assert read_seconds(log) == round(seconds + 1.46 + 2.5, 1)


def test_a_reference_is_kept_once_and_another_refused(tmp_path):
    text = tmp_path / "text"
    text.write_text("a one\n")
    keep_reference(tmp_path, "toy", "test", text)
    keep_reference(tmp_path, "toy", "test", text)
    assert (tmp_path / "references/toy/test").read_text() == "a one\n"
    text.write_text("a two\n")
    with pytest.raises(UserError, match="scored on other texts"):
        keep_reference(tmp_path, "toy", "test", text)
