"""What tests of other processes do to them and wait for."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
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
    """Whether a process of the session that ``leader`` has begun runs."""
    states = (_read_state(pid) for pid in os.listdir("/proc") if pid.isdigit())
    return any(int(session) == leader and state not in "ZX" for state, _parent, _group, session, *_ in states)


def _read_state(pid: int | str) -> list[str]:
    """State, parent, process group, session and more, from proc(5); "X" when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ["X", "0", "0", "0"]
