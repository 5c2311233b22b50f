#!/usr/bin/env python3
"""Time whole encoders against the length of the audio: one with attention, and one that was converted.

.venv/bin/python tools/time_encoder.py --upstreams upstreams/whisper_base upstreams/whisper_linear \\
    --seconds 5 10 20 30 --figure encoder.png

Prints a table: of each encoder and length, how much faster than the audio it runs (one utterance, noise,
float32, the median of the rounds), and how much the process grows by it, each in a process of its own, in
turns. Then for each how its time grows: the exponent between the shortest length of a minute or more (or of
all, if there is none) and the longest, 1 for linear, 2 for quadratic.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

MINUTE = 60.0


def measure(upstream: str, seconds: float, rounds: int) -> dict[str, float]:
    """Median seconds of a pass, and GiB by which the process is larger than with the loaded encoder."""
    import torch

    from espnet_wsm.frames import SAMPLE_RATE
    from espnet_wsm.upstream import cut_upstream, load_upstream

    expert, checkpoint = load_upstream(upstream)
    depth = len(checkpoint.family.encoder(expert).layers)
    prefix, suffix = cut_upstream(expert, checkpoint.family, depth)
    generator = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.randn(round(seconds * SAMPLE_RATE), generator=generator)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    with torch.inference_mode():
        for _ in range(rounds + 1):  # the first warms up
            begin = time.perf_counter()
            suffix(*prefix([wav]))
            times.append(time.perf_counter() - begin)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": statistics.median(times[1:]), "gib": grown / 2**20}


def find_exponent(times: dict[float, float]) -> float:
    """How the time grows with the length, see above."""
    lengths = sorted(times)
    first = next((length for length in lengths[:-1] if length >= MINUTE), lengths[0])
    return math.log(times[lengths[-1]] / times[first]) / math.log(lengths[-1] / first)


def draw(found: dict[str, dict[float, dict[str, float]]], file: Path) -> None:
    """Time and memory over the length, a line for each encoder."""
    from espnet_wsm.figures import import_pyplot, write_figure

    plt = import_pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(9.0, 3.6), layout="constrained")
    for panel, key, label in zip(panels, ("seconds", "gib"), ("seconds", "GiB more"), strict=True):
        for upstream, rows in found.items():
            panel.plot([*rows], [row[key] for row in rows.values()], marker="o", label=Path(upstream).name)
        panel.set(xlabel="seconds of audio", ylabel=label, ylim=(0, None), xlim=(0, None))
        panel.grid(visible=True, alpha=0.3)
    panels[0].legend()
    write_figure(figure, file)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upstreams", nargs="+", required=True, metavar="NAME_or_PATH", help="encoders")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[5, 10, 20, 30], help="of audio (default: 5 10 20 30)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="passes; the median is shown (default: 5)")
    parser.add_argument("--figure", type=Path, help="picture to write")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.upstreams[0], args.seconds[0], args.rounds)))
        return

    from espnet_wsm.tables import render_table

    found: dict[str, dict[float, dict[str, float]]] = {upstream: {} for upstream in args.upstreams}
    for seconds in sorted(args.seconds):
        for upstream in args.upstreams:
            words = [sys.executable, __file__, "--one", "--rounds", args.rounds, "--seconds", seconds]
            run = subprocess.run(
                [*map(str, words), "--upstreams", upstream], stdout=subprocess.PIPE, text=True, check=False
            )
            if run.returncode:
                sys.exit(f"error: {upstream} and {seconds:g} s of audio: see above")
            found[upstream][seconds] = json.loads(run.stdout.splitlines()[-1])
            print(f"{upstream}, {seconds:g} s: {found[upstream][seconds]}", file=sys.stderr)
    first = args.upstreams[0]
    rows = []
    for seconds in sorted(args.seconds):
        for upstream in args.upstreams:
            row, base = found[upstream][seconds], found[first][seconds]
            ratio = row["seconds"] / base["seconds"]
            rows.append(
                [
                    f"{seconds:g} s", Path(upstream).name, f"{1000 * row['seconds']:.0f} ms",
                    f"{seconds / row['seconds']:.1f}", f"{ratio:.2f}", f"{row['gib']:.2f} GiB",
                ]
            )  # fmt: skip
    heads = ["audio", "encoder", "time", "times real time", f"time / {Path(first).name}", "memory"]
    print(render_table(heads, rows, num_left=2))
    for upstream, times in found.items():
        if len(times) > 1:
            exponent = find_exponent({length: row["seconds"] for length, row in times.items()})
            print(f"{Path(upstream).name}: its time grows with the length to the power of {exponent:.2f}")
    if args.figure:
        draw(found, args.figure)


if __name__ == "__main__":
    main()
