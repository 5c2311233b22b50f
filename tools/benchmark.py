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
import signal
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from espnet_wsm.benchmark.config import read_config
from espnet_wsm.errors import report_user_errors

PACKAGES = ("torch", "transformers", "espnet", "espnet-s3prl")


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

    from espnet_wsm.benchmark.run import run_benchmark
    from espnet_wsm.stages.record_run import describe_git

    facts = {
        "config_name": args.config.name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "git": describe_git(Path(__file__).parent),
        "versions": {name: version(name) for name in PACKAGES},
    }
    with contextlib.ExitStack() as stack:
        work = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark_")))
        complete = run_benchmark(config, args.out, work, facts)
    if not complete:
        sys.exit(130)


if __name__ == "__main__":
    main()
