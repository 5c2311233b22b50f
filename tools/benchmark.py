#!/usr/bin/env python3
"""Measure what fine-tuning the last layers costs: memory, time and checkpoint size, against today's way.

.venv/bin/python tools/benchmark.py --config conf/benchmark/quick.yaml --out bench/quick

Each arm of the configuration is built in a process of its own and asked for one step or one decoding at a
time, in turn with the others and in shuffled order, so that a disturbance of the machine meets all of them.
Writes result.json (rewritten as measurements come in), table.md, memory.png and time.png. Ctrl-C leaves what
was measured so far, marked incomplete. Nothing is downloaded: the upstream has true sizes and random weights.
"""

import argparse
import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmark_config import BenchmarkConfig, read_config
from tqdm import tqdm

from espnet_wsm.errors import UserError, report_user_errors

PACKAGES = ("torch", "transformers", "espnet", "espnet-s3prl")
SLOWEST_START = 600.0  # seconds that one process may take to import, load and warm up


@dataclass(frozen=True)
class Point:
    """Where arms are compared: a batch of equally long utterances in one precision."""

    seconds: float
    batch: int
    dtype: str
    places: tuple[str, ...]

    def key(self) -> dict[str, Any]:
        """What a measurement says of its point."""
        return {"seconds": self.seconds, "batch": self.batch, "dtype": self.dtype}


def list_points(config: BenchmarkConfig, device: str) -> list[Point]:
    """All points, the least audio first, so that each can be foreseen from smaller ones."""
    reference = (config.reference.seconds, config.reference.batch)
    places: dict[tuple[float, int], tuple[str, ...]] = {(s, 1): ("lengths",) for s in config.lengths_s}
    places[reference] = (*places.get(reference, ()), "reference")
    sizes = sorted(places, key=lambda size: (size[0] * size[1], size[1]))
    return [Point(*size, dtype, places[size]) for dtype in config.dtypes[device] for size in sizes]


