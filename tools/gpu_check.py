#!/usr/bin/env python3
"""Check a GPU within a few minutes: tests on CUDA, then what each way to fine-tune needs there.

tools/gpu_check.sh OUT [--wheels DIR] [--minutes N] [--dry-run]

Writes OUT/result.json (rewritten as measurements come in), table.md, memory.png, time.png, batch.png and
tests.log. What there was no time for is named in result.json. Ctrl-C, or a kill, leaves what was measured so
far, marked incomplete. Nothing is downloaded: upstreams have true sizes and random weights.
Exit status: 0 all is well, 1 a test or a measurement failed, 130 stopped.
"""

import argparse
import importlib.util
import os
import signal
import site
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

BEGIN = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from espnet_wsm.errors import UserError, report_user_errors  # noqa: E402

PACKAGES = ("torch", "transformers", "espnet", "espnet-s3prl")
# What the check imports, beside what these import: a missing one is named before anything is begun.
MODULES = (
    "torch", "torchaudio", "transformers", "espnet2", "s3prl", "librosa", "soundfile", "soxr", "kaldiio",
    "typeguard", "humanfriendly", "torch_complex", "sentencepiece", "editdistance", "hydra", "omegaconf",
    "distutils", "matplotlib", "PIL", "scipy", "yaml", "safetensors", "regex", "tqdm", "pytest", "hypothesis",
)  # fmt: skip


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="tools/gpu_check.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--wheels", type=Path, help="install the wheels of this folder for this run alone")
    parser.add_argument("--minutes", type=float, default=9.0, help="all ends within them (default: 9)")
    parser.add_argument("--dry-run", action="store_true", help="at toy size on a CPU")
    return parser.parse_args(argv)


def install_wheels(folder: Path, target: Path) -> None:
    """Unpack wheels into ``target``, without network and without touching the machine's Python.

    Not into a virtual environment: one of a Python that is in a virtual environment itself does not see the
    torch of that.

    Raises:
        UserError: there are none, or pip cannot install them.
    """
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise UserError(f"{folder} holds no wheels (*.whl): collect them as docs/benchmark.md says")
    options = ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, "--target", str(target)]
    result = subprocess.run(
        [*command, *map(str, wheels)], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if result.returncode != 0:
        said = (result.stderr.strip() or f"exit status {result.returncode}").splitlines()[-1]
        raise UserError(f"pip cannot install the wheels of {folder}: {said}")
    # A folder of PYTHONPATH has its .pth files read only where something asks for it. That of setuptools
    # brings back distutils, which S3PRL imports.
    (target / "sitecustomize.py").write_text(f"import site\n\nsite.addsitedir({str(target)!r})\n")


def require_modules() -> None:
    """Refuse to begin where a package is missing.

    Raises:
        UserError: names all that are.
    """
    missing = [name for name in MODULES if name not in sys.modules and importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"this Python lacks {', '.join(missing)}: run tools/setup.sh, or bring what is missing as "
            "wheels, see docs/benchmark.md, and name their folder with --wheels"
        )


def find_version(package: str) -> str:
    """Of an installed package; ``unknown`` where it has no metadata."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = parse_arguments(argv)
    if not 0.25 <= args.minutes <= 600:
        raise UserError(f"--minutes has to be 0.25 to 600, got {args.minutes:g}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="gpu_check_", ignore_cleanup_errors=True) as scratch:
        work = Path(scratch)
        paths = [str(ROOT)]
        if args.wheels is not None:
            install_wheels(args.wheels, work / "site")
            sys.path.insert(1, str(work / "site"))
            site.addsitedir(str(work / "site"))
            paths.append(str(work / "site"))
        # For pytest and the processes of the arms.
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
        require_modules()

        from espnet_wsm.benchmark.gpu.plan import DRY_RUN, FULL
        from espnet_wsm.benchmark.gpu.run import Check, require_device
        from espnet_wsm.stages.record_run import describe_git

        plan = DRY_RUN if args.dry_run else FULL
        require_device(plan.device)
        facts = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "git": describe_git(ROOT),
            "versions": {name: find_version(name) for name in PACKAGES},
        }
        check = Check(plan, args.out, work, ROOT, args.minutes, facts, BEGIN)
        complete = check.run()
    print(f"more in {args.out / 'table.md'}")
    if not complete:
        sys.exit(130)
    tests = check.result["tests"]
    if check.result["failures"] or tests["failed"] or not tests["passed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
