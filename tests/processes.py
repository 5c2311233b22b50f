"""What tests of other processes do to them and wait for."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Ask again and again until ``condition()`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    return _read_state(pid)[0] not in "ZX"


def kill_session(process: subprocess.Popen) -> None:
    """SIGKILL a process that leads a session and all that it has started there, and wait for their end."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not is_session_alive(process.pid))


def is_session_alive(leader: int) -> bool:
    """Whether a process of the session that ``leader`` has begun runs, or has not let go of its files yet.

    The first thread of a killed process may have ended while others still hold what it had open, locks too.
    """
    for pid in filter(str.isdigit, os.listdir("/proc")):
        state, _parent, _group, session, *_ = _read_state(pid)
        if int(session) == leader and (state not in "ZX" or any(_are_threads_alive(pid))):
            return True
    return False


def _are_threads_alive(pid: str) -> Iterator[bool]:
    """For each thread of a process, whether it runs."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        yield _read_state(f"{pid}/task/{thread}")[0] not in "ZX"


def _read_state(pid: int | str) -> list[str]:
    """State, parent, process group, session and more, from proc(5); "X" when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ["X", "0", "0", "0"]
