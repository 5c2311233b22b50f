"""Listen, serve, and end."""

import errno
import os
import signal
import socket
import sys

import uvicorn
from starlette.types import ASGIApp

from espnet_wsm.errors import UserError
from espnet_wsm.serve.jobs import Jobs

MOST_MESSAGE = 1 << 20  # bytes of a message of live audio
PATIENCE = 3  # seconds for answers under way, and then for the thread that recognises


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the port is taken or not allowed, or the host is not this computer's.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"--port {port}: give a number from 1 to 65535, or 0 for any that is free")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise UserError(f"--host {host}: {error.strerror}: name an address of this computer") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} of {host} is taken by another program: end it, or name another with --port, "
                f"e.g. --port {port + 1}"
            ) from None
        if error.errno == errno.EACCES:
            raise UserError(f"--port {port} is not allowed to you: name one from 1024 on") from None
        what = os.strerror(error.errno or 0)
        raise UserError(f"--host {host}: {what}: name an address of this computer") from None


def format_address(listening: socket.socket) -> str:
    """What people type into a browser on this computer."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Tells those who wait before it hangs up."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs):
        super().__init__(config)
        self.jobs = jobs

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.jobs.stop()
        await super().shutdown(sockets)


def run(app: ASGIApp, listening: socket.socket, jobs: Jobs) -> bool:
    """Serve until Ctrl-C or SIGTERM; whether the thread of ``jobs`` has ended then, too."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off",
        timeout_graceful_shutdown=PATIENCE, timeout_keep_alive=10, limit_concurrency=500,
        ws_max_size=MOST_MESSAGE,
    )  # fmt: skip
    # uvicorn sends itself the signal again when all is closed: then SIGTERM, too, is to be an exception.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _Server(config, jobs).run(sockets=[listening])
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, before)
    return jobs.close(PATIENCE)


def leave_at_once() -> None:
    """End the process although a thread computes in native code, in which Python cannot stop it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
