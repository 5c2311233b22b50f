"""Processes that experiments start and stop, and the lock of a checkout."""

import fcntl
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from espnet_wsm.errors import UserError

LOCK = ".run_all.lock"


# Not filelock: the message names the process that holds the lock, which it does not tell.
@contextmanager
def hold_lock(root: Path) -> Iterator[None]:
    """Let one process at a time run experiments in this checkout; the lock ends with its process.

    Raises:
        UserError: another process holds the lock.
    """
    with (root / LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"experiments are running in this checkout already (process {holder}): wait for their end, "
                "or stop them; what they have done is kept"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


class Launcher:
    """Runs commands, in any number of threads, until it is stopped.

    A training that kept running would block the next call.
    """

    def __init__(self) -> None:
        self._launched: set[subprocess.Popen] = set()
        self._stopped = False
        self._changing = threading.Lock()

    def run(self, command: Sequence[str], folder: Path) -> tuple[int, str]:
        """Exit status and output of a command.

        Raises:
            UserError: it was stopped before.
        """
        with self._changing:
            if self._stopped:
                raise UserError("stopped")
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            self._launched.add(process)
        output, _ = process.communicate()
        self._launched.discard(process)
        return process.returncode, output

    def stop(self) -> None:
        """End what is running, and let nothing else begin."""
        with self._changing:
            self._stopped = True
            for process in tuple(self._launched):
                process.terminate()
