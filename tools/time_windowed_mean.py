#!/usr/bin/env python3
"""Time windowed_mean against length and window: linear in the one, logarithmic in the other.

.venv/bin/python tools/time_windowed_mean.py [--device cuda]
"""

import argparse
import statistics

import torch

from espnet_wsm.benchmark.running_sums import time_call
from espnet_wsm.mixing import windowed_mean
from espnet_wsm.tables import render_table


def time_calls(x: torch.Tensor, window: int, repeats: int) -> float:
    """Median milliseconds of a call; the first one warms up."""
    times = [time_call(windowed_mean, x, window) for _ in range(repeats + 1)]
    return 1000 * statistics.median(times[1:])


def main() -> None:
    """Print a Markdown table: a row a length, a column a window."""
    parser = argparse.ArgumentParser(
        description="Time windowed_mean.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument("--dim", type=int, default=256, help="channels")
    parser.add_argument("--lengths", type=int, nargs="+", default=[500, 5000, 50000], help="frames of 20 ms")
    parser.add_argument("--windows", type=int, nargs="+", default=[5, 50, 500], help="half widths in frames")
    parser.add_argument("--repeats", type=int, default=9, help="calls; the median is shown")
    args = parser.parse_args()

    print(
        f"ms for one utterance, {args.dim} channels, {args.device}, {torch.get_num_threads()} threads, median"
    )
    rows = []
    for length in args.lengths:
        x = torch.randn(1, length, args.dim, device=args.device)
        times = (time_calls(x, window, args.repeats) for window in args.windows)
        rows.append([str(length), *(f"{taken:.2f}" for taken in times)])
    print(render_table(["frames", *(f"window {window}" for window in args.windows)], rows, num_left=0))


if __name__ == "__main__":
    main()
