"""Many recordings, in one process or several: what is at fault is named, what is written is whole."""

import errno
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from processes import is_alive, wait_for

from espnet_wsm.annotations import Word, read_annotations
from espnet_wsm.bin import transcribe
from espnet_wsm.data.audio.opening import find_seconds
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.outputs import ENDINGS, Outputs
from espnet_wsm.recognition.processes import Processes
from espnet_wsm.recognition.progress import show_progress
from espnet_wsm.recognition.transcript import Transcript
from espnet_wsm.recognition.transcription import Transcription

TEXTS = Transcription(None, None, "ASR", 0.6, 15.0)


class StubTranscriber:
    """Hears how many samples there are. What is 100 samples long makes it do ``on_100``."""

    decoder = SimpleNamespace(calibration=None)

    def __init__(self, on_100: Callable[[], None] | None = None):
        self.on_100 = on_100

    def transcribe_all(self, recordings, advance) -> Iterator[str]:
        for blocks in recordings:
            count = sum(map(len, blocks))
            if count == 100 and self.on_100 is not None:
                self.on_100()
            advance(count / 16000)
            yield str(count)

    def detail_all(self, recordings, advance) -> Iterator[Transcript]:
        for text in self.transcribe_all(recordings, advance):
            words = (Word(0.0, 0.5, text, 0.5),) if int(text) > 100 else ()
            yield Transcript(text, words, max(1, int(text)) / 16000)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise RuntimeError("out of something")


def die_before_renaming() -> None:
    os.replace = lambda *_: die()


def fill_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "out.json")


def refuse() -> None:
    raise UserError("exp/asr_x has no config.yaml")


def load(on_100: Callable[[], None] | None = None, at_once: Callable[[], None] | None = None):
    if at_once is not None:
        at_once()
    return StubTranscriber(on_100)


def write(folder: Path, **lengths: int) -> list[str]:
    """Recordings of so many samples, the only one of 0 being no audio at all."""
    files = [folder / f"{name}.wav" for name in lengths]
    for file, length in zip(files, lengths.values(), strict=True):
        soundfile.write(file, np.zeros(length), 16000)
        if not length:
            file.write_text("text")
    return list(map(str, files))


def run_all(files: list[str], number: int, on_100=None) -> list[str]:
    seconds: list[float] = []
    runs = (
        TEXTS.run(StubTranscriber(on_100), files, seconds.append)
        if number == 1
        else Processes(number, partial(load, on_100), TEXTS).run(files, seconds.append)
    )
    found = list(runs)
    assert [file for file, _ in found] == files and not multiprocessing.active_children()
    whole = sum(int(text) for _, text in found if not isinstance(text, UserError))
    assert sum(seconds) == pytest.approx(whole / 16000)
    return [str(text) for _, text in found]


@pytest.mark.parametrize("number", [1, 2])
def test_texts_come_in_order_and_one_fault_does_not_end_the_others(tmp_path, number):
    files = write(tmp_path, a=3000, b=0, c=200, d=1, e=400)
    texts = run_all(files, number)
    assert texts[:1] + texts[2:] == ["3000", "200", "1", "400"]
    assert texts[1].startswith(f"{tmp_path}/b.wav is not audio that can be read")


def test_a_recording_that_breaks_off_is_at_fault_as_a_whole(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).standard_normal(40 * 16000) / 9, 16000)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[:-9000])
    heard: list[float] = []
    (found,) = TEXTS.run(StubTranscriber(), [str(tmp_path / "a.flac")], heard.append)
    assert sum(heard) > 20 and f"{tmp_path}/a.flac is truncated or damaged" in str(found[1])


@pytest.mark.parametrize(("end", "how"), [(die, "was killed (SIGKILL)"), (fail, "ended with status 1")])
def test_a_process_that_dies_takes_only_its_file_with_it(tmp_path, end, how, capfd):
    files = write(tmp_path, a=200, b=100, c=300, d=100, e=400)
    texts = run_all(files, 2, end)
    assert [texts[i] for i in (0, 2, 4)] == ["200", "300", "400"]
    for place, name in ((1, "b"), (3, "d")):
        assert texts[place].startswith(f"{tmp_path}/{name}.wav: the process that had it {how}: ")
    assert ("out of something" in capfd.readouterr().err) == (end is fail)


@pytest.mark.parametrize(
    ("at_once", "on_100", "error", "message"),
    [
        (refuse, None, UserError, "exp/asr_x has no config.yaml"),
        (die, None, UserError, r"a process was killed \(SIGKILL\) while it was loading the model: if memory"),
        (None, fill_disk, OSError, "No space left on device: 'out.json'"),
    ],
)
def test_what_no_other_file_can_escape_ends_all_processes(tmp_path, at_once, on_100, error, message):
    files = write(tmp_path, a=100, b=100, c=100)
    with pytest.raises(error, match=message):
        list(Processes(2, partial(load, on_100, at_once), TEXTS).run(files, lambda _: None))
    assert not multiprocessing.active_children()


