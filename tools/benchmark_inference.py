#!/usr/bin/env python3
"""Measure how fast models transcribe on this machine's CPU, before and after what is done for it.

.venv/bin/python tools/benchmark_inference.py --out bench/inference

Transcribes recordings of 0.7 to 12 s with the upstream in the box, whisper_base if it is there, and upstreams
of wav2vec2-base's and XLS-R-300M's size with random weights. Each way runs in a process of its own. Writes
result.json and table.md; upstreams that are not named keep what is in there. Five minutes on two cores.
"""

import argparse
import contextlib
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from espnet_wsm.errors import report_user_errors

ROOT = Path(__file__).resolve().parents[1]
BOX = "hubert_debian_multi"
UPSTREAMS = (BOX, "whisper_base", "wav2vec2_base", "xls_r_300m")
PACKAGES = ("torch", "transformers", "espnet", "espnet-s3prl")


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--upstreams", nargs="+", choices=[*UPSTREAMS, "tiny"], default=UPSTREAMS, help="which"
    )
    parser.add_argument(
        "--whisper",
        type=Path,
        default=Path("upstreams/whisper_base"),
        help="folder of whisper_base (default: where fetch_upstream leaves it here)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="transcriptions of all recordings (default: 3)")
    parser.add_argument(
        "--work", type=Path, help="folder for random upstreams, kept (default: a temporary one, 2 GB)"
    )
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)

    from tqdm import tqdm

    from espnet_wsm.benchmark.inference import (
        find_upstream,
        measure,
        measure_upstream,
        read_result,
        write_result,
    )
    from espnet_wsm.stages.record_run import describe_git

    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "git": describe_git(ROOT),
        "versions": {name: version(name) for name in PACKAGES},
    }
    given = {BOX: ROOT / "egs/debian_multi/ssl1" / BOX, "whisper_base": args.whisper}

    def run(*arguments: object) -> dict:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(measure, *arguments).result()

    with contextlib.ExitStack() as stack:
        work = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark_")))
        work.mkdir(parents=True, exist_ok=True)
        result = read_result(args.out, facts)
        for name in tqdm(args.upstreams, desc="inference", unit="upstream"):
            place = find_upstream(name, given, work)
            skipped = isinstance(place, str)
            result["upstreams"][name] = (
                {"skipped": place} if skipped else measure_upstream(place, args.rounds, run)
            )
            write_result(result, args.out)
    print(f"{args.out / 'table.md'} is written")


if __name__ == "__main__":
    main()
