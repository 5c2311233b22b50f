"""Memory and processors as the system tells of them, on a CPU and on a GPU."""

import ctypes
import gc
import os
import resource
import time
from pathlib import Path

import torch

MEMORY_INFO, OWN_STATUS = Path("/proc/meminfo"), Path("/proc/self/status")


class CpuMemory:
    """Resident memory of this process; its peak can be reset on Linux."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self.resets = True

    def reset(self) -> int:
        """Give back what is free, forget the peak; returns the bytes resident now."""
        gc.collect()
        if self._trim is not None:
            self._trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self.resets = False
        return read_bytes(OWN_STATUS, "VmRSS")

    def peak(self) -> int:
        """Bytes; since the last reset where the system can do that, otherwise since the process began."""
        if self.resets:
            return read_bytes(OWN_STATUS, "VmHWM")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def available(self) -> int:
        """Bytes that this machine can still give."""
        return read_bytes(MEMORY_INFO, "MemAvailable")


class CudaMemory:
    """Memory of the GPU that torch has given to tensors of this process."""

    resets = True

    def reset(self) -> int:
        """Give back what is free, forget the peak; returns the bytes in use now."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def peak(self) -> int:
        """Bytes since the last reset."""
        return torch.cuda.max_memory_allocated()

    def available(self) -> int:
        """Bytes that the GPU can still give."""
        return torch.cuda.mem_get_info()[0]


class OtherCpu:
    """How many cores processes other than this one have used since the object was made."""

    def __init__(self) -> None:
        self._start = self._read()

    def read(self) -> float | None:
        """Cores, 0 or more; None where the system does not tell."""
        now = self._read()
        if now is None or self._start is None:
            return None
        elapsed, everything, own = (b - a for a, b in zip(self._start, now, strict=True))
        return round(max(0.0, (everything - own) / elapsed), 2) if elapsed > 0 else None

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Seconds: the clock, processor time of all processes, of this one."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:
            return None
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
        ticks = user + nice + system + irq + softirq + steal
        return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()


def read_bytes(file: Path, field: str) -> int:
    """A field, such as ``MemTotal``, that the kernel gives in KiB."""
    for line in file.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{file} has no {field}")
