"""Convert one job's share of a data directory to 16-bit mono flac; merge_audio follows all jobs.

Example:
  run.pl JOB=1:4 dump/log/format_audio.JOB.log \\
    python -m espnet_wsm.stages.format_audio --data data/train --out dump/raw/train --nj 4 --job JOB
"""

import argparse
from pathlib import Path

from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.data.dump.audio import format_slice
from espnet_wsm.errors import report_user_errors
from espnet_wsm.frames import SAMPLE_RATE


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="data directory to read, e.g. data/train")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, e.g. dump/raw/train")
    parser.add_argument(
        "--fs", type=int, default=SAMPLE_RATE, help="sampling rate to write, in Hz (default: %(default)s)"
    )
    parser.add_argument("--nj", type=int, default=1, help="number of jobs (default: 1)")
    parser.add_argument("--job", type=int, default=1, help="number of this job, from 1 (default: 1)")
    parser.add_argument(
        "--speed_perturb",
        default="",
        metavar="FACTORS",
        help="write a copy at each of these speeds, e.g. '0.9 1.0 1.1' (default: as recorded)",
    )
    parser.add_argument(
        "--allow_pipes", default="false", choices=("true", "false"),
        help="true: run the commands that wav.scp names, 'COMMAND |' (default: false)",
    )  # fmt: skip
    parser.add_argument("--no_text", action="store_true", help="the text file, if there is one, is not read")
    add_channel_argument(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    allow_pipes = args.allow_pipes == "true"
    options = args.speed_perturb, allow_pipes, args.channel, not args.no_text
    format_slice(args.data, args.out, args.fs, args.nj, args.job, *options)


if __name__ == "__main__":
    main()
