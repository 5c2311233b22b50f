"""A benchmark from its start to its report."""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from espnet_wsm.benchmark.config import BenchmarkConfig
from espnet_wsm.benchmark.plan import Measuring, find_decoders
from espnet_wsm.benchmark.report import list_ratios, write_report, write_result
from espnet_wsm.benchmark.summary import group_rounds
from espnet_wsm.benchmark.team import Progress, Team
from espnet_wsm.errors import UserError


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


def run_benchmark(config: BenchmarkConfig, out: Path, work: Path, facts: Mapping[str, Any]) -> bool:
    """Measure all arms and leave result.json, table.md, memory.png and time.png in ``out``.

    Args:
        config: what to measure.
        out: folder of the results, made if need be.
        work: folder for upstreams and logs.
        facts: ``config_name``, ``date``, ``git`` and ``versions``, for the result.

    Returns:
        whether it ran to its end; False after Ctrl-C or SIGTERM.

    Raises:
        UserError: an arm cannot be built, or the device is not there.
    """
    begin = time.monotonic()
    device = resolve_device(config.device)
    result: dict[str, Any] = {"complete": False, **facts, "config": asdict(config)}
    team = Team(config, device, work)

    def update(measuring: Measuring) -> None:
        result["measurements"] = group_rounds(measuring.measurements)
        result["seconds"] = time.monotonic() - begin

    try:
        with Progress(config.minutes) as progress:
            machine, sizes = team.start(progress)
            measuring = Measuring(config, team, device, begin + 60 * config.minutes)
            result |= {"machine": machine, "arms": describe_arms(config, sizes), "skipped": measuring.skipped}
            update(measuring)
            progress.total = measuring.num_planned()
            for _ in measuring.run(progress):
                update(measuring)
                write_result(result, out)
        result["complete"] = True
    except KeyboardInterrupt:
        print("stopped: what was measured so far is kept", file=sys.stderr)
    finally:
        team.stop()
    if "arms" in result:
        update(measuring)
        write_report(result, out)
        print("\n".join([*list_ratios(result), f"more in {out / 'table.md'}"]))
    return result["complete"]


def describe_arms(config: BenchmarkConfig, sizes: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Sizes of each arm, and the arm whose decoding stands for its own, which may be itself."""
    decoders = find_decoders(config)
    described = {}
    for name, arm in config.arms.items():
        way, *rest = arm.inference_key()
        key = ("cut" if way == "cached" else way, *rest)
        described[name] = sizes[name] | {"decodes_as": decoders.get(key)}
    return described
