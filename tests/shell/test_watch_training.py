"""The progress bar reads ESPnet's log."""

from espnet_wsm.stages import watch_training
from espnet_wsm.stages.watch_training import RESULTS, STARTED, figures

LINE = (
    "[host] 2026-01-01 00:00:00,000 (trainer:364) INFO: 3epoch results: [train] iter_time=0.007, "
    "loss=88.1, cer_ctc=0.1, [valid] loss_ctc=174.843, cer_ctc=1.609, loss_att=nan, cer=nan, loss=174.843, "
    "time=6.42 seconds, total_count=2, [att_plot] loss=9"
)


def test_validation_figures_are_picked_out_of_a_line_of_espnet():
    match = RESULTS.search(LINE)
    assert match[1] == "3" and figures(match[2]) == {"valid cer_ctc": "1.609", "valid loss": "174.843"}
    started = STARTED.search("(trainer:296) INFO: 2/60epoch started. Estimated time to finish: 5 minutes")
    assert started.groups() == ("2", "60")


def test_the_bar_follows_the_log_until_the_parent_process_ends(tmp_path, monkeypatch, capsys):
    log = tmp_path / "train.log"
    log.write_text("INFO: 9/9epoch started\nINFO: 9epoch results: [valid] loss=9.9\n")  # of an earlier run
    started, done = "INFO: {}/3epoch started\n", "INFO: {}epoch results: [train] x, [valid] cer_ctc=0.{}, l\n"
    writes = iter(
        [
            lambda: log.write_text(""),  # the launcher starts the file anew
            lambda: log.write_text(started.format(2) + done.format(2, 7)[:20]),  # half a line
            lambda: log.write_text(started.format(2) + done.format(2, 7)),
            lambda: log.write_text(started.format(2) + done.format(2, 7) + done.format(3, 5)),
        ]
    )
    parents = iter([1, 1, 1, 1, 1, 1, 2])
    monkeypatch.setattr(watch_training.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(watch_training.time, "sleep", lambda _seconds: next(writes, lambda: None)())
    watch_training.main(["--log", str(log)])
    shown = capsys.readouterr().err
    assert "3/3" in shown and "valid cer_ctc=0.5" in shown and "9.9" not in shown
