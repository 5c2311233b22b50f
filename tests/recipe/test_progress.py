"""Jobs and trainings write how far they are; one bar shows it."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from espnet_wsm.recipe import progress
from espnet_wsm.recipe.progress import ReportingBar, find_progress_file, read_progress, write_progress


def done(file) -> int | None:
    state = read_progress(file)
    return None if state is None else state["done"]


def test_the_file_lies_beside_the_log(tmp_path):
    assert find_progress_file(tmp_path / "cache.3.log") == tmp_path / "cache.3.progress.json"


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "new/train.progress.json"
    assert read_progress(file) is None
    write_progress(file, 2, 9, {"valid loss": 1.5})
    state = read_progress(file)
    assert state.pop("written") > 1e9 and state == {"done": 2, "total": 9, "figures": {"valid loss": 1.5}}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("content", [b"", b'{"done": 1, "to', b"\xff\xfe"])
def test_a_file_that_is_not_whole_is_as_none(tmp_path, content):
    file = tmp_path / "x.progress.json"
    file.write_bytes(content)
    assert read_progress(file) is None


def test_a_reader_never_sees_half_a_file(tmp_path):
    file = tmp_path / "x.progress.json"
    write_progress(file, 0, 1)
    writer = threading.Thread(target=lambda: [write_progress(file, 10**count, 1) for count in range(200)])
    writer.start()
    while writer.is_alive():
        assert read_progress(file) is not None
    assert done(file) == 10**199


def test_work_goes_on_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    write_progress(tmp_path / "file/x.progress.json", 1, 2)
    with ReportingBar(tmp_path / "file/x.log", total=2) as bar:
        bar.update(2)


def test_a_bar_reports_what_it_shows_from_the_start_to_the_end(tmp_path, capsys):
    log, counts = tmp_path / "cache.1.log", []
    with ReportingBar(log, total=4, unit="utt", mininterval=0, miniters=1) as bar:
        for _ in range(4):
            counts.append(done(find_progress_file(log)))
            bar.update()
    assert counts == [0, 1, 2, 3] and done(find_progress_file(log)) == 4
    assert "4/4" in capsys.readouterr().err
    with ReportingBar(None, total=1) as bar:
        bar.update()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_bar_reports_what_was_done_when_the_work_failed(tmp_path):
    with pytest.raises(RuntimeError), ReportingBar(tmp_path / "a.log", total=4, mininterval=60) as bar:
        bar.update(3)
        raise RuntimeError
    assert done(tmp_path / "a.progress.json") == 3


@pytest.fixture
def watch(monkeypatch, capsys):
    """``watch(words, steps)`` shows a bar while ``steps`` happen, one a look, until the parent ends."""

    def show(words: list, steps: list) -> str:
        parents = iter([1] * (len(steps) + 2) + [2])
        left = iter(steps)
        monkeypatch.setattr(progress.os, "getppid", lambda: next(parents))
        monkeypatch.setattr(progress.time, "sleep", lambda _seconds: next(left, lambda: None)())
        monkeypatch.setattr(progress.signal, "signal", lambda *_: None)
        every = functools.partial(progress.tqdm, mininterval=0, miniters=0)
        monkeypatch.setattr(progress, "tqdm", every)
        progress.main([str(word) for word in words])
        return capsys.readouterr().err

    return show


def test_jobs_are_summed_until_the_parent_process_ends(tmp_path, watch):
    first, second = (tmp_path / f"cache.{job}.progress.json" for job in (1, 2))
    for file in (first, second):
        write_progress(file, 50, 50)  # of an earlier run
    shown = watch(
        ["--log", tmp_path / "cache.JOB.log", "--nj", "2", "--total", "8", "--desc", "c"],
        [
            lambda: first.unlink(),  # the second job waits for its turn
            lambda: write_progress(first, 3, 4),
            lambda: write_progress(first, 4, 4),
            lambda: write_progress(second, 2, 4),
        ],
    )
    assert re.findall(r"(\d+)/8 \[", shown)[-1] == "6"
    assert set(re.findall(r"(\d+)/8 \[", shown)) <= {"0", "3", "4", "6"} and "c: " in shown


def test_a_job_that_is_started_again_counts_anew(tmp_path, watch):
    file = tmp_path / "cache.progress.json"
    steps = [lambda count=count: write_progress(file, count, 9) for count in (5, 0, 2)]
    shown = watch(["--log", tmp_path / "cache.log", "--total", "9"], steps)
    assert re.findall(r"(\d+)/9 \[", shown)[-1] == "2"


def test_a_file_that_vanishes_for_a_moment_counts_as_before(tmp_path, watch):
    file = tmp_path / "cache.progress.json"
    shown = watch(
        ["--log", tmp_path / "cache.log", "--total", "9"], [lambda: write_progress(file, 5, 9), file.unlink]
    )
    assert re.findall(r"(\d+)/9 \[", shown)[-1] == "5"


def test_the_bar_ends_with_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress.signal, "signal", lambda *_: None)
    write = lambda _seconds: write_progress(tmp_path / "1.progress.json", 4, 4)  # noqa: E731
    monkeypatch.setattr(progress.time, "sleep", write)
    progress.main(["--log", str(tmp_path / "1.log"), "--total", "4"])
    assert "4/4" in capsys.readouterr().err


def test_a_training_shows_its_epochs_and_its_last_validation_figures(tmp_path, watch):
    file = tmp_path / "train.progress.json"
    write_progress(file, 9, 9, {"old loss": 9.9})  # of an earlier run
    shown = watch(
        ["--log", tmp_path / "train.log", "--desc", "train", "--unit", "epoch"],
        [
            lambda: write_progress(file, 1, 3),  # it is resumed
            lambda: write_progress(file, 2, 3, {"valid cer_ctc": 0.7, "valid loss": 174.8432}),
            lambda: write_progress(file, 3, 3, {"valid cer_ctc": 0.0005, "valid loss": 4321.0}),
        ],
    )
    assert "train:  33%" in shown and "3/3" in shown and "epoch" in shown
    assert "valid cer_ctc=0.700, valid loss=174.843" in shown
    assert "valid cer_ctc=5.000e-04, valid loss=4.321e+03" in shown
    assert "old loss" not in shown and "9/9" not in shown


def test_a_note_is_shown_once_as_a_warning(tmp_path, watch):
    file = tmp_path / "train.progress.json"
    write_progress(file, 9, 9, note="of an earlier run")
    notes = ["", "all is lost", "all is lost", ""]
    steps = [
        lambda done=done, note=note: write_progress(file, done, 4, note=note)
        for done, note in enumerate(notes)
    ]
    shown = watch(["--log", tmp_path / "train.log"], steps)
    assert shown.count("warning: all is lost\n") == 1 and "earlier" not in shown


def test_nothing_is_shown_of_a_training_that_has_not_begun(tmp_path, watch):
    write_progress(tmp_path / "train.progress.json", 9, 9)  # of an earlier run
    assert watch(["--log", tmp_path / "train.log"], []) == ""


def test_when_stopped_it_shows_what_the_jobs_wrote_last(tmp_path):
    words = ["--log", str(tmp_path / "JOB.log"), "--total", "9", "--poll_seconds", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "espnet_wsm.recipe.progress", *words], stderr=subprocess.PIPE, bufsize=0
    )
    shown = process.stderr.read(1)
    write_progress(tmp_path / "1.progress.json", 1, 9)
    while b"1/9" not in shown:
        shown += process.stderr.read(1)
    write_progress(tmp_path / "1.progress.json", 7, 9)
    os.kill(process.pid, signal.SIGTERM)
    shown = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 143 and "7/9" in shown and "Traceback" not in shown


def test_several_jobs_need_several_logs(capsys):
    with pytest.raises(SystemExit):
        progress.main(["--log", "one.log", "--nj", "2", "--total", "8"])
    assert "error: --log one.log: with --nj 2 it needs JOB in place of the number" in capsys.readouterr().err


def test_the_file_is_json_that_any_program_reads(tmp_path):
    write_progress(tmp_path / "x", 1, 2)
    assert json.loads((tmp_path / "x").read_text())["done"] == 1
