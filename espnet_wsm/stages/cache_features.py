"""Store the hidden states below the cut once, so that training never runs the frozen layers.

  plan    say what the cache will hold and how large it will be, check the disk, write a plan
  run     compute one job's share of a plan
  merge   check that everything is there, and finish the cache
  check   refuse a cache that does not belong to the audio and the settings

plan and check take the arguments of the training after `--`. They print the folder of the cache, or nothing
if the training cannot use one.

Example:
  python -m espnet_wsm.stages.cache_features plan --dump_dir dump --sets "train dev" -- --config train.yaml
  run.pl JOB=1:4 dump/log/cache.JOB.log python -m espnet_wsm.stages.cache_features run \\
    --folder dump/cache/hf_hubert_custom-1a2b3c4d-k2-float16 --sets "train dev" --nj 4 --job JOB \\
    --log dump/log/cache.JOB.log
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_wsm.allocator import find_device
from espnet_wsm.data.features.key import CACHE_DTYPES
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.stages import split_arguments

if TYPE_CHECKING:
    from espnet_wsm.data.features.plan import CacheInput
    from espnet_wsm.data.features.writer import ShardWriter
    from espnet_wsm.upstream import FrozenPrefix

CHOICES = ("true", "false", "auto")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        options = verbs.add_parser(verb, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        options.add_argument("--sets", required=True, help="e.g. 'train dev'")
        if verb in ("plan", "check"):
            options.add_argument(
                "--dump_dir", type=Path, required=True, help="dump folder of stage 2, with the sets in raw/"
            )
            options.add_argument(
                "--cache", choices=CHOICES, default="auto", help="auto: if the training can use a cache"
            )
            options.add_argument(
                "--cache_dtype", choices=CACHE_DTYPES, default="float16", help="stored precision"
            )
        else:
            options.add_argument("--folder", type=Path, required=True, help="folder that plan printed")
        if verb == "plan":
            options.add_argument(
                "--batch_seconds", type=float, default=15, help="audio in one batch of the frozen layers"
            )
        if verb == "run":
            options.add_argument("--nj", type=int, default=1, help="number of jobs")
            options.add_argument("--job", type=int, default=1, help="number of this job, from 1")
            options.add_argument("--ngpu", type=int, default=0, help="0 = CPU, 1 = GPU")
            options.add_argument("--log", type=Path, help="log of this job, for a file of progress beside it")
    return parser


def find_config(training: list[str], cache: str, checks_optimiser: bool):
    """The encoder's configuration from the arguments of a training, None if it should not use a cache."""
    if cache == "false":
        return None

    from espnet_wsm.plugin.arguments import find_reason_against_cache, read_arguments
    from espnet_wsm.upstream import WsmConfig

    args = read_arguments(training, checks_optimiser)
    reason = find_reason_against_cache(args)
    if reason and cache == "true":
        raise UserError(f"--cache true, but {reason}: use --cache false")
    if reason:
        print(f"no feature cache: {reason}", file=sys.stderr)
        return None
    return WsmConfig.from_dict(args.encoder_conf)


def plan(args: argparse.Namespace) -> None:
    """Write the cut and a plan for each set."""
    config = find_config(args.training, args.cache, checks_optimiser=False)  # limit_duration has
    if config is None:
        return

    from espnet_wsm.data.features.plan import plan_cache
    from espnet_wsm.upstream.stored_cut import check_cut, describe_key, name_cut, store_cut

    folder = args.dump_dir / "cache" / name_cut(config, args.cache_dtype)
    try:
        cut = check_cut(folder, config)
    except UserError:  # there is none, or one of another version, whose features are stale too
        cut = store_cut(folder, config)
    for name in args.sets.split():
        planned = plan_cache(
            args.dump_dir / "raw" / name,
            folder / name,
            describe_key(config),
            args.cache_dtype,
            cut.dim,
            args.batch_seconds,
        )
        print(planned, file=sys.stderr)
        if planned.discarded:
            print(f"warning: {planned.discarded}", file=sys.stderr)
    print(folder)


def run(args: argparse.Namespace) -> None:
    """Compute one job's batches of every set."""
    from espnet_wsm.data.features.plan import read_batches
    from espnet_wsm.data.features.writer import ShardWriter

    batches = {name: read_batches(args.folder / name, args.nj, args.job) for name in args.sets.split()}
    total = sum(len(batch) for of_set in batches.values() for batch in of_set)
    if not total:  # before PyTorch and the upstream's library are imported, which takes seconds
        return

    from espnet_wsm.recipe.progress import ReportingBar
    from espnet_wsm.upstream.stored_cut import load_prefix

    device = find_device(args.ngpu)
    prefix = load_prefix(args.folder).to(device)
    with ReportingBar(args.log, total=total, desc="cache", unit="utt", mininterval=1) as progress:
        for name, of_set in batches.items():
            with ShardWriter(args.folder / name, args.job) as writer:
                for batch in of_set:
                    store_batch(prefix, batch, writer)
                    progress.update(len(batch))


def store_batch(prefix: "FrozenPrefix", batch: "list[CacheInput]", writer: "ShardWriter") -> None:
    """Run one batch through the frozen layers and pass the valid frames to the writer."""
    import torch

    from espnet_wsm.data.audio.recordings import read_recording
    from espnet_wsm.data.features.key import stamp_audio
    from espnet_wsm.plugin.encoder import split_waveforms
    from espnet_wsm.upstream import count_frames

    stamps = [stamp_audio(each.audio) for each in batch]
    wavs = [torch.from_numpy(read_recording(each.audio).samples[:, 0]) for each in batch]
    lengths = torch.tensor([len(wav) for wav in wavs])
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    with torch.inference_mode():
        hidden, padding_mask = prefix(split_waveforms(padded.to(next(prefix.parameters()).device), lengths))
    frames = count_frames(hidden, padding_mask).tolist()
    for each, features, length, stamp in zip(batch, hidden, frames, stamps, strict=True):
        writer.add(each.id, features[:length], stamp)


def check(args: argparse.Namespace) -> None:
    """Refuse a cache that does not belong to the current audio and settings."""
    config = find_config(args.training, args.cache, checks_optimiser=True)
    if config is None:
        return

    from espnet_wsm.data.features.reader import check_cache
    from espnet_wsm.upstream.stored_cut import describe_key, find_cut

    folder = find_cut(args.dump_dir / "cache", config, args.cache_dtype)
    for name in args.sets.split():
        check_cache(
            folder / name, describe_key(config), args.cache_dtype, args.dump_dir / "raw" / name / "wav.scp"
        )
    print(folder)


def merge(args: argparse.Namespace) -> None:
    """Finish the cache of every set."""
    from espnet_wsm.data.features.writer import merge_cache

    for name in args.sets.split():
        print(merge_cache(args.folder / name), file=sys.stderr)


VERBS = {"plan": plan, "run": run, "merge": merge, "check": check}


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    own, training = split_arguments(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(own, argparse.Namespace(training=training))
    VERBS[args.verb](args)


if __name__ == "__main__":
    main()
