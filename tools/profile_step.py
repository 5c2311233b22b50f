#!/usr/bin/env python3
"""What a training step is made of: time by operation, and what autograd keeps, of arms of a benchmark.

.venv/bin/python tools/profile_step.py --config conf/benchmark/base.yaml --arms wsm_cached_mixer \\
    heads_cached_mixer attention_cached_mixer_no_dropout

Prints two tables, a column an arm, at the configuration's reference: milliseconds of the processor by kind of
operation, as torch's profiler has them (the sum of all threads is not more than one thread's: operations that
share out their work are counted once), and MiB of the tensors that are kept for the backward pass, by shape.
The profiler itself takes time, of short operations most.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.tables import render_table

STEPS = 10
# Kinds of operations, by what is in their names; the first that fits.
KINDS = {
    "attention (SDPA)": ("scaled_dot_product",),
    "products of matrices": ("::mm", "addmm", "bmm", "linear", "matmul"),
    "CTC": ("ctc_loss", "log_softmax"),
    "GELU": ("gelu",),
    "layer norm": ("layer_norm",),
    "dropout": ("bernoulli", "random_", "dropout"),
    "optimiser": ("adamw", "_foreach"),
    "sums and other element-wise operations": (
        "add",
        "sub",
        "mul",
        "div",
        "sum",
        "exp",
        "max",
        "where",
        "neg",
    ),
    "copies and padding": ("copy_", "fill_", "zero_", "cat", "pad", "masked", "clone"),
}
REST = "the rest"


def name_kind(operation: str) -> str:
    """The kind in ``KINDS`` that an operation of torch belongs to."""
    fits = (kind for kind, parts in KINDS.items() if any(part in operation.lower() for part in parts))
    return next(fits, REST)


def profile_arm(name: str, config, upstream: Path, steps: int) -> tuple[Counter, Counter]:
    """Milliseconds a step by kind, and bytes kept by shape, of one arm on a CPU."""
    from torch.profiler import ProfilerActivity, profile

    from espnet_wsm.benchmark.worker import ArmBench
    from espnet_wsm.meters import SavedBytes

    class SavedShapes(SavedBytes):
        def count(self) -> dict[str, int]:
            kept = {each.tensor.untyped_storage().data_ptr(): each.tensor for each in self._kept}
            for place, tensor in kept.items():
                if place not in self._own:
                    shape = " x ".join(map(str, tensor.shape)) or "1"
                    shapes[f"{shape}, {str(tensor.dtype).removeprefix('torch.')}"] += (
                        tensor.untyped_storage().nbytes()
                    )
            return super().count()

    bench, shapes, times = ArmBench(config.arms[name], config, upstream, "cpu"), Counter(), Counter()
    data = bench._make_batch(config.reference.seconds, config.reference.batch)
    bench._step(data, "float32", SavedShapes(bench.model))
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            bench._step(data, "float32", None)
    for row in found.key_averages():
        times[name_kind(row.key)] += row.self_cpu_time_total / 1000 / steps
    return times, shapes


def make_table(title: str, columns: dict[str, Counter], unit: float, order: Iterable[str]) -> str:
    """Rows in ``order``, then the sum: the value over ``unit``, and percent of the column's sum."""
    rows = []
    for row in order:
        cells = [(found[row] / unit, 100 * found[row] / found.total()) for found in columns.values()]
        rows.append([row, *(f"{value:.1f} ({share:.0f} %)" for value, share in cells)])
    rows.append(["together", *(f"{found.total() / unit:.1f}" for found in columns.values())])
    return render_table([title, *columns], rows)


@report_user_errors
def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="a file of conf/benchmark")
    parser.add_argument("--arms", nargs="+", required=True, help="arms of it")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"steps that are profiled (default: {STEPS})"
    )
    args = parser.parse_args()

    from espnet_wsm.benchmark.config import read_config
    from espnet_wsm.benchmark.models import write_upstream

    config = read_config(args.config)
    if unknown := [name for name in args.arms if name not in config.arms]:
        raise UserError(f"{args.config}: no arm {', '.join(unknown)}; there are {', '.join(config.arms)}")
    if args.steps < 1:
        raise UserError(f"--steps has to be 1 or more, got {args.steps}")
    with tempfile.TemporaryDirectory(prefix="profile_") as work:
        upstream = write_upstream(Path(work), config.architecture, config.seed, with_native=False)
        found = {name: profile_arm(name, config, upstream, args.steps) for name in args.arms}
    times, shapes = ({name: both[place] for name, both in found.items()} for place in (0, 1))
    reference = f"{config.reference.batch} x {config.reference.seconds:g} s"
    print(make_table(f"ms a step, {reference}", times, 1.0, [*KINDS, REST]), end="\n\n")
    largest = sum(shapes.values(), Counter()).most_common()
    print(make_table(f"MiB kept, {reference}", shapes, 2**20, [shape for shape, _ in largest]))


if __name__ == "__main__":
    main()
