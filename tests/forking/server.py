"""The process that is forked: ``python -m forking.server SOCKET PID`` serves until process PID has ended."""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

from forking.client import FORWARDED, HEADER

# Whatever a stage of a recipe imports and takes long to; not the commands themselves, which runpy runs anew.
MODULES = (
    "espnet_wsm.plugin.task",
    "espnet_wsm.recognition.greedy",
    "espnet_wsm.recognition.transcriber",
    "espnet_wsm.data.features.reader",
    "espnet_wsm.data.features.writer",
    "espnet_wsm.data.kaldi.validation",
    "espnet_wsm.scoring.results",
    "espnet_wsm.upstream.stored_cut",
    "espnet2.bin.asr_inference",
    "s3prl.upstream.hf_hubert.expert",
    "transformers.models.hubert.modeling_hubert",
    "transformers.models.wavlm.modeling_wavlm",
    "matplotlib.pyplot",
    "librosa",
)


def main(path: str, tests: int) -> None:
    """Listen first, so that clients may come while the imports go on; then fork for each."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the collector of a fork would otherwise copy all of these pages
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads run: a fork would have one, and wait for the others' locks"
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    clients: dict[int, tuple[socket.socket, int]] = {}  # connection and child, by the child's descriptor
    while Path(f"/proc/{tests}").exists():
        for key, _ in selector.select(timeout=1):
            if key.fileobj is listener:
                connection, _ = listener.accept()
                child = start(connection, listener)
                if child is None:
                    continue
                ended = os.pidfd_open(child)
                clients[ended] = connection, child
                selector.register(ended, selectors.EVENT_READ)
                selector.register(connection, selectors.EVENT_READ, ended)
            elif key.data is None:  # a child has ended
                connection, child = clients.pop(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                selector.unregister(key.fd)
                os.close(key.fd)
                if connection.fileno() >= 0:
                    selector.unregister(connection)
                    reply(connection, status)
                    connection.close()
            else:  # a client was killed: so is its child
                kill(clients[key.data][1])
                selector.unregister(key.fileobj)
                key.fileobj.close()
    for _, child in clients.values():
        kill(child)


def kill(child: int) -> None:
    """End a child and what it has started."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it has no group of its own yet
        os.kill(child, signal.SIGKILL)


def reply(connection: socket.socket, number: int) -> None:
    """Tell a client its child's process id, or how the child has ended."""
    try:
        connection.sendall(number.to_bytes(4, "big", signed=True))
    except (BrokenPipeError, ConnectionResetError):
        return  # killed meanwhile; nobody asks any more


def start(connection: socket.socket, listener: socket.socket) -> int | None:
    """Read a request and fork; the process id of the child, None where the client has gone."""
    content, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    try:
        while len(content) < HEADER or len(content) - HEADER < int.from_bytes(content[:HEADER], "big"):
            more = connection.recv(1 << 20)
            if not more:
                connection.close()
                return None
            content += more
        child = os.fork()
        if child == 0:
            listener.close()
            connection.close()
            run(json.loads(content[HEADER:]), files)
    finally:
        for each in files:  # or whoever reads from them would wait for ever
            os.close(each)
    reply(connection, child)
    return child


def run(request: dict, files: list[int]) -> None:
    """Be what the client was asked to be; never returns."""
    os.setsid()  # a group of its own, so that whatever it starts can be ended with it
    for target, source in enumerate(files):
        os.dup2(source, target)
        os.close(source)
    for number in (*FORWARDED, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN if number == signal.SIGPIPE else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    status = 1
    try:
        execute(request["words"])
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF)


def execute(words: list[str]) -> None:
    """Run ``-m MODULE``, ``-c CODE`` or a script with its arguments, as the interpreter does."""
    search = [place for place in os.environ.get("PYTHONPATH", "").split(":") if place] + sys.path[1:]
    if words[0] == "-m":
        sys.argv[:], sys.path[:] = words[1:], [os.getcwd(), *search]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv[:], sys.path[:] = ["-c", *words[2:]], ["", *search]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv[:], sys.path[:] = words, [str(Path(words[0]).resolve().parent), *search]
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
