"""The processes of a benchmark: one for each arm, so that none disturbs another's memory."""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

from tqdm import tqdm

from espnet_wsm.benchmark.config import BenchmarkConfig
from espnet_wsm.errors import UserError

SLOWEST_START = 600.0  # seconds that one process may take to import, load and warm up
# Modules that every process needs and that take seconds to import: a fork server imports them once.
PRELOAD = [
    "transformers.models.wav2vec2.modeling_wav2vec2",
    "s3prl.hub",
    "s3prl.nn",
    "espnet2.asr.ctc",
    "espnet2.asr.frontend.s3prl",
    "espnet_wsm.plugin.encoder",
    "espnet_wsm.benchmark.worker",
]


def send_output(log: Path) -> None:
    """Append what this process and those that it starts print from now on to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


class Progress(tqdm):
    """What is being measured, how much is done, how long it has taken and may take.

    Args:
        minutes: limit of the whole run.
    """

    def __init__(self, minutes: float):
        limit = f"limit about {minutes:g} min"
        self._live = sys.stderr.isatty()
        super().__init__(
            total=1,
            bar_format="{n_fmt} of at most {total_fmt} in {elapsed} (" + limit + "), {desc}",
            dynamic_ncols=True,
            mininterval=0.5 if self._live else 15.0,
        )

    def show(self, what: str) -> None:
        """Say what is being done now."""
        self.set_description_str(what, refresh=self._live)


class Worker:
    """One process, seen from the parent.

    Args:
        name: what it makes, for messages.
        context: how processes are made.
        target: body of the process; its first argument is a connection.
        arguments: the others.
    """

    def __init__(self, name: str, context: Any, target: Any, arguments: tuple):
        self.name = name
        self.lost: str | None = None
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer; ``{"skipped": reason}`` from a process that died."""
        if self.lost is not None:
            return {"skipped": self.lost}
        try:
            self.connection.send(request)
            return self.connection.recv()
        except (EOFError, OSError):
            return {"skipped": self._lose()}

    def first_answer(self) -> dict[str, Any]:
        """What the process says when it is ready.

        Raises:
            UserError: it is not, with the reason.
        """
        answer = {"failed": f"not ready after {SLOWEST_START:.0f} s"}
        try:
            if self.connection.poll(SLOWEST_START):
                answer = self.connection.recv()
        except (EOFError, OSError):
            answer = {"failed": self._lose()}
        if "failed" in answer:
            raise UserError(f"{self.name} cannot be built: {answer['failed']}")
        return answer

    def _lose(self) -> str:
        self.process.join(timeout=10)
        code = self.process.exitcode
        why = "killed, as when memory runs out" if code == -signal.SIGKILL else f"exit code {code}"
        self.lost = f"its process ended ({why})"
        return self.lost

    def stop(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.connection.close()
        self.process.join(timeout=2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Team:
    """The processes of all arms.

    Args:
        config: what to measure.
        device: ``cpu`` or ``cuda``.
        work: folder of the upstreams and of the processes' output (``log/ARM``).
    """

    def __init__(self, config: BenchmarkConfig, device: str, work: Path):
        self.config, self.device, self.work = config, device, work
        self.workers: dict[str, Worker] = {}
        for name in ("log", "upstream"):
            (work / name).mkdir(parents=True, exist_ok=True)
        # Beside another job, threads that spin while they wait take the cores from those they wait for: a
        # step of 0.2 s took 2.4 s beside one busy process, 0.34 s with this. On an idle machine nothing
        # changes.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        # A forked process cannot use CUDA once its origin has; where CUDA is not used, forking saves the
        # imports of every worker but the first.
        self._context = multiprocessing.get_context("spawn" if device == "cuda" else "forkserver")

    def start(self, progress: Progress) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Write the upstreams, then build every arm; returns the machine, and arm -> its sizes.

        Raises:
            UserError: an arm cannot be built; names it and the reason.
        """
        progress.show("importing, writing the upstream")
        if self.device != "cuda":
            self._start_fork_server()
        from espnet_wsm.benchmark import worker  # takes seconds

        prepare = partial(worker.prepare, self.config, self.work / "upstream", self.device)
        preparing = self._start_worker("the upstream", "preparation", prepare)
        try:
            prepared = preparing.first_answer()
        finally:
            preparing.stop()
        sizes = {}
        for names in batched(self.config.arms, os.cpu_count() or 1):
            for name in names:
                arm = self.config.arms[name]
                build = partial(worker.build_arm, arm, self.config, prepared["upstream"], self.device)
                self.workers[name] = self._start_worker(f"arm {name}", name, build)
            for name in names:
                progress.show(f"building {name}")
                sizes[name] = self.workers[name].first_answer()
        return prepared["machine"], sizes

    def _start_worker(self, name: str, log: str, begin: partial) -> Worker:
        from espnet_wsm.benchmark.worker import serve

        return Worker(name, self._context, serve, (begin, self.work / "log" / log, self.config.threads))

    def _start_fork_server(self) -> None:
        """Import what takes long once, for all; what is printed while doing so goes to a file."""
        self._context.set_forkserver_preload(PRELOAD)
        kept = os.dup(1), os.dup(2)
        try:
            send_output(self.work / "log" / "imports")
            multiprocessing.forkserver.ensure_running()
        finally:
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)

    def stop(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.stop()