PROGRAM = """
import os, sys, time
from functools import partial
from test_transcription import TEXTS, Processes, load

def sleep():
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    for _ in Processes(2, partial(load, sleep), TEXTS).run(sys.argv[1:], lambda _: None):
        pass
"""


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_processes_end_with_the_first_one(tmp_path, number, to_all):
    """Ctrl-C reaches all of them; a scheduler stops the first alone."""
    (tmp_path / "program.py").write_text(PROGRAM.replace("600", "600" if to_all else "2"))
    files = write(tmp_path, a=100, b=100, c=100)
    first = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), *files], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    others = [int(first.stdout.readline()) for _ in range(2)]
    (os.killpg if to_all else os.kill)(first.pid, number)
    said = first.communicate()[1]  # ends when nobody is left who could write
    assert first.returncode == -number and said.count("Traceback") == (1 if to_all else 0)
    wait_for(lambda: not any(map(is_alive, others)))


def test_a_killed_run_leaves_whole_files_and_the_next_one_does_the_rest(tmp_path, capsys):
    files = write(tmp_path, a=300, b=100, c=200)
    outputs = Outputs(["json", "srt"], tmp_path / "out", keep=True)
    run = Transcription(None, outputs, "ASR", 0.6, 15.0)
    found = list(Processes(1, partial(load, die_before_renaming), run).run(files, lambda _: None))
    assert [isinstance(text, UserError) for _, text in found] == [False, True, False]
    assert capsys.readouterr().err.count("confidences are as measured") == 1  # of two processes
    written = sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".tmp")
    assert written == ["a.json", "a.srt", "c.json", "c.srt"]
    left = [file for file in files if not outputs.are_there(file)]
    assert left == files[1:2] and list(run.run(StubTranscriber(), left, lambda _: None)) == [(left[0], "100")]
    assert read_annotations(tmp_path / "out/b.json").duration == 100 / 16000


def stub_command(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and messages of ``transcribe``."""
    monkeypatch.setattr(transcribe, "load_model", lambda args: StubTranscriber())
    with pytest.raises(SystemExit) as end:
        transcribe.main(["--model", "exp/x", *arguments])
    return end.value.code, *capsys.readouterr()


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing_half_written(
    tmp_path, mount, monkeypatch, capsys
):
    files = write(tmp_path, a=300, b=200)
    mount(tmp_path / "small", "-t", "tmpfs", "-o", "size=8k", "tmpfs")
    (tmp_path / "small/ballast").write_bytes(bytes(4096))
    arguments = [*files, "--format", "json", "eaf", "--out_dir", str(tmp_path / "small")]
    status, _, said = stub_command(monkeypatch, capsys, *arguments)
    assert status == 1 and "Traceback" not in said
    assert re.search(r"error: \S+/small/a\.eaf: No space left on device: make room on that disk", said)
    left = sorted(path.name for path in (tmp_path / "small").iterdir())
    assert left == ["a.json", "ballast"] and read_annotations(tmp_path / "small/a.json").duration
    (tmp_path / "small/ballast").write_bytes(bytes(8192 - 4096))
    status, _, said = stub_command(monkeypatch, capsys, *files, "--out", str(tmp_path / "small/t.tsv"))
    assert status == 1 and f"error: {tmp_path}/small/t.tsv: No space left on device" in said
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == left


def test_a_list_of_texts_is_written_when_all_is_done(tmp_path, monkeypatch, capsys):
    files = write(tmp_path, a=300, b=0, c=200)
    out = tmp_path / "texts.tsv"
    status, printed, said = stub_command(monkeypatch, capsys, *files, "--out", str(out))
    assert (status, printed) == (1, "") and "error: " in said
    assert out.read_text() == f"{files[0]}\t300\n{files[2]}\t200\n"
    for name, message in (("a.wav", "is audio and would be overwritten"), (".", "is not a file: name one")):
        status, _, said = stub_command(monkeypatch, capsys, files[2], "--out", str(tmp_path / name))
        assert status == 1 and message in said
    status, _, said = stub_command(monkeypatch, capsys, files[2], "--jobs", "0")
    assert status == 1 and "--jobs 0: give 1 or more processes" in said


@pytest.mark.parametrize("format_", ENDINGS)
def test_nothing_said_is_a_file_without_words_in_every_format(tmp_path, format_):
    (file,) = write(tmp_path, silence=100)
    run = Transcription(None, Outputs([format_], None), "ASR", 0.6, 15.0)
    assert list(run.run(StubTranscriber(), [file], lambda _: None)) == [(file, "100")]
    written = tmp_path / f"silence{ENDINGS[format_]}"
    if format_ in ("txt", "ctm", "stm"):  # have no place for it
        assert not written.read_text().strip()
    else:
        tiers = read_annotations(written, format_).tiers
        assert not any(segment.text for tier in tiers for segment in tier.segments)


def test_the_bar_shows_minutes_of_audio_and_how_many_files_are_done(tmp_path, capsys):
    files = write(tmp_path, a=90 * 16000, b=30 * 16000, c=0)
    seconds = [find_seconds(file) for file in files]
    assert seconds == [90, 30, None]
    with show_progress("transcribe", seconds[:2]) as bar:
        bar.advance(90)
        bar.end_file()
    assert re.search(
        r"transcribe:  75%\|.*\| 1\.5/2\.0 min of audio \[.*, 1/2 files\]", capsys.readouterr().err
    )
    with show_progress("transcribe", seconds) as bar:  # nobody knows how long the last one is
        bar.advance(90)
    assert re.search(r"transcribe: 1\.5 min of audio \[[\d:]+\]", capsys.readouterr().err)
    with show_progress("align", seconds[1:2]) as bar:
        bar.advance(30)
    assert not capsys.readouterr().err
