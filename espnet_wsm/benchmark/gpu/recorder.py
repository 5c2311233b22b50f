"""A plugin of pytest that writes a line of JSON for each test as soon as it has ended."""

import json
import os

import pytest

from espnet_wsm.benchmark.gpu.suite import RECORD, SEVERAL

PARENT = os.getppid()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Outcome, seconds, figures (``record_property``), and the end of a failure, of each test.

    Ends pytest when the check that began it was killed.
    """
    if os.getppid() != PARENT:
        pytest.exit("the check is gone", returncode=3)
    if report.when != "call" and report.outcome == "passed":
        return
    row = {
        "test": report.nodeid,
        "outcome": report.outcome,
        "seconds": round(report.duration, 3),
        "figures": dict(report.user_properties),
    }
    if report.failed:
        row["said"] = report.longreprtext.splitlines()[-SEVERAL:]
    elif report.skipped:
        row["said"] = [str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else "skipped"]
    with open(os.environ[RECORD], "a", encoding="utf-8") as file:
        file.write(f"{json.dumps(row)}\n")
