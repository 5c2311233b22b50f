"""The progress bar reads ESPnet's log."""

from espnet_wsm.bin.watch_training import RESULTS, STARTED, figures

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
