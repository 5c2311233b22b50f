"""The process of an upstream, seen from the check: answers in time, or is ended and started anew."""

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from espnet_wsm.benchmark.gpu.plan import CheckPlan
from espnet_wsm.benchmark.team import Worker

Answer = dict[str, Any]


class Lost(Exception):
    """A request has no answer; the text says why. The next request goes to a new process."""


class Late(Lost):
    """There was no time for a request, or none for its end."""


class UpstreamProcess:
    """Sends requests to a process that holds one upstream's arms.

    A kernel that fails can leave a process without a usable device, so after every failure but a lack of
    memory a new process is started.

    Args:
        plan: of the check.
        architecture: of the upstream.
        work: folder for the upstream and the process's output.
        body: what runs in the process; None = ``begin`` of ``gpu.worker``.
        method: how it is started. A forked process cannot use CUDA once its origin has.
    """

    def __init__(
        self,
        plan: CheckPlan,
        architecture: str,
        work: Path,
        body: Callable[..., Any] | None = None,
        method: str = "spawn",
    ):
        self.plan, self.architecture, self.work, self.body = plan, architecture, work, body
        self.method = method
        self.log = work / f"{architecture}.log"
        self._worker: Worker | None = None
        self._ready: Answer | None = None

    def start(self) -> None:
        """Begin to import and to write the upstream; returns at once."""
        from espnet_wsm.benchmark.gpu.worker import begin
        from espnet_wsm.benchmark.worker import serve

        upstreams = self.work / "upstream"
        upstreams.mkdir(parents=True, exist_ok=True)
        made = partial(self.body or begin, self.plan, self.architecture, upstreams)
        context = multiprocessing.get_context(self.method)
        self._worker = Worker(self.architecture, context, serve, (made, self.log, None))
        self._ready = None

    @property
    def runs(self) -> bool:
        """Whether it has a process, and so what was built in it."""
        return self._worker is not None

    def wait_ready(self, deadline: float) -> Answer:
        """The process's first answer.

        Args:
            deadline: ``time.monotonic()`` at which it is ended.

        Raises:
            Lost: there is none.
        """
        if self._worker is None:
            self.start()
        if self._ready is None:
            self._ready = self._receive(deadline)
        return self._ready

    def ask(self, deadline: float, **request: Any) -> Answer:
        """The answer to a request.

        Raises:
            Lost: it failed, or the process died; :class:`Late` when the deadline has passed. With it, what
                was built is gone.
        """
        self.wait_ready(deadline)
        try:
            self._worker.connection.send(request)
        except OSError as error:
            self.stop()
            raise Lost(f"its process ended: {error}") from error
        return self._receive(deadline)

    def _receive(self, deadline: float) -> Answer:
        connection, process = self._worker.connection, self._worker.process
        seconds = max(0.0, deadline - time.monotonic())
        try:
            if not connection.poll(seconds):
                self.stop()
                raise Late(f"no answer within {seconds:.0f} s")
            answer = connection.recv()
        except (EOFError, OSError):
            process.join(timeout=5)
            answer = {"failed": f"its process ended (exit code {process.exitcode})"}
        if "failed" in answer:
            self.stop()
            raise Lost(answer["failed"])
        return answer

    def stop(self) -> None:
        """End the process at once."""
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.process.join()
            self._worker.connection.close()
            self._worker = None
            self._ready = None

    def read_log(self, lines: int = 15) -> list[str]:
        """The last lines of its output."""
        if not self.log.exists():
            return []
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
