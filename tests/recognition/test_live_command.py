"""``espnet-wsm transcribe --live``: what is typed, and what comes out."""

import io
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from spelling import Beeps, make_beeps

from espnet_wsm.bin import transcribe
from espnet_wsm.recognition import live_audio, live_command, options


@pytest.fixture
def model(monkeypatch) -> None:
    """A model that hears an a in what is loud."""
    heard = SimpleNamespace(decoder=Beeps(), chunk_frames=1500)
    monkeypatch.setattr(options, "load_model", lambda args, live: heard)


@pytest.fixture
def hear(model, monkeypatch):
    """``hear(samples, *arguments)`` runs the command on raw samples of standard input."""

    def run(samples: np.ndarray, *arguments: str) -> None:
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write((samples * 32767).astype("<i2").tobytes()[:60000])  # what a pipe holds
        with os.fdopen(reading, "rb") as pipe:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
            transcribe.main(["--model", "exp", "--live", *arguments])

    return run


def test_utterances_are_lines_with_times(hear, capsys):
    hear(make_beeps(1), "--stats")
    printed, said = capsys.readouterr()
    assert printed == "0.00\t0.42\ta\n"
    assert "0.0 minutes of audio in" in said and "; 1 word, final 1." in said


def test_events_are_updates_at_every_step(hear, capsys):
    hear(make_beeps(1), "--events", "--step", "0.25", "--look_ahead", "0.3")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["heard"] for row in rows] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.5]
    assert rows[0]["tail"] == "a" and rows[-1]["tail"] == ""
    assert [row["begun"] for row in rows[1:4]] == ["a", "a", "a"]
    assert [word["text"] for row in rows for word in row["words"]] == ["a"]


def test_a_telephone_has_half_the_rate(hear, capsys):
    hear(make_beeps(2, 8000), "--rate", "8000")
    assert capsys.readouterr().out == "0.00\t0.42\ta\n1.44\t1.92\ta\n"


def test_nothing_is_said_of_no_audio(hear, capsys):
    hear(np.zeros(0), "--stats")
    assert capsys.readouterr() == ("", "no audio came\n")


def test_a_model_that_is_behind_says_so_once_and_takes_longer_steps(hear, capsys, monkeypatch):
    lags = iter([0.0, 4.0, 4.0])
    monkeypatch.setattr(live_audio.Receiver, "measure_lag", lambda self: next(lags, 0.0))
    hear(make_beeps(1), "--events")
    said = capsys.readouterr().err
    assert said.count("warning: 4 s behind: steps are longer until that is made up for") == 1


def test_what_a_microphone_lost_is_said(capsys):
    watch = live_command.Watch(SimpleNamespace(dropped=2.5))
    watch.tell_dropped()
    assert "warning: 2.5 s of audio were left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--live", "talk.wav"], "--live talk.wav: give -, microphone or microphone:NAME"),
        (["--live", "-", "talk.wav"], "--live listens, and talk.wav is a file"),
        (["--live", "--format", "srt"], "--format is for files"),
        (["--live", "--out", "x"], "--out is for files"),
        (["--live", "--channel", "2"], "--channel is for files"),
        (["--live", "--jobs", "2"], "--jobs is for files"),
        (["--live", "--step", "0"], "--step 0: give 0.1 seconds or more"),
        (["--live", "--look_ahead", "-1"], "--look_ahead -1: give 0 seconds or more"),
        (["--live", "--context", "nan"], "--context nan: give 0 seconds or more"),
        (["--live", "--context", "29"], "are 30.5 s together, and the model hears 30 s at once"),
        (["--live", "--pause", "-1"], "--pause -1: give seconds, 0 or more"),
        (["--live", "--rate", "5"], "--rate 5: give the samples in a second"),
        (["--rate", "8000", "talk.wav"], "--rate is for audio that is still coming: give --live, too"),
        (["--stats", "talk.wav"], "--stats is for audio that is still coming: give --live, too"),
        ([], "no FILE is named: name recordings, or give --live"),
    ],
)
def test_what_does_not_go_together_is_refused(model, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ended:
        transcribe.main(["--model", "exp", *arguments])
    assert ended.value.code == 1 and message in capsys.readouterr().err
