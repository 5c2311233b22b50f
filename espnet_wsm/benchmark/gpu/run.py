"""A check of a GPU from its start to its report; what was measured is written down as it comes."""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from espnet_wsm.benchmark.gpu.plan import BUILDS, WAYS, Build, CheckPlan
from espnet_wsm.benchmark.gpu.process import Answer, Late, Lost, UpstreamProcess
from espnet_wsm.benchmark.gpu.report import write_report, write_result
from espnet_wsm.benchmark.gpu.search import find_largest, predict_largest
from espnet_wsm.benchmark.gpu.suite import DeviceTests
from espnet_wsm.errors import UserError

# Seconds before the end at which nothing new is begun, and those that the report takes, at most.
LAST_BEGIN, REPORT = 12.0, 10.0
# Seconds that a request may take before the process counts as stuck, and that building may.
LONGEST, LONGEST_BUILD = 90.0, 180.0
MOST_FAILURES = 2  # among the lengths of an arm, or in a search, for each of which it is built anew
TOO_LATE = "the time was up"


def require_device(device: str) -> None:
    """Refuse to begin without a GPU.

    Raises:
        UserError: torch finds none.
    """
    import torch  # takes seconds

    if device == "cuda" and not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs alone"
        raise UserError(
            f"torch {torch.__version__}, built for {built}, finds no NVIDIA GPU here: run this where there "
            "is one, or give --dry-run"
        )


