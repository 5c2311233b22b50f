"""Blocks learn what the attention in their place gives, from stored features and without labels.

  plan    choose the utterances and print the folder of the result, or nothing if there is nothing to learn
  store   compute one job's share of what each replaced attention is given and gives
  merge   check that all of it is there
  learn   let the blocks learn it
  find    print the folder of a result that is there, or refuse

All take the arguments of the training after `--`.

Example:
  python -m espnet_wsm.stages.transfer plan --dump_dir dump --exp_dir exp --steps 400 -- --config train.yaml
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from espnet_wsm.allocator import find_device
from espnet_wsm.arms import STUDENTS, TRANSFER_FRAMES, TRANSFER_STEPS
from espnet_wsm.data.features.key import CACHE_DTYPES
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.stages import split_arguments

FIRST = "plan"  # the verb that is called first, and says and refuses what the others need not


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("--dump_dir", type=Path, required=True, help="dump folder of stage 2")
    parser.add_argument("--exp_dir", type=Path, required=True, help="the result is a folder in it")
    parser.add_argument(
        "--sets", default="train dev", help="to learn from, to measure the error on, others to learn from too"
    )
    parser.add_argument("--cache_dtype", choices=CACHE_DTYPES, default="float16", help="as in stage 2")
    parser.add_argument(
        "--steps", type=int, default=TRANSFER_STEPS, help="of the optimiser (default: %(default)s)"
    )
    parser.add_argument(
        "--by_default", action="store_true", help="leave it out where it cannot be, or weights are random"
    )
    parser.add_argument("--lr", type=float, default=0.002, help="learning rate at the start (default: 0.002)")
    parser.add_argument(
        "--frames", type=int, default=TRANSFER_FRAMES, help="of 20 ms in a step (default: %(default)s)"
    )
    parser.add_argument(
        "--target", choices=("attention", "layer"), default="attention",
        help="what is learnt: what the attention gives, or what the layer gives (default: attention)",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="most speech that is learnt from (default: 60)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of how blocks start, and of the order (default: 0)"
    )
    parser.add_argument("--nj", type=int, default=1, help="store: number of jobs")
    parser.add_argument("--job", type=int, default=1, help="store: number of this job, from 1")
    parser.add_argument("--ngpu", type=int, default=0, help="store and learn: 0 = CPU, 1 = GPU")
    parser.add_argument("--log", type=Path, help="store and learn: the log, for a file of progress beside it")
    return parser


def read_settings(args: argparse.Namespace) -> Any:
    """How the blocks are to learn."""
    from espnet_wsm.transfer.learning import TransferSettings

    for name, fits in (("steps", args.steps > 0), ("frames", args.frames > 0), ("minutes", args.minutes > 0)):
        if not fits:
            raise UserError(f"--{name} {getattr(args, name)} of a transfer has to be above 0")
    if not 0 < args.lr < 1:
        raise UserError(f"--lr {args.lr:g} of a transfer has to be between 0 and 1")
    return TransferSettings(**{each.name: getattr(args, each.name) for each in fields(TransferSettings)})


def prepare(args: argparse.Namespace) -> Any:
    """What the transfer of a training is, None if its layers have nothing to learn."""
    from espnet_wsm.plugin.arguments import find_reason_against_cache, read_arguments
    from espnet_wsm.transfer import preparation
    from espnet_wsm.upstream import WsmConfig
    from espnet_wsm.upstream.random_upstream import is_random

    training = read_arguments(args.training, checks_optimiser=args.verb == FIRST)
    if reason := find_reason_against_cache(training):
        if not args.by_default:
            raise UserError(f"a transfer needs stored features, but {reason}: --transfer 0 trains without")
        return _say_why_not(args, f"it needs stored features, but {reason}")
    config = WsmConfig.from_dict(training.encoder_conf)
    if config.mixer not in STUDENTS:
        return _say_why_not(args, f"{config.mixer} has nothing to learn from attention")
    if args.by_default and config.num_replaced == 0 and config.layers is None:
        return _say_why_not(args, "no layer is replaced")
    if args.by_default and is_random(config.upstream):
        return _say_why_not(args, f"{config.upstream} has random weights")
    sets = args.sets.split()
    return preparation.prepare(args.dump_dir, sets, config, args.cache_dtype, read_settings(args))


def _say_why_not(args: argparse.Namespace, reason: str) -> None:
    if args.verb == FIRST:
        print(f"no transfer: {reason}", file=sys.stderr)


def plan(args: argparse.Namespace) -> None:
    """Write the plan of the pairs, unless the blocks have learnt already."""
    from espnet_wsm.transfer.folder import is_done
    from espnet_wsm.transfer.preparation import plan_pairs

    prepared = prepare(args)
    if prepared is None:
        return
    folder = args.exp_dir / prepared.plan.name
    if not is_done(folder, prepared.plan):
        for line in plan_pairs(prepared, args.cache_dtype, batch_seconds=160 if args.ngpu else 15):
            print(line, file=sys.stderr)
        prepared.plan.write(folder)
    print(folder)


def find(args: argparse.Namespace) -> None:
    """Refuse if the blocks have not learnt."""
    from espnet_wsm.transfer.folder import BLOCKS_FILE, is_done

    prepared = prepare(args)
    if prepared is None:
        return
    folder = args.exp_dir / prepared.plan.name
    if not is_done(folder, prepared.plan):
        raise UserError(
            f"{folder} holds no finished transfer of the present data and settings: run stage 3 of run.sh, "
            "which makes it, or train with --transfer 0"
        )
    print(folder / BLOCKS_FILE)


def store(args: argparse.Namespace) -> None:
    """Compute one job's share of the pairs."""
    from espnet_wsm.recipe.progress import ReportingBar
    from espnet_wsm.transfer.preparation import list_jobs, store_pairs

    prepared = prepare(args)
    jobs = list_jobs(prepared.pairs, args.nj, args.job)
    total = sum(len(batch) for batches in jobs.values() for batch in batches)
    if not total:
        return
    with ReportingBar(args.log, total=total, desc="pairs", unit="utt", mininterval=1) as progress:
        store_pairs(prepared, args.sets.split(), jobs, args.job, find_device(args.ngpu), progress.update)


