"""A fork of the server is to its caller what a fresh Python is."""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from processes import wait_for

from forking.client import HEADER

MODULE = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ["GIVEN"], sys.stdin.read(), __name__)
print("to stderr", file=sys.stderr)
"""


@pytest.fixture
def python(forking_python) -> Path:
    return forking_python / "python"


@pytest.mark.parametrize("form", ["module", "script", "code"])
def test_words_environment_folder_and_files_are_the_callers(python, tmp_path, form):
    (tmp_path / "told.py").write_text(MODULE)
    start = {"module": ["-m", "told"], "script": ["told.py"], "code": ["-c", MODULE]}[form]
    words = [*start, "a b", "--help", "\udc80"]
    call = {"cwd": tmp_path, "env": {"GIVEN": "x y"}, "input": "in", "capture_output": True, "text": True}
    forked, plain = (subprocess.run([each, *words], **call) for each in (python, sys.executable))
    assert forked.stdout == plain.stdout and f"{tmp_path} x y in __main__" in forked.stdout
    assert (forked.returncode, forked.stderr) == (0, "to stderr\n")


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit('a reason')", 1, "a reason\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import atexit; atexit.register(print, 'end', flush=True)", 0, ""),
    ],
)
def test_it_ends_as_its_process_ends(python, code, status, message):
    result = subprocess.run([python, "-c", code], capture_output=True, text=True)
    assert result.returncode == status and result.stderr.endswith(message)
    assert result.stdout == ("end\n" if "atexit" in code else "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_process(python, tmp_path, number):
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    process = subprocess.Popen([python, "-c", code], cwd=tmp_path)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process.send_signal(number)
    assert process.wait(30) == -number
    wait_for(lambda: not Path("/proc", (tmp_path / "pid").read_text()).exists())


def test_a_caller_that_is_killed_while_it_asks_leaves_none_of_its_files_open(forking_python):
    read, write = os.pipe()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(forking_python / "socket"))
        socket.send_fds(caller, [(99).to_bytes(HEADER, "big")], [write] * 3)
    os.close(write)
    assert select.select([read], [], [], 60)[0] and os.read(read, 1) == b""
    os.close(read)


def test_what_is_meant_for_the_interpreter_goes_to_one(python):
    result = subprocess.run([python, "--version"], capture_output=True, text=True)
    assert result.stdout.startswith("Python 3.") and result.returncode == 0
