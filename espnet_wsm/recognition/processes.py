"""Recordings are shared out among processes, each with a model of its own."""

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from espnet_wsm.errors import UserError
from espnet_wsm.recognition.transcription import Transcription

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Advance, Transcriber

SECONDS, READY, DONE, FAILED = "seconds", "ready", "done", "failed"  # what a process says


@dataclass
class _Worker:
    """A process, the number of the file that it has, and whether it has loaded its model."""

    process: SpawnProcess
    file: int
    ready: bool = False


class Processes:
    """A pool of the standard library ends as a whole when one of its processes is killed.

    Here each process is handed one file at a time through a pipe of its own. One that dies is replaced, and
    its file counts as failed.

    Args:
        number: of processes.
        load: gives the model; pickled, and called in each process.
        transcription: what is done with each file.
    """

    def __init__(self, number: int, load: Callable[[], "Transcriber"], transcription: Transcription):
        self.number, self.load, self.transcription = number, load, transcription
        self._workers: dict[Connection, _Worker] = {}
        self._ended: list[SpawnProcess] = []
        self._warned: set[str | None] = {None}

    def run(self, files: Sequence[str], advance: "Advance") -> Iterator[tuple[str, str | UserError]]:
        """As ``Transcription.run``, in the order of the files too.

        Raises:
            UserError: a process cannot load the model, or dies of it.
            OSError: as there.
        """
        left = deque(range(len(files)))
        found: dict[int, str | UserError] = {}
        told = 0
        try:
            while left or self._workers:
                while left and len(self._workers) < self.number:
                    self._start(left.popleft(), files)
                for connection in wait([*self._workers]):
                    assert isinstance(connection, Connection)
                    worker = self._workers[connection]
                    try:
                        kind, value = connection.recv()
                    except (EOFError, OSError):
                        found[worker.file] = self._bury(connection, files[worker.file])
                        continue
                    if kind == SECONDS:
                        advance(value)
                    elif kind == READY:
                        worker.ready = True
                        if value not in self._warned:
                            print(value, file=sys.stderr)
                            self._warned.add(value)
                    elif kind == FAILED:
                        raise value
                    else:
                        found[worker.file] = value
                        self._hand_on(connection, left, files)
                while told in found:
                    yield files[told], found.pop(told)
                    told += 1
        finally:
            for worker in self._workers.values():
                worker.process.terminate()
                self._ended.append(worker.process)
            for process in self._ended:
                process.join()

    def _start(self, file: int, files: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.load, self.transcription), daemon=True)
        process.start()
        theirs.close()
        self._workers[ours] = _Worker(process, file)
        with suppress(OSError):  # it has died, which shows when it is listened to
            ours.send(files[file])

    def _hand_on(self, connection: Connection, left: deque[int], files: Sequence[str]) -> None:
        if not left:
            connection.close()  # which it notices, and ends
            self._ended.append(self._workers.pop(connection).process)
            return
        self._workers[connection].file = left.popleft()
        with suppress(OSError):  # as above
            connection.send(files[self._workers[connection].file])

    def _bury(self, connection: Connection, file: str) -> UserError:
        """The error for the file of a process that has died."""
        worker = self._workers.pop(connection)
        connection.close()
        worker.process.join()
        status = worker.process.exitcode
        assert status is not None
        how, remedy = f"ended with status {status}", "its last message says why"
        if status < 0:
            how = f"was killed ({signal.Signals(-status).name})"
            remedy = "if memory ran out, give fewer --jobs or a smaller --batch_size"
        if not worker.ready:
            raise UserError(f"a process {how} while it was loading the model: {remedy}")
        return UserError(f"{file}: the process that had it {how}: {remedy}")


def _work(connection: Connection, load: Callable[[], "Transcriber"], transcription: Transcription) -> None:
    """A process: transcribes one file after the other, until there is nobody who hands it any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first process too, which ends this one
    try:
        transcriber = load()
        connection.send((READY, transcription.find_warning(transcriber)))
        while True:
            file = connection.recv()
            for _, found in transcription.run(
                transcriber, [file], lambda seconds: connection.send((SECONDS, seconds))
            ):
                connection.send((DONE, found))
    except (EOFError, ConnectionError):
        return
    except (UserError, OSError) as error:
        connection.send((FAILED, error))
