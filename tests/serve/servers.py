"""A model that says how long its audio was, servers of it, and what people send to them."""

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import httpx2
import numpy as np
import soundfile
import uvicorn
from spelling import Beeps

from espnet_wsm.annotations import Word
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.recognition.transcript import Transcript
from espnet_wsm.serve.running import listen

HOST = "127.0.0.1"


class Counter:
    """In place of a model: the second word is the number of samples, and the first one is doubtful.

    ``gate`` closed, it stops after a tenth of the work.
    """

    chunk_frames = 1500

    def __init__(self):
        self.decoder = Beeps()
        self.gate, self.heard = threading.Event(), []
        self.gate.set()

    def detail_all(
        self, recordings: Iterable[Iterable[np.ndarray]], advance: Callable[[float], None]
    ) -> Iterator[Transcript]:
        for blocks in recordings:
            samples = np.concatenate(list(blocks))
            self.heard.append(len(samples))
            seconds = len(samples) / SAMPLE_RATE
            advance(0.1 * seconds)
            while not self.gate.wait(0.01):
                advance(0.0)
            advance(0.9 * seconds)
            words = (
                Word(0.1 * seconds, 0.3 * seconds, "hears", 0.25),
                Word(0.4 * seconds, 0.7 * seconds, str(len(samples)), 0.9),
                Word(0.7 * seconds, 0.9 * seconds, "samples", 0.95),
            )
            yield Transcript(" ".join(word.text for word in words), words, seconds)


@contextmanager
def serving(app) -> Iterator[str]:
    """The address of an application on a port of its own."""
    with listen(HOST, 0) as listening:
        config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def make_wav(samples: int, rate: int = SAMPLE_RATE) -> bytes:
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(samples).standard_normal(samples)
    soundfile.write(file, noise, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def send(client: httpx2.Client, content: bytes, name: str = "talk.wav") -> httpx2.Response:
    return client.post("/api/jobs", files={"audio": (name, content)})


def wait_until_ended(client: httpx2.Client, id: str) -> dict:
    """The last state of a job."""
    while True:
        state = client.get(f"/api/jobs/{id}").json()
        if state["state"] not in ("arriving", "waiting", "working"):
            return state
        time.sleep(0.01)


def say(text: str, start: float = 0.1, end: float = 0.9, audio: str = "talk.wav") -> dict:
    """Annotations of one utterance."""
    segments = [{"start": start, "end": end, "text": text}]
    tier = {"name": "ASR", "segments": segments}
    return {
        "format": "espnet_wsm annotations",
        "version": 1,
        "audio": audio,
        "duration": 1.0,
        "tiers": [tier],
    }