def merge(args: argparse.Namespace) -> None:
    """Finish the caches of pairs."""
    from espnet_wsm.data.features.writer import merge_cache
    from espnet_wsm.transfer.preparation import HELD_OUT, TRAIN

    prepared = prepare(args)
    for part in (TRAIN, HELD_OUT):
        print(merge_cache(prepared.pairs / part), file=sys.stderr)


def learn(args: argparse.Namespace) -> None:
    """Let the blocks learn, and write the result."""
    from espnet_wsm.recipe.progress import ReportingBar
    from espnet_wsm.transfer.preparation import learn_pairs

    prepared = prepare(args)
    steps = prepared.plan.settings.steps
    with ReportingBar(args.log, total=steps, desc="transfer", unit="step", mininterval=1) as progress:

        def on_step(step: int, curve: Any) -> None:
            left = zip(curve.layers, curve.held_out[-1], strict=True)
            progress.show(step, {f"left in layer {layer}": error for layer, error in left})

        curve = learn_pairs(prepared, args.exp_dir / prepared.plan.name, find_device(args.ngpu), on_step)
    for layer, before, after in zip(curve.layers, curve.held_out[0], curve.held_out[-1], strict=True):
        print(
            f"layer {layer}: of what its attention gives, {after:.3f} is left on held-out speech "
            f"({before:.3f} before the first step)",
            file=sys.stderr,
        )


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {
    "plan": plan,
    "store": store,
    "merge": merge,
    "learn": learn,
    "find": find,
}


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    own, training = split_arguments(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(own, argparse.Namespace(training=training))
    VERBS[args.verb](args)


if __name__ == "__main__":
    main()
