"""What tests find as ``python``: ``client.py SOCKET PYTHON WORDS...`` runs in a fork of the server.

Only the standard library's quickest parts are imported: each costs every process of every test.
"""

import json
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
HEADER = 8  # bytes of a request that tell its length


def receive(connection: socket.socket) -> int:
    """A number from the server."""
    content = b""
    while len(content) < 4:
        more = connection.recv(4 - len(content))
        if not more:
            sys.exit("tests/forking: the server has ended; its log is beside its socket")
        content += more
    return int.from_bytes(content, "big", signed=True)


def main(path: str, python: str, words: list[str]) -> None:
    """Ask for a fork and end as it does."""
    if not words or (words[0].startswith("-") and words[0] not in ("-m", "-c")) or words == ["-"]:
        os.execv(python, [python, *words])  # an option of the interpreter's own
    umask = os.umask(0)
    os.umask(umask)
    request = {"words": words, "cwd": os.getcwd(), "umask": umask, "environment": dict(os.environ)}
    content = json.dumps(request).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    socket.send_fds(connection, [len(content).to_bytes(HEADER, "big")], [0, 1, 2])
    connection.sendall(content)
    child = receive(connection)
    for number in FORWARDED:
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    status = receive(connection)
    if status < 0:
        if -status != signal.SIGKILL:  # whose handler nobody may set
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