class Check:
    """One check.

    Args:
        plan: what to run and to measure.
        out: folder of the results.
        work: folder for upstreams and logs.
        root: the checkout, for its tests.
        minutes: nothing is begun that could end later.
        facts: ``date``, ``git`` and ``versions``, for the result.
        begin: ``time.monotonic()`` at which the time began.
    """

    def __init__(
        self,
        plan: CheckPlan,
        out: Path,
        work: Path,
        root: Path,
        minutes: float,
        facts: Mapping[str, Any],
        begin: float | None = None,
    ):
        self.plan, self.out = plan, out
        self.begin = time.monotonic() if begin is None else begin
        self.end = self.begin + 60 * minutes - REPORT
        self.minutes = minutes
        self.tests = DeviceTests(plan, root, work, out / "tests.log")
        self._part = "all"
        self.processes = {name: UpstreamProcess(plan, name, work) for name in plan.architectures}
        self.result: dict[str, Any] = {
            "complete": False,
            **facts,
            "minutes": minutes,
            "plan": asdict(plan),
            "machine": None,
            "tests": self.tests.read(),
            "arms": [],
            "measurements": [],
            "largest": [],
            "left_out": [],
            "failures": [],
        }

    def run(self) -> bool:
        """Do all of it and write the report; whether it ran to its end, which Ctrl-C and SIGTERM prevent."""
        try:
            self._run()
            self.result["complete"] = True
        except KeyboardInterrupt:
            print("stopped: what was measured so far is kept", file=sys.stderr)
        finally:
            self.tests.stop()
            for process in self.processes.values():
                process.stop()
        self.result["tests"] = self.tests.read()
        self._save()
        write_report(self.result, self.out)
        return self.result["complete"]

    def _run(self) -> None:
        self._save()
        self.tests.start(60 * self.minutes * self.plan.tests_share)
        for process in self.processes.values():
            process.start()  # they import and write their upstreams meanwhile
        tests = self.result["tests"] = self.tests.wait()
        self._say(f"{tests['passed']} tests passed, {tests['failed']} failed, {tests['skipped']} skipped")
        if not tests["complete"]:
            reason = tests["stopped"] or f"pytest ended with status {tests['exit_code']}"
            self._fail({"part": "tests"}, reason, self.tests.read_log())
        self._save()
        for build in self.plan.builds():
            self._measure_build(build)
            self._save()

    def _measure_build(self, build: Build) -> None:
        """All ways of one model; a failure costs the rest of a way, not the others."""
        process = self.processes[build.architecture]
        for way in BUILDS[build.way]:
            key = build.key(way)
            self._part = "all"
            try:
                self._measure_way(build, process, key)
                self._say(f"{_name(key)}: measured")
            except Late as error:
                self.result["left_out"].append(key | {"part": self._part, "reason": str(error)})
            except Lost as error:
                self._fail(key | {"part": self._part}, str(error), process.read_log())

    def _measure_way(self, build: Build, process: UpstreamProcess, key: Answer) -> None:
        if key["way"] == BUILDS[build.way][0] or not process.runs:
            sizes = self._build(build, process)
        if key["way"] == "cached":
            sizes = self._ask(process, do="use_cache")
        self.result["arms"].append(key | sizes)
        failed = 0
        for seconds, dtype in self.plan.points(build):
            at = key | {"seconds": seconds, "dtype": dtype}
            self._part = f"{seconds:g} s {dtype} and what follows"
            self._restore(build, process, key["way"])
            try:
                answer = self._ask(process, do="point", seconds=seconds, dtype=dtype)
            except Lost as error:
                failed += 1
                if isinstance(error, Late) or failed > MOST_FAILURES:
                    raise
                self._fail(key | {"part": f"{seconds:g} s {dtype}"}, str(error), process.read_log())
                continue
            if "skipped" in answer:
                left_out = key | {"part": f"{seconds:g} s {dtype}", "reason": answer["skipped"]}
                self.result["left_out"].append(left_out)
            else:
                self.result["measurements"].append(at | answer)
            self._save()
        self._part = "largest batch"
        self.result["largest"].append(key | self._find_largest(build, process, key["way"]))

    def _build(self, build: Build, process: UpstreamProcess) -> Answer:
        """Have a model built, once its process is ready; the first tells of the machine."""
        self._require_time()
        first = process.wait_ready(min(self.end, time.monotonic() + LONGEST_BUILD))
        if self.result["machine"] is None:
            self.result["machine"] = first["machine"]
            self.result["machine"] |= self._ask(process, do="ceilings")
        return self._ask(process, LONGEST_BUILD, **build.request())

    def _restore(self, build: Build, process: UpstreamProcess, way: str) -> None:
        """Build what a failure has taken along."""
        if not process.runs:
            self._build(build, process)
            if way == "cached":
                self._ask(process, do="use_cache")

    def _find_largest(self, build: Build, process: UpstreamProcess, way: str) -> Answer:
        """The largest batch on the plan's card, in the first precision."""
        dtype = self.plan.dtypes[0]
        tried: dict[int, Answer] = {}
        failed: dict[int, str] = {}  # not for want of memory

        def fits(utterances: int) -> bool:
            if utterances in tried:
                return tried[utterances]["fits"]
            try:
                self._restore(build, process, way)
                tried[utterances] = self._ask(process, do="batch", utterances=utterances, dtype=dtype)
            except Lost as error:
                if isinstance(error, Late) or not tried or len(failed) == MOST_FAILURES:
                    raise
                # A kernel that does not take so much, say; a smaller batch may still do.
                failed[utterances] = str(error)
                tried[utterances] = {"fits": False}
            return tried[utterances]["fits"]

        guess = 1
        if fits(2) and fits(6):
            peaks = {size: tried[size]["peak_bytes"] for size in (2, 6)}
            guess = predict_largest(peaks, tried[2]["usable_bytes"])
        good, bad = find_largest(fits, guess, self.plan.tolerance, self.plan.trials)
        best = tried.get(good, {})
        return {
            "dtype": dtype,
            "utterances": good,
            "utterance_s": self.plan.utterance_s,
            "batch_seconds": good * self.plan.utterance_s,
            "too_many": bad,
            "stopped_by": failed.get(bad),
            "usable_bytes": next(iter(tried.values()))["usable_bytes"],
            "peak_bytes": best.get("peak_bytes"),
            "step_s": best.get("step_s"),
            "trials": len(tried),
        }

    def _ask(self, process: UpstreamProcess, longest: float = LONGEST, **request: Any) -> Answer:
        self._require_time()
        return process.ask(min(self.end, time.monotonic() + longest), **request)

    def _require_time(self) -> None:
        if time.monotonic() > self.end - LAST_BEGIN:
            raise Late(TOO_LATE)

    def _fail(self, what: Answer, reason: str, log: list[str]) -> None:
        self.result["failures"].append(what | {"reason": reason, "log": log})
        self._say(f"failed: {' '.join(map(str, what.values()))}: {reason}")

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self.begin:5.0f} s  {what}", flush=True)

    def _save(self) -> None:
        self.result["seconds"] = round(time.monotonic() - self.begin, 1)
        write_result(self.result, self.out)


def _name(key: Answer) -> str:
    return f"{key['architecture']}, k = {key['k']}, {key['mixer']}, {WAYS[key['way']]}"