def extrapolate(known: Mapping[float, float], length: float) -> float:
    """Value at ``length`` from values at shorter ones, for costs with a linear and a quadratic part.

    One known value is taken to grow with the square, two or more as a*x + b*x^2 through the last two, with a
    and b not negative. 0 when nothing is known.
    """
    if not known:
        return 0.0
    *_, last = sorted(known)
    if len(known) == 1:
        return known[last] * max(1.0, length / last) ** 2
    before = sorted(known)[-2]
    rates = known[before] / before, known[last] / last
    b = (rates[1] - rates[0]) / (last - before)
    b = min(max(b, 0.0), rates[1] / last)
    a = rates[1] - b * last
    return a * length + b * length**2


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
    """One arm's process, seen from the parent.

    Args:
        name: of the arm.
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
        """What the process says when it is ready."""
        try:
            if self.connection.poll(SLOWEST_START):
                return self.connection.recv()
        except (EOFError, OSError):
            return {"failed": self._lose()}
        return {"failed": f"not ready after {SLOWEST_START:.0f} s"}

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
        (work / "log").mkdir(parents=True, exist_ok=True)
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
        import benchmark_worker  # takes seconds

        progress.show("importing, writing the upstream")
        if self.device != "cuda":
            self._start_fork_server(benchmark_worker.PRELOAD)
        log = self.work / "log" / "preparation"
        arguments = (self.config, self.work / "upstream", self.device, log)
        (self.work / "upstream").mkdir(exist_ok=True)
        prepared = self._finish(
            Worker("preparation", self._context, benchmark_worker.serve_preparation, arguments)
        )
        sizes = {}
        waiting: list[Worker] = []
        for name, arm in self.config.arms.items():
            if len(waiting) >= (os.cpu_count() or 1):
                self._await(waiting.pop(0), sizes, progress)
            log = self.work / "log" / name
            arguments = (arm, self.config, prepared["paths"], self.device, log)
            self.workers[name] = Worker(name, self._context, benchmark_worker.serve_arm, arguments)
            waiting.append(self.workers[name])
        for worker in waiting:
            self._await(worker, sizes, progress)
        return prepared["machine"], sizes

    def _start_fork_server(self, modules: list[str]) -> None:
        """Import ``modules`` once, for all; what they print while doing so goes to a file."""
        self._context.set_forkserver_preload(modules)
        log = os.open(self.work / "log" / "imports", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        kept = os.dup(1), os.dup(2)
        try:
            os.dup2(log, 1)
            os.dup2(log, 2)
            multiprocessing.forkserver.ensure_running()
        finally:
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.close(log)

    def _finish(self, worker: Worker) -> dict[str, Any]:
        try:
            answer = worker.first_answer()
        finally:
            worker.stop()
        if "failed" in answer:
            raise UserError(f"the upstream cannot be written: {answer['failed']}")
        return answer

    @staticmethod
    def _await(worker: Worker, sizes: dict[str, dict[str, Any]], progress: Progress) -> None:
        progress.show(f"building {worker.name}")
        answer = worker.first_answer()
        if "failed" in answer:
            raise UserError(f"arm {worker.name} cannot be built: {answer['failed']}")
        sizes[worker.name] = answer

    def stop(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.stop()


class Measuring:
    """Which measurement comes next, what it will need, and what came out.

    Args:
        config: what to measure.
        team: the arms' processes, started.
        device: ``cpu`` or ``cuda``.
        deadline: ``time.monotonic()`` at which the last measurement should have ended.
    """

    def __init__(self, config: BenchmarkConfig, team: Team, device: str, deadline: float):
        self.config, self.team, self.deadline = config, team, deadline
        self.points = list_points(config, device)
        self.measurements: list[dict[str, Any]] = []
        self.skipped: list[dict[str, Any]] = []
        self._kinds = plan_kinds(config)
        self._given_up: set[tuple] = set()
        self._order = random.Random(config.seed)

    def num_planned(self) -> int:
        """Measurements if nothing is skipped and no time runs out."""
        return sum(len(self._plan(point, number)) for point, number in self._sweeps())

    def run(self, progress: Progress) -> Iterator[None]:
        """Measure everything; yields after each sweep over the arms at one point."""
        for point, number in self._sweeps():
            plan = self._plan(point, number)
            self._order.shuffle(plan)
            for arm, kind in plan:
                at = f"{point.batch} x {point.seconds:g} s {point.dtype}"
                progress.show(f"{arm}: {kind} {at}, round {number}")
                self._measure(arm, kind, point, number)
                progress.update()
            yield

    def _sweeps(self) -> Iterator[tuple[Point, int]]:
        """(point, round): everything once, then what the ratios are of, then the rest."""
        yield from ((point, 0) for point in self.points)
        for place in (True, False):
            points = [point for point in self.points if ("reference" in point.places) == place]
            yield from ((point, number + 1) for number in range(self.config.rounds) for point in points)

    def _plan(self, point: Point, number: int) -> list[tuple[str, str]]:
        """(arm, kind) at ``point`` in round ``number``; round 0 also counts saved bytes."""
        return [
            (name, kind)
            for name, arm in self.config.arms.items()
            if arm.takes_part(point.seconds, point.places)
            for kind in self._kinds[name]
            if number == 0 or kind in arm.measure
        ]

    def _measure(self, arm: str, kind: str, point: Point, number: int) -> None:
        place = (arm, kind, *point.key().values())
        if place in self._given_up:
            return
        own = [m for m in self._of(arm, kind, point.dtype) if point.key().items() <= m.items()]
        seconds = self._foresee(arm, kind, point, "seconds_taken")
        spent = sum(m["seconds_taken"] for m in own)
        late = time.monotonic() + seconds > self.deadline
        if number > 0 and (late or spent + seconds > self.config.seconds_per_point):
            self._given_up.add(place)
            return
        reason = f"about {seconds:.0f} s more would pass the limit of {self.config.minutes:g} min"
        if not late:
            start = time.monotonic()
            answer = self.team.workers[arm].ask(
                {
                    "kind": kind,
                    **point.key(),
                    "count_saved": number == 0 and kind == "step",
                    "need": self._foresee_memory(arm, kind, point),
                }
            )
            taken = time.monotonic() - start
            if "failed" not in answer and "skipped" not in answer:
                fixed = {"arm": arm, "kind": kind, **point.key(), "round": number}
                self.measurements.append(fixed | answer | {"seconds_taken": round(taken, 3)})
                return
            reason = answer.get("skipped") or f"failed: {answer['failed']}"
        self._given_up.add(place)
        self.skipped.append({"arm": arm, "kind": kind, **point.key(), "round": number, "reason": reason})

    def _of(self, arm: str, kind: str, dtype: str) -> list[dict[str, Any]]:
        wanted = {"arm": arm, "kind": kind, "dtype": dtype}
        return [m for m in self.measurements if wanted.items() <= m.items()]

    def _foresee(self, arm: str, kind: str, point: Point, value: str) -> float:
        """Estimate of a measured value at ``point``; 0 when there is nothing to go by."""
        known: dict[float, float] = {}
        for m in self._of(arm, kind, point.dtype):
            found = m.get(value)
            if found is not None and m["batch"] == point.batch and m["seconds"] <= point.seconds:
                known[m["seconds"]] = max(found, known.get(m["seconds"], 0.0))
        if point.seconds in known:
            return known[point.seconds]
        if not known and point.batch > 1:
            single = Point(point.seconds, 1, point.dtype, point.places)
            return point.batch * self._foresee(arm, kind, single, value)
        return extrapolate(known, point.seconds)

    def _foresee_memory(self, arm: str, kind: str, point: Point) -> float:
        """Bytes above the resident ones: at least what autograd will keep, which can be foreseen exactly."""
        peak = self._foresee(arm, kind, point, "above_baseline_bytes")
        return max(peak, self._foresee(arm, kind, point, "saved_bytes")) if kind == "step" else peak


def plan_kinds(config: BenchmarkConfig) -> dict[str, tuple[str, ...]]:
    """What is measured of each arm; decoding only of one of those that decode alike."""
    decoders = find_decoders(config).values()
    return {
        name: tuple(kind for kind in arm.kinds() if kind != "decode" or name in decoders)
        for name, arm in config.arms.items()
    }


def find_decoders(config: BenchmarkConfig) -> dict[tuple[str, ...], str]:
    """For each way to decode the arm that stands for it: the one measured at the most points."""
    points = list_points(config, "cpu")
    found: dict[tuple[str, ...], tuple[int, str]] = {}
    for name, arm in config.arms.items():
        if "decode" in arm.measure:
            count = sum(arm.takes_part(point.seconds, point.places) for point in points)
            if count > found.get(arm.inference_key(), (0, ""))[0]:
                found[arm.inference_key()] = count, name
    return {key: name for key, (_, name) in found.items()}


def resolve_device(wanted: str) -> str:
    """``cpu`` or ``cuda``.

    Raises:
        UserError: CUDA was asked for and is not there.
    """
    import torch  # takes seconds

    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise UserError("device is cuda, but torch finds no NVIDIA GPU: set it to auto or cpu")
    return "cuda" if found and wanted != "cpu" else "cpu"


def run_benchmark(config: BenchmarkConfig, out: Path, work: Path, name: str) -> bool:
    """Measure all arms and leave result.json, table.md, memory.png and time.png in ``out``.

    Args:
        config: what to measure.
        out: folder of the results, made if need be.
        work: folder for upstreams and logs.
        name: of the configuration, for the result.

    Returns:
        whether it ran to its end; False after Ctrl-C or SIGTERM.

    Raises:
        UserError: an arm cannot be built, or the device is not there.
    """
    from benchmark_report import list_ratios, write_report, write_result

    begin = time.monotonic()
    device = resolve_device(config.device)
    result: dict[str, Any] = {"complete": False, "config_name": name, **describe_software(config)}
    team = Team(config, device, work)
    try:
        with Progress(config.minutes) as progress:
            machine, sizes = team.start(progress)
            measuring = Measuring(config, team, device, begin + 60 * config.minutes)
            result |= {"machine": machine, "arms": describe_arms(config, sizes)}
            result |= {"measurements": measuring.measurements, "skipped": measuring.skipped}
            progress.total = measuring.num_planned()
            for _ in measuring.run(progress):
                result["seconds"] = time.monotonic() - begin
                write_result(result, out)
        result["complete"] = True
    except KeyboardInterrupt:
        print("stopped: what was measured so far is kept", file=sys.stderr)
    finally:
        team.stop()
    result["seconds"] = time.monotonic() - begin
    if "arms" in result:
        write_report(result, out)
        print("\n".join([*list_ratios(result), f"more in {out / 'table.md'}"]))
    return result["complete"]


def describe_software(config: BenchmarkConfig) -> dict[str, Any]:
    """Date, commit, versions and the configuration."""
    from espnet_wsm.stages.record_run import describe_git

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "git": describe_git(Path(__file__).parent),
        "versions": {name: version(name) for name in PACKAGES},
        "config": asdict(config),
    }


def describe_arms(config: BenchmarkConfig, sizes: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Sizes of each arm, and the arm whose decoding stands for its own, which may be itself."""
    decoders = find_decoders(config)
    described = {}
    for name, arm in config.arms.items():
        key = arm.inference_key()
        if arm.way == "cached":
            key = ("cut", *key[1:])
        described[name] = sizes[name] | {"decodes_as": decoders.get(key)}
    return described


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="a file of conf/benchmark")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--work",
        type=Path,
        help="folder for the random upstreams (0.8 GB for 95 M parameters, 2.6 GB for 300 M) and the logs of "
        "the processes; kept and used again (default: a temporary one, removed at the end)",
    )
    return parser.parse_args(argv)


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point; exit status 130 when stopped."""
    args = parse_arguments(argv)
    config = read_config(args.config)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        work = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark_")))
        complete = run_benchmark(config, args.out, work, args.config.name)
    if not complete:
        sys.exit(130)


if __name__ == "__main__":
    main()
