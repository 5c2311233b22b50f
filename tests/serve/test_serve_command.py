"""What espnet-wsm serve refuses before it loads a model."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest
from servers import make_wav, send

from espnet_wsm.bin import serve
from espnet_wsm.serve.running import format_address, listen


def fault_of(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        serve.main(["--model", "nothing", *words])
    assert end.value.code == 1
    return capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert fault_of(capsys, "--port", str(port)) == (
            f"error: port {port} of 127.0.0.1 is taken by another program: end it, or name another with "
            f"--port, e.g. --port {port + 1}\n"
        )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--port", "70000"), "--port 70000: give a number from 1 to 65535"),
        (("--host", "203.0.113.7"), "--host 203.0.113.7: Cannot assign requested address: name an address"),
        (("--host", "no host"), "--host no host: "),
        (("--max_minutes", "0"), "--max_minutes 0: give a number above 0"),
        (("--max_megabytes", "nan"), "--max_megabytes nan: give a number above 0"),
        (("--queue", "-1"), "--queue -1: give a number above 0"),
        (("--corpus", __file__), "is a file: name a folder"),
        (("--port", "0"), "nothing does not exist: name an experiment folder"),
    ],
)
def test_wrong_options_are_named(capsys, words, sentence):
    assert sentence in fault_of(capsys, *words)


def test_an_open_address_is_warned_of(capsys):
    said = fault_of(capsys, "--host", "0.0.0.0", "--port", "0")
    assert said.startswith("warning: there is no password: whoever reaches this computer may use the page\n")


def test_a_missing_extra_is_named(capsys, monkeypatch):
    monkeypatch.setattr(serve, "PACKAGES", ("starlette", "no_such_package"))
    assert fault_of(capsys) == 'error: serve needs more packages: pip install "espnet_wsm[serve]"\n'


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_address_can_be_typed_into_a_browser(host, shown):
    try:
        listening = listen(host, 0)
    except ValueError:
        pytest.skip("this machine has no IPv6")
    with listening:
        assert format_address(listening) == f"http://{shown}:{listening.getsockname()[1]}"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_the_server_is_clean_and_those_who_wait_are_told(tmp_path, sent):
    """One recording is under way, another waits, and both are asked for."""
    command = [sys.executable, Path(__file__).with_name("waiting_server.py"), tmp_path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen(command, **options) as server:
        with httpx2.Client(base_url=server.stdout.readline().strip(), timeout=60) as browser:
            ids = ",".join(send(browser, make_wav(4000)).json()["id"] for _ in range(2))
            news = browser.get(f"/api/jobs?ids={ids}").json()
            while [job["state"] for job in news["jobs"]] != ["working", "waiting"]:
                news = browser.get(f"/api/jobs?ids={ids}&seen={news['tag']}").json()
            assert len(list(tmp_path.iterdir())) == 2
            threading.Timer(0.5, server.send_signal, [sent]).start()
            told = browser.get(f"/api/jobs?ids={ids}&seen={news['tag']}").json()["jobs"]
        said, complaints = server.communicate(timeout=30)
    assert [job["state"] for job in told] == ["stopped", "stopped"]
    assert {job["message"] for job in told} == {"the server has been stopped"}
    assert (said, complaints, server.returncode) == ("True\n", "stopping\n", 0)
    assert list(tmp_path.iterdir()) == []
