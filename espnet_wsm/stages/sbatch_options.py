"""Print what a cluster's configuration says about a job, as NUL-terminated words for conf/cluster/slurm.sh.

Keys of the file, all optional:
  partition, account, qos, constraint, reservation
                  sbatch options with these names
  gres            --gres of a job that asks for N GPUs, with {gpu} for N (default: gpu:{gpu})
  modules         list of modules to load before the command
  options         list of further arguments for sbatch, e.g. [--exclusive]
  max_jobs_run    array tasks that run at a time, unless the caller sets a limit
  poll_seconds    seconds between two looks at the queue (default: 5)
  with_gpu        the keys above, with values that replace the others for jobs that ask for GPUs

Example:
  python -m espnet_wsm.stages.sbatch_options conf/cluster/slurm.yaml --gpu 1
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.files import read_yaml

NAMED = ("partition", "account", "qos", "constraint", "reservation")
DEFAULTS: dict[str, Any] = dict.fromkeys(NAMED) | {
    "gres": "gpu:{gpu}", "modules": [], "options": [], "max_jobs_run": 0, "poll_seconds": 5, "with_gpu": {},
}  # fmt: skip
# Types of the values that are not text.
KINDS = {
    "modules": "list", "options": "list", "max_jobs_run": "whole number", "poll_seconds": "number of seconds",
    "with_gpu": "mapping",
}  # fmt: skip


def read_cluster(path: Path, with_gpu: bool) -> dict[str, Any]:
    """A cluster's configuration, with defaults for missing keys.

    Raises:
        UserError: the file cannot be read, or holds an unknown key or a value of the wrong kind.
    """
    content = read_yaml(path) or {}
    settings = dict(DEFAULTS)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no mapping: it takes {', '.join(DEFAULTS)}")
    for_gpu = content.get("with_gpu") or {}
    for part in (content, for_gpu if with_gpu else {}):
        for key, value in part.items():
            if key not in DEFAULTS or (part is for_gpu and key == "with_gpu"):
                raise UserError(f"{path}: unknown key {key}; there are {', '.join(DEFAULTS)}")
            if value is not None and not _is_right(key, value):
                raise UserError(f"{path}: {key}: {value!r} is no {KINDS.get(key, 'text')}")
            settings[key] = DEFAULTS[key] if value is None else value
    return settings


def _is_right(key: str, value: Any) -> bool:
    kind = KINDS.get(key)
    if kind == "list":
        return isinstance(value, list) and all(isinstance(word, str) for word in value)
    if kind == "mapping":
        return isinstance(value, dict)
    if kind is None:
        return isinstance(value, str)
    return isinstance(value, int if key == "max_jobs_run" else int | float) and 0 <= value < 1e6


def list_options(
    settings: dict[str, Any], gpu: int, mem: str, time: str, num_threads: int, num_nodes: int = 1
) -> list[str]:
    """The options of sbatch for one job, except its array, its name and its output."""
    options = [f"--{name}={settings[name]}" for name in NAMED if settings[name]]
    options += [f"--mem={mem}"] if mem else []
    options += [f"--time={time}"] if time else []
    options += [f"--cpus-per-task={num_threads}"] if num_threads else []
    options += [f"--nodes={num_nodes}", "--ntasks-per-node=1"] if num_nodes > 1 else []
    options += [f"--gres={settings['gres'].replace('{gpu}', str(gpu))}"] if gpu else []
    return options + settings["options"]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="the cluster's configuration")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs of a job on each node")
    parser.add_argument("--mem", default="", help="memory of a job, e.g. 8G")
    parser.add_argument("--time", default="", help="time limit of a job, e.g. 4:00:00")
    parser.add_argument("--num_threads", type=int, default=0, help="CPU cores of a job on each node")
    parser.add_argument("--num_nodes", type=int, default=1, help="nodes of a job, with one task each")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Print poll_seconds, max_jobs_run, the number of modules, the modules, and the options of sbatch."""
    args = make_parser().parse_args(argv)
    settings = read_cluster(args.config, args.gpu > 0)
    modules = settings["modules"]
    words = [settings["poll_seconds"], settings["max_jobs_run"], len(modules), *modules]
    words += list_options(settings, args.gpu, args.mem, args.time, args.num_threads, args.num_nodes)
    sys.stdout.write("".join(f"{word}\0" for word in words))


if __name__ == "__main__":
    main()
