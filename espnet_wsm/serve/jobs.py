"""Recordings that wait for the one thread that has the model, and what came of them."""

import secrets
import shutil
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.annotations import Recording
from espnet_wsm.errors import UserError

ARRIVING, WAITING, WORKING, DONE, FAILED, STOPPED = (
    "arriving", "waiting", "working", "done", "failed", "stopped",
)  # fmt: skip
ENDED = (DONE, FAILED, STOPPED)
_STOPPED = "the server has been stopped"
PURGE_SECONDS = 30  # between two looks for results whose time is over

# Reads a file, calls the function with shares from 0 to 1, and gives what it holds.
Recognise = Callable[[Path, Callable[[float], None]], Recording]


class QueueFull(Exception):
    """As many recordings wait as may."""


class _GivenUp(Exception):
    """Nobody wants the recording any more, or the server ends."""


@dataclass(eq=False)
class Job:
    """A recording on its way.

    Args:
        id: not to be guessed: whoever has it may read and end the job.
        folder: its own; gone with the audio in it when the job ends.
        name: of the recording, for people.
        audio: file in ``folder``.
        state: arriving, waiting, working, done, failed or stopped.
        progress: share that is recognised, 0 to 1.
        message: a sentence where it failed or was stopped.
        result: what was recognised, once it is done.
        ended_at: seconds of the queue's clock.
    """

    id: str
    folder: Path
    name: str = ""
    audio: Path | None = None
    state: str = ARRIVING
    progress: float = 0.0
    message: str = ""
    result: Recording | None = None
    ended_at: float = 0.0


class Jobs:
    """A model serves one recording at a time, and memory and disk are finite.

    So one thread works through a queue of bounded length. Audio is removed as soon as it is recognised;
    results stay in memory until they are fetched and given up, until ``keep_seconds`` are over, or until
    there are more than ``most_kept``.

    Args:
        recognise: see ``Recognise``. A ``UserError`` of it is the message of the job.
        folder: where audio is kept meanwhile.
        most_waiting: recordings that wait or arrive.
        most_kept: ended jobs that are remembered.
        keep_seconds: for which they are.
        clock: seconds.
    """

    def __init__(
        self,
        recognise: Recognise,
        folder: Path,
        most_waiting: int,
        most_kept: int = 100,
        keep_seconds: float = 1800,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.recognise, self.folder, self.clock = recognise, folder, clock
        self.most_waiting, self.most_kept, self.keep_seconds = most_waiting, most_kept, keep_seconds
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="recognition", daemon=True)
        self._thread.start()

    def reserve(self) -> Job:
        """A place in the queue for a recording that is about to arrive.

        Raises:
            QueueFull: there is none.
        """
        with self._changed:
            self._purge()
            taken = sum(job.state in (ARRIVING, WAITING) for job in self._jobs.values())
            if taken >= self.most_waiting or self._closing:
                raise QueueFull
            job = Job(id := secrets.token_urlsafe(18), self.folder / id)
            self._jobs[id] = job
        job.folder.mkdir()
        return job

    def enqueue(self, job: Job, name: str, audio: Path) -> None:
        """Let a recording that has arrived wait for its turn."""
        with self._changed:
            job.name, job.audio = name, audio
            if self._closing:
                self._end(job, STOPPED, _STOPPED)
                return
            job.state = WAITING
            self._waiting.append(job)
            self._changed.notify_all()

    def describe(self, id: str) -> dict[str, object] | None:
        """What is to be known of a job: state, recordings before it, progress and so on; None without one."""
        with self._changed:
            self._purge()
            if (job := self._jobs.get(id)) is None:
                return None
            before, state, message = 0, job.state, job.message
            if self._closing and state not in ENDED:  # told at once, though a batch may still be computed
                state, message = STOPPED, _STOPPED
            if state == WAITING:
                before = self._waiting.index(job) + any(one.state == WORKING for one in self._jobs.values())
            return {
                "id": job.id, "name": job.name, "state": state, "before": before,
                "progress": round(job.progress, 3), "message": message, "result": job.result,
            }  # fmt: skip

    def forget(self, id: str) -> bool:
        """Give up a job, or its result; False if there is none."""
        with self._changed:
            job = self._jobs.pop(id, None)
            if job is None:
                return False
            if job in self._waiting:
                self._waiting.remove(job)
            if job.state == WORKING:
                job.state = STOPPED  # its thread removes the audio
            else:
                shutil.rmtree(job.folder, ignore_errors=True)
            return True

    def count(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self._changed:
            states = [job.state for job in self._jobs.values()]
            return {state: states.count(state) for state in (ARRIVING, WAITING, WORKING, *ENDED)}

    def is_alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Take no more recordings, and give up those that wait and, as soon as it may be, the current one."""
        with self._changed:
            self._closing = True
            while self._waiting:
                self._end(self._waiting.popleft(), STOPPED, _STOPPED)
            self._changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Stop, and wait for the thread; whether it has ended."""
        self.stop()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _end(self, job: Job, state: str, message: str = "", result: Recording | None = None) -> None:
        job.state, job.message, job.result, job.ended_at = state, message, result, self.clock()
        shutil.rmtree(job.folder, ignore_errors=True)
        self._purge()

    def _purge(self) -> None:
        ended = [job for job in self._jobs.values() if job.state in ENDED]
        ended.sort(key=lambda job: job.ended_at)
        beyond = len(ended) - self.most_kept
        for place, job in enumerate(ended):
            if place < beyond or job.ended_at + self.keep_seconds < self.clock():
                del self._jobs[job.id]

    def _work(self) -> None:
        while (job := self._take()) is not None:
            state, message, result = FAILED, "", None
            try:
                result = self.recognise(job.audio, lambda share, job=job: self._watch(job, share))
                state = DONE
            except _GivenUp:
                state, message = STOPPED, _STOPPED
            except UserError as error:
                message = str(error).replace(str(job.audio), job.name)
            except Exception as error:  # whatever one recording does to the model, the next one is served
                traceback.print_exc(file=sys.stderr)
                message = f"{job.name} could not be recognised: {type(error).__name__}: {error}"
            with self._changed:
                self._end(job, state, message, result)

    def _take(self) -> Job | None:
        """The next recording; None when the server ends."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait(PURGE_SECONDS)
                self._purge()
            if self._closing:
                return None
            job = self._waiting.popleft()
            job.state = WORKING
            return job

    def _watch(self, job: Job, share: float) -> None:
        with self._changed:
            if self._closing or job.state != WORKING:
                raise _GivenUp
            job.progress = share
