"""Audio that comes while it is listened to: raw samples of standard input, or a microphone."""

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import soxr

from espnet_wsm.errors import UserError, require_packages
from espnet_wsm.frames import SAMPLE_RATE

STDIN, MICROPHONE = "-", "microphone"
MOST_SECONDS = 30  # of audio that waits
BLOCK_SECONDS = 0.05
BEHIND = 3.0  # seconds of audio that wait, from where on a model is said to be behind
WIDTH = 2  # bytes of a sample
HEADERS = {b"RIFF": "a WAV header", b"fLaC": "a FLAC header", b"OggS": "an Ogg header", b"ID3\x03": "MP3"}


class Receiver:
    """Samples come whenever they like, and are taken when the model is ready.

    At most ``MOST_SECONDS`` wait. Beyond that, ``put`` waits if the source can (a pipe), and drops the oldest
    if it cannot (a microphone, a browser).

    Args:
        rate: of the source in Hz. What is taken has 16 kHz.
        may_wait: whether the source can.
    """

    def __init__(self, rate: int, may_wait: bool):
        if not 1000 <= rate <= 768_000:
            raise UserError(f"--rate {rate}: give the samples in a second, from 1000 to 768000")
        self.rate, self.may_wait = rate, may_wait
        self.dropped = 0.0  # seconds
        self._blocks: deque[tuple[float, np.ndarray]] = deque()  # when they came, and (N,) samples
        self._waiting = 0  # samples
        self.has_begun = False
        self._ended: UserError | bool = False
        self._changed = threading.Condition()
        self._resampler = None
        if rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def put(self, samples: np.ndarray) -> None:
        """(N,) samples, float32 of full scale 1 or int16."""
        if samples.dtype == np.int16:
            samples = samples / np.float32(2**15)
        with self._changed:
            most = MOST_SECONDS * self.rate
            self._changed.wait_for(lambda: not self.may_wait or self._waiting < most)
            self._blocks.append((time.monotonic(), samples))
            self._waiting += len(samples)
            self.has_begun = True
            while self._waiting > most and not self.may_wait and len(self._blocks) > 1:
                lost = len(self._blocks.popleft()[1])
                self._waiting -= lost
                self.dropped += lost / self.rate
            self._changed.notify_all()

    def end(self, fault: UserError | None = None) -> None:
        """No more comes; ``take`` raises the fault once the rest has been taken."""
        with self._changed:
            self._ended = fault or True
            self._changed.notify_all()

    def measure_lag(self) -> float:
        """Seconds that wait to be taken, if that is ``BEHIND`` or more, from a source that goes at the pace
        of speech; 0 for one that comes faster, such as a file."""
        with self._changed:
            waiting = self._waiting / self.rate
            lag = time.monotonic() - self._blocks[0][0] if self._blocks else 0.0
        return waiting if waiting >= BEHIND and lag >= 0.8 * waiting else 0.0

    def take(self, most: float = math.inf) -> np.ndarray | None:
        """(M,) float32 samples at 16 kHz of what waits; if nothing does, of what comes. None at the end.

        Args:
            most: seconds; all are taken of a source that is ahead of the model. Blocks are not parted.

        Raises:
            UserError: the source has failed; what came before has been taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._ended)
            most = math.inf if self.measure_lag() else most
            taken: list[np.ndarray] = []
            count = 0
            while self._blocks and count < most * self.rate:
                _, block = self._blocks.popleft()
                taken.append(block)
                count += len(block)
            self._waiting -= count
            self._changed.notify_all()
        if taken:
            samples = np.concatenate(taken)
            return samples if self._resampler is None else self._resampler.resample_chunk(samples)
        if isinstance(self._ended, UserError):
            raise self._ended
        if self._resampler is None:
            return None
        rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._resampler = None
        return rest


def decode_pcm(content: bytes) -> np.ndarray:
    """(N,) int16 of raw samples, little-endian, one channel; half a sample at the end is left out."""
    return np.frombuffer(content[: len(content) // WIDTH * WIDTH], "<i2").astype(np.int16)


def read_pcm(stream: BinaryIO, receiver: Receiver) -> None:
    """Put raw samples, 16 bits, little-endian, one channel, until they end.

    Warns where they end in the middle of a sample.
    """
    size = WIDTH * max(1, round(BLOCK_SECONDS * receiver.rate))
    held = b""
    try:
        while block := stream.read1(size):  # type: ignore[attr-defined]  # what is there, at least a byte
            if not receiver.has_begun and block[:4] in HEADERS:
                receiver.end(UserError(_HAS_HEADER.format(kind=HEADERS[block[:4]])))
                return
            held += block
            samples = decode_pcm(held)
            receiver.put(samples)
            held = held[WIDTH * len(samples) :]
    except OSError as error:
        receiver.end(UserError(f"standard input cannot be read: {error.strerror or error}"))
        return
    if held:
        print("warning: the audio ends in the middle of a sample, which is left out", file=sys.stderr)
    receiver.end()


_HAS_HEADER = (
    "standard input begins with {kind}, and raw samples are expected, 16 bits, one channel: give `arecord` "
    "-t raw, `ffmpeg` -ac 1 -f s16le; name the file instead of --live if it is one"
)


@contextmanager
def open_stdin(rate: int) -> Iterator[Receiver]:
    """Raw samples of standard input: 16 bits, little-endian, one channel, ``rate`` in a second."""
    if sys.stdin.isatty():
        raise UserError(
            "--live reads raw samples from standard input, which is the keyboard: pipe audio into it, e.g. "
            "arecord -q -f S16_LE -r 16000 -c 1 -t raw | espnet-wsm transcribe --live ..., or use "
            f"--live {MICROPHONE}"
        )
    receiver = Receiver(rate, may_wait=True)
    threading.Thread(target=read_pcm, args=(sys.stdin.buffer, receiver), daemon=True).start()
    yield receiver


@contextmanager
def open_microphone(name: str | None, rate: int) -> Iterator[Receiver]:
    """A microphone by its number or a part of its name; None is the system's default.

    Raises:
        UserError: there is none, or its library is missing.
    """
    require_packages("transcribe --live microphone", ("sounddevice",), "live")
    try:
        import sounddevice
    except OSError:
        raise UserError(
            "the microphone needs PortAudio: install it (Debian: apt-get install libportaudio2), or pipe "
            "audio into --live"
        ) from None
    receiver = Receiver(rate, may_wait=False)

    def put(samples: np.ndarray, *_: Any) -> None:
        receiver.put(samples[:, 0].copy())

    device = int(name) if name and name.isdecimal() else name
    try:
        stream = sounddevice.InputStream(
            rate, round(BLOCK_SECONDS * rate), device, 1, "float32", callback=put
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UserError(_tell_microphones(sounddevice, name, str(error))) from None
    try:
        yield receiver
    finally:
        stream.close()


def _tell_microphones(sounddevice: Any, name: str | None, reason: str) -> str:
    """Why there is no such microphone, and which there are."""
    found = [
        f"{number} ({device['name']})"
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"]
    ]
    which = f"the microphone {name}" if name else "the microphone"
    remedy = f"there are {', '.join(found)}" if found else "this computer has none: pipe audio into --live"
    return f"{which} cannot be opened ({' '.join(reason.split())}): {remedy}"
