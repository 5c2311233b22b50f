"""The mean over a window as one would write it, to measure ours against: a difference of running sums."""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet_wsm.mixing import windowed_mean

WINDOW, CHANNELS = 10, 256
LENGTHS = (500, 5000)  # frames of 20 ms
REPEATS = 15


def mean_by_running_sums(x: Tensor, window: int) -> Tensor:
    """(B, T, D) means over 2 ``window`` + 1 frames, clipped; float32 sums would lose digits."""
    length = x.size(1)
    sums = F.pad(x.double().cumsum(dim=1), (0, 0, 1, 0))  # (B, T + 1, D)
    frames = torch.arange(length, device=x.device)
    first, last = (frames - window).clamp(min=0), (frames + window + 1).clamp(max=length)
    return ((sums[:, last] - sums[:, first]) / (last - first).unsqueeze(-1)).to(x.dtype)


def compare_windowed_means(device: str) -> dict[str, float]:
    """Frames -> time of ``windowed_mean`` over that of running sums, medians of calls that take turns."""
    ratios = {}
    for length in LENGTHS:
        x = torch.randn(1, length, CHANNELS, device=device)
        times: dict[Callable, list[float]] = {windowed_mean: [], mean_by_running_sums: []}
        for _ in range(REPEATS + 1):  # the first one warms up
            for mean, taken in times.items():
                taken.append(time_call(mean, x, WINDOW))
        ours, usual = (statistics.median(taken[1:]) for taken in times.values())
        ratios[str(length)] = ours / usual
    return ratios


def time_call(mean: Callable[[Tensor, int], Tensor], x: Tensor, window: int) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    mean(x, window)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
