"""Audio that comes when it likes: pipes and microphones, in whatever pieces and at whatever pace."""

import io
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from espnet_wsm.data.audio.recordings import convert
from espnet_wsm.errors import UserError
from espnet_wsm.recognition import live_audio
from espnet_wsm.recognition.live_audio import Receiver, open_microphone, open_stdin, read_pcm


class Pipe(io.RawIOBase):
    """Gives so many bytes at a time."""

    def __init__(self, content: bytes, size: int):
        self.content, self.size = content, size

    def read1(self, most: int) -> bytes:
        part, self.content = self.content[: min(most, self.size)], self.content[min(most, self.size) :]
        return part


def take_all(receiver: Receiver, most: float = 0.5) -> np.ndarray:
    blocks = []
    while (block := receiver.take(most)) is not None:
        blocks.append(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def make_samples(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-9000, 9000, count).astype("<i2")


@pytest.mark.parametrize("size", [1, 3, 700, 10**6])
def test_samples_of_a_pipe_come_whole_whatever_pieces_it_gives(size, capsys):
    samples, receiver = make_samples(5001), Receiver(16000, may_wait=True)
    read_pcm(Pipe(samples.tobytes(), size), receiver)
    assert np.array_equal(take_all(receiver), samples / np.float32(2**15))
    assert receiver.take() is None and not capsys.readouterr().err


def test_half_a_sample_at_the_end_is_said_and_left_out(capsys):
    receiver = Receiver(16000, may_wait=True)
    read_pcm(Pipe(make_samples(100).tobytes() + b"x", 64), receiver)
    assert len(take_all(receiver)) == 100
    assert "ends in the middle of a sample" in capsys.readouterr().err


@pytest.mark.parametrize("rate", [8000, 48000])
def test_other_rates_are_those_of_files(rate):
    samples, receiver = make_samples(rate), Receiver(rate, may_wait=True)
    read_pcm(Pipe(samples.tobytes(), 999), receiver)
    assert take_all(receiver) == pytest.approx(convert(samples / np.float32(2**15), rate), abs=1e-6)


@pytest.mark.parametrize(("head", "kind"), [(b"RIFF", "a WAV header"), (b"fLaC", "a FLAC header")])
def test_a_file_with_a_header_is_refused(head, kind):
    receiver = Receiver(16000, may_wait=True)
    read_pcm(Pipe(head + bytes(100), 10**6), receiver)
    with pytest.raises(UserError, match=f"begins with {kind}, and raw samples are expected"):
        receiver.take()


def test_a_pipe_that_breaks_is_named_after_what_came():
    class Broken(Pipe):
        def read1(self, most: int) -> bytes:
            return super().read1(most) or self.fail()

        def fail(self) -> bytes:
            raise OSError(5, "Input/output error")

    receiver = Receiver(16000, may_wait=True)
    read_pcm(Broken(make_samples(100).tobytes(), 10**6), receiver)
    assert len(receiver.take()) == 100
    with pytest.raises(UserError, match="standard input cannot be read: Input/output error"):
        receiver.take()


def test_no_more_is_taken_at_once_than_is_asked_for():
    receiver = Receiver(16000, may_wait=True)
    for _ in range(10):
        receiver.put(np.zeros(800, np.float32))
    assert [len(receiver.take(0.1)) for _ in range(3)] == [1600] * 3
    assert len(receiver.take()) == 3200


def test_a_source_that_can_wait_does(monkeypatch):
    monkeypatch.setattr(live_audio, "MOST_SECONDS", 1)
    receiver = Receiver(1000, may_wait=True)
    receiver.put(np.zeros(1000, np.float32))
    thread = threading.Thread(target=receiver.put, args=(np.ones(10, np.float32),))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()  # it waits for room
    receiver.take(0.5)
    thread.join(5)
    assert not thread.is_alive() and receiver.dropped == 0


def test_a_source_that_cannot_wait_loses_the_oldest(monkeypatch):
    monkeypatch.setattr(live_audio, "MOST_SECONDS", 1)
    receiver = Receiver(16000, may_wait=False)
    for number in range(30):
        receiver.put(np.full(1600, number, np.float32))
    assert receiver.dropped == pytest.approx(2.0)
    assert receiver.take()[0] == 20


def test_it_is_behind_where_audio_waits_as_long_as_it_lasts_and_not_where_a_file_is_read(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    receiver = Receiver(16000, may_wait=True)
    assert receiver.measure_lag() == 0
    for _ in range(80):
        receiver.put(np.zeros(800, np.float32))
    assert receiver.measure_lag() == 0  # 4 s that came at once
    now[0] += 3.9
    assert receiver.measure_lag() == pytest.approx(4)
    receiver.take()
    assert receiver.measure_lag() == 0


@pytest.mark.parametrize("rate", [0, 999, 10**6])
def test_rates_that_no_microphone_has_are_refused(rate):
    with pytest.raises(UserError, match=f"--rate {rate}: give the samples in a second"):
        Receiver(rate, may_wait=True)


def test_the_keyboard_is_no_audio(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(UserError, match="which is the keyboard: pipe audio into it"), open_stdin(16000):
        pass


class FakeSounddevice:
    """Two devices, one of which listens. Opened, it delivers a block."""

    class PortAudioError(Exception):
        pass

    opened: tuple

    @staticmethod
    def query_devices() -> list[dict]:
        return [{"name": "Lautsprecher", "max_input_channels": 0}, {"name": "USB", "max_input_channels": 1}]

    class InputStream:
        def __init__(self, rate, size, device, channels, kind, callback):
            if device not in (None, 1, "USB"):
                raise FakeSounddevice.PortAudioError(f"No input device\nmatching {device}")
            FakeSounddevice.opened = (rate, size, device, channels, kind)
            self.callback, self.closed = callback, False

        def start(self) -> None:
            self.callback(np.full((800, 1), 0.25, np.float32), 800, None, None)

        def close(self) -> None:
            self.closed = True


@pytest.fixture
def sounddevice(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSounddevice)
    monkeypatch.setattr(live_audio, "require_packages", lambda *_: None)
    return FakeSounddevice


@pytest.mark.parametrize(("name", "opened"), [(None, None), ("1", 1), ("USB", "USB")])
def test_a_microphone_is_opened_by_number_or_name(sounddevice, name, opened):
    with open_microphone(name, 16000) as receiver:
        assert receiver.take() == pytest.approx(np.full(800, 0.25)) and not receiver.may_wait
    assert sounddevice.opened == (16000, 800, opened, 1, "float32")


def test_a_microphone_that_is_not_there_names_those_that_are(sounddevice):
    message = r"the microphone 7 cannot be opened \(No input device matching 7\): there are 1 \(USB\)"
    with pytest.raises(UserError, match=message), open_microphone("7", 16000):
        pass
