"""Show where each layer's heads look, and what windows in their place would leave.

It hears audio and reads no labels: data directories, but not their texts, and audio files.
OUT gets heads.json and a picture of it. In encoder_conf, `windows: OUT/heads.json` gives mixer wsm_heads the
windows in it, and `layers: auto:2:OUT/heads.json` replaces the two layers that it ranks as the cheapest.

Examples:
  espnet-wsm layers --upstream upstreams/whisper_base data/train
  espnet-wsm layers talk.mp3 interviews/*.wav --upstream upstreams/whisper_base --share 0.05 0.1 0.2
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.errors import UserError, report_user_errors

if TYPE_CHECKING:
    from espnet_wsm.upstream.heads_record import HeadWindowsRecord


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "inputs", metavar="DIR_or_FILE", nargs="+", type=Path, help="data directory, or audio file"
    )
    parser.add_argument(
        "--upstream", metavar="NAME_or_PATH", required=True,
        help="a checkpoint, or S3PRL's name for one on this machine",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder to write (default: layers_NAME)")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="of speech that are looked at, at most (default: 3)"
    )
    parser.add_argument(
        "--share", type=float, nargs="+", default=[0.1],
        help="of a head's weight that its window leaves out on either side; of several, that is taken whose "
        "windows explain most (default: 0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--transfer", metavar="STEPS", type=int, default=0,
        help="let a block for each layer learn what its attention gives, and rank by what is left then "
        "(default: 0, none)",
    )  # fmt: skip
    parser.add_argument(
        "--trust", action="store_true", help="open a checkpoint that can run code when it is loaded"
    )
    add_channel_argument(parser)
    return parser


def check(args: argparse.Namespace) -> None:
    """Refuse numbers that cannot work."""
    if not args.minutes > 0:
        raise UserError(f"--minutes {args.minutes:g} has to be above 0")
    for share in args.share:
        if not 0 <= share < 0.5:
            raise UserError(f"--share {share:g} has to be at least 0 and below 0.5")
    if args.transfer < 0:
        raise UserError(f"--transfer {args.transfer} has to be a number of steps, 0 for none")


def name_folder(upstream: str) -> Path:
    """``layers_NAME`` in the working directory."""
    path = Path(upstream)
    return Path(f"layers_{path.stem if path.is_file() else path.resolve().name}")


LEGEND = """\
window: frames of 20 ms that hold most of a head's weight; peaked: the share of its weight above an even one;
left: squared error of the means over windows, by the variance of what a head or the whole attention gives (1:
no better than one mean); after: that of blocks that learnt it, on held-out speech; rank 1: the cheapest."""


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    check(args)

    from espnet_wsm.transfer.heads_report import PICTURE_FILE, draw_heads, format_record
    from espnet_wsm.upstream.heads_record import EVEN, HEADS_FILE

    records = look(args)
    best = min(records, key=lambda record: record.mean_left)
    out = args.out or name_folder(args.upstream)
    file, picture = out / HEADS_FILE, out / PICTURE_FILE
    best.write(file)
    minutes = f"{best.minutes:.1f} minutes of speech"
    draw_heads(best, f"Where the heads of {Path(args.upstream).name} look, in {minutes}", picture)
    print(f"{args.upstream} (digest {best.upstream[:12]}), {minutes}, {best.share:g} left out on either side")
    print(LEGEND)
    print(format_record(best))
    for record in records if len(records) > 1 else ():
        taken = ", taken" if record is best else ""
        print(f"share {record.share:g}: the blocks leave {record.mean_left:.3f} on average{taken}")
    if best.is_even:
        print(f"There is nothing to read: {EVEN}; its windows are chance")
    print(f"{file}, {picture}")


def look(args: argparse.Namespace) -> "list[HeadWindowsRecord]":
    """What was read off for each share; that of the best one after a transfer, if there is to be one."""
    from tqdm import tqdm

    from espnet_wsm.data.kaldi.excerpts import choose_excerpts
    from espnet_wsm.transfer.heads import read_heads_by_share
    from espnet_wsm.transfer.layer_survey import open_upstream, transfer_layers

    excerpts = choose_excerpts(args.inputs, args.minutes, args.channel)
    opened = open_upstream(args.upstream, args.trust)
    heard = tqdm(excerpts, desc="audio", unit="utt", mininterval=1)
    batches = list(opened.encode(each.read() for each in heard))
    with tqdm(total=2 * len(batches), desc="attention", unit="utt", mininterval=1) as progress:
        records = read_heads_by_share(opened.suffix, batches, 0, args.share, progress.update)
    records = [replace(record, upstream=opened.checkpoint.digest) for record in records]
    if not args.transfer:
        return records
    best = min(records, key=lambda record: record.mean_left)
    total = args.transfer * len(best.layers)
    with tqdm(total=total, desc="transfer", unit="step", mininterval=1) as progress:
        learnt = transfer_layers(opened, batches, best, args.transfer, progress.update)
    return [learnt if record is best else record for record in records]


if __name__ == "__main__":
    main()
