"""The project's tests on the device, run by pytest in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from espnet_wsm.benchmark.gpu.plan import CheckPlan

RECORD = "ESPNET_WSM_DEVICE_RECORD"
SEVERAL = 15  # lines of a failure that are kept


class DeviceTests:
    """Runs the tests with a device, and reads what came of each, even if they are stopped.

    Args:
        plan: which files, and whether with CUDA.
        root: the checkout.
        work: folder for the record.
        log: file of what pytest prints.
    """

    def __init__(self, plan: CheckPlan, root: Path, work: Path, log: Path):
        self.plan, self.root, self.log = plan, root, log
        self.record = work / "tests.jsonl"
        self._process: subprocess.Popen | None = None
        self._timer: threading.Timer | None = None
        self._late = False

    def start(self, seconds: float) -> None:
        """Begin; they are ended after so many seconds."""
        mark = "cuda" if self.plan.device == "cuda" else "device and not cuda"
        words = ["-m", "pytest", "-v", "-m", mark, "-p", "no:cacheprovider", "-p", f"{__package__}.recorder"]
        # Other plugins that a machine may have are none of ours.
        environment = os.environ | {RECORD: str(self.record), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *words, *self.plan.tests],
                cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self._late = True
        self._process.kill()

    def wait(self) -> dict[str, Any]:
        """What they came to: counts, each test, and whether they ran to their end."""
        self._process.wait()
        self._timer.cancel()
        return self.read()

    def stop(self) -> None:
        """End them now, if they run."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def read(self) -> dict[str, Any]:
        """What is known so far."""
        rows = []
        if self.record.exists():
            rows = [json.loads(line) for line in self.record.read_text().splitlines() if line.endswith("}")]
        counts = Counter(row["outcome"] for row in rows)
        code = None if self._process is None else self._process.poll()
        return {
            "passed": counts["passed"],
            "failed": counts["failed"],
            "skipped": counts["skipped"],
            "complete": code in (0, 1) and not self._late,
            "stopped": "out of time" if self._late else None,
            "exit_code": code,
            "tests": rows,
        }

    def read_log(self, lines: int = SEVERAL) -> list[str]:
        """The last lines that pytest has printed."""
        if not self.log.exists():
            return []
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
