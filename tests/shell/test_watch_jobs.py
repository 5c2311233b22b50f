"""One progress bar reads the logs of all jobs."""

import os
import re
import signal
import subprocess
import sys

import pytest

from espnet_wsm.stages import watch_jobs, watch_training
from espnet_wsm.stages.watch_jobs import JobLog, find_count


def bar(done: int, total: int, unit: str = "utt") -> str:
    return f"\rtrain 1/2:  {100 * done // total}%|█▏  | {done}/{total} [00:01<00:08, 4.50{unit}/s]"


@pytest.mark.parametrize(
    ("tail", "count"),
    [
        ("", None),
        ("# started 2026-01-01\nloading 3/4 files\n", None),
        (bar(0, 9).replace("00:08, 4.50utt/s", "?, ?utt/s"), 0),
        (bar(1, 9) + bar(12, 20), 12),
        (bar(2, 9) + bar(3, 9)[:-12], 2),
        (bar(2, 9) + bar(13, 19)[:-30], 2),
        (bar(8, 9) + "\n# ended with status 0\n", 8),
        (bar(5, 9) + "\n" + bar(197, 197, "it"), 5),
        (bar(7, 9).replace("4.50utt/s", "2.25s/utt, id=x"), 7),
        (bar(4000, 9000).replace("00:01<", "1:02:03<"), 4000),
    ],
)
def test_the_last_whole_bar_of_the_unit_counts(tail, count):
    assert find_count(tail.encode(), "utt") == count


def test_a_number_is_not_cut_where_the_tail_begins(tmp_path, monkeypatch):
    log = JobLog(tmp_path / "log")
    log.path.write_text(bar(1234, 2000))
    for tail in range(1, 60):
        monkeypatch.setattr(watch_jobs, "TAIL_BYTES", tail)
        log._old = None
        log.look("utt")
        assert log.count == 0
    monkeypatch.setattr(watch_jobs, "TAIL_BYTES", 100)
    log.path.write_text(bar(1234, 2000) + bar(1235, 2000))
    log.look("utt")
    assert log.count == 1235


def test_bars_are_summed_until_the_parent_process_ends(tmp_path, monkeypatch, capsys):
    first, second = (tmp_path / f"cache.{job}.log" for job in (1, 2))
    for log in (first, second):
        log.write_text(bar(50, 50))  # of an earlier run
    writes = iter(
        [
            lambda: (first.unlink(), first.write_text("# started\n")),  # the second job waits for its turn
            lambda: first.write_text(bar(1, 4) + bar(3, 4)),
            lambda: first.write_text(bar(1, 4) + bar(4, 4) + "\nWarning: a line\n"),
            lambda: (second.unlink(), second.write_text(bar(2, 4))),
        ]
    )
    parents = iter([1, 1, 1, 1, 1, 1, 2])
    monkeypatch.setattr(watch_training.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(watch_training.time, "sleep", lambda _seconds: next(writes, lambda: None)())
    monkeypatch.setattr(watch_jobs.signal, "signal", lambda *_: None)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    watch_jobs.main(["--log", str(tmp_path / "cache.JOB.log"), "--nj", "2", "--total", "8", "--desc", "c"])
    shown = capsys.readouterr().err
    assert re.findall(r"(\d+)/8 \[", shown)[-1] == "6"
    assert set(re.findall(r"(\d+)/8 \[", shown)) <= {"0", "3", "4", "6"} and "c: " in shown


def test_the_bar_ends_with_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(watch_jobs.signal, "signal", lambda *_: None)
    log = tmp_path / "1.log"
    monkeypatch.setattr(watch_training.time, "sleep", lambda _seconds: log.write_text(bar(4, 4)))
    watch_jobs.main(["--log", str(log), "--total", "4"])
    assert "4/4" in capsys.readouterr().err


def test_when_stopped_it_shows_what_the_jobs_wrote_last(tmp_path):
    words = ["--log", str(tmp_path / "JOB.log"), "--total", "9", "--poll_seconds", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "espnet_wsm.stages.watch_jobs", *words], stderr=subprocess.PIPE, bufsize=0
    )
    shown = process.stderr.read(1)
    (tmp_path / "1.log").write_text(bar(1, 9))
    while b"1/9" not in shown:
        shown += process.stderr.read(1)
    (tmp_path / "1.log").write_text(bar(7, 9))
    os.kill(process.pid, signal.SIGTERM)
    shown = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 143 and "7/9" in shown and "Traceback" not in shown


def test_several_jobs_need_several_logs(capsys):
    with pytest.raises(SystemExit):
        watch_jobs.main(["--log", "one.log", "--nj", "2", "--total", "8"])
    assert "error: --log one.log: with --nj 2 it needs JOB in place of the number" in capsys.readouterr().err
