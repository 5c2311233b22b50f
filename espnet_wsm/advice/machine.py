"""The machine that will train: cores, memory, GPUs."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.data.kaldi.lists import count

GIB = 2**30
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


@dataclass(frozen=True)
class Machine:
    """A machine.

    Args:
        cores: of its processors that may be used.
        memory_gb: GiB of memory; None if unknown.
        ngpu: number of GPUs.
        gpu_memory_gb: GiB of the smallest of them; None without a GPU, or if unknown.
    """

    cores: int
    memory_gb: float | None
    ngpu: int = 0
    gpu_memory_gb: float | None = None

    def describe(self) -> str:
        """One line."""
        memory = "memory unknown" if self.memory_gb is None else f"{self.memory_gb:.0f} GB of memory"
        gpus = "no GPU"
        if self.ngpu:
            size = "unknown memory" if self.gpu_memory_gb is None else f"{self.gpu_memory_gb:.0f} GB"
            gpus = f"{count(self.ngpu, 'GPU')} of {size}"
        return f"{count(self.cores, 'core')}, {memory}, {gpus}"


def read_machine() -> Machine:
    """This machine, without importing torch; GPUs are those that ``nvidia-smi`` names."""
    gpus = _read_gpus()
    return Machine(len(os.sched_getaffinity(0)), _read_memory(), len(gpus), min(gpus, default=None))


def _read_memory() -> float | None:
    found = []
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        pass
    for limit in map(Path, LIMITS):
        try:
            found.append(int(limit.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found) / GIB if found else None


def _read_gpus() -> list[float]:
    """GiB of each GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        return [float(line) / 1024 for line in said.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
