"""What a device can do at best, to set times against."""

import statistics
from collections.abc import Callable
from typing import Any

import torch

from espnet_wsm.benchmark.gpu.arm import Moment

COPIED, SIDE = 1_000_000_000, 4096  # bytes, and rows and columns of a matrix


def measure_ceilings(device: str) -> dict[str, Any]:
    """What the device can do at best: bytes copied and matrix products, a second; None on a CPU.

    Both are medians of ten: a copy of 1 GB (read and written bytes count), and 4096 x 4096 matrices.
    """
    if device != "cuda":
        return {"copy_bytes_per_s": None, "matmul_flops": None}
    found: dict[str, Any] = {"copy_bytes_per_s": _time_copy(COPIED, device)}
    found["matmul_flops"] = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
        flops = 2 * SIDE**3 / _time(lambda a=a, b=b: a @ b)
        found["matmul_flops"][str(dtype).removeprefix("torch.")] = flops
    torch.cuda.empty_cache()
    return found


def _time_copy(size: int, device: str) -> float:
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _time(lambda: target.copy_(source))


def _time(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(13):
        start = Moment()
        work()
        times.append(Moment() - start)
    return statistics.median(times[3:])
