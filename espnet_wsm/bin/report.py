"""Write a page of one experiment or two: scores, curves, errors, every utterance.

The page is one HTML file, which opens in any browser without a network: error rates with their intervals,
learning curves, errors by duration, speaking rate and speaker, the words and characters that are most often
mistaken, and every utterance aligned with its reference, to be sorted, filtered and listened to.

Example:
  espnet-wsm report exp/asr_wsm --versus exp/asr_attention --out wsm_or_attention.html
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.report.audio import PLACES


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "experiment",
        type=Path,
        metavar="EXP_DIR",
        help="exp/asr_X, or one decoding of it, exp/asr_X/decode_Y (default: decode_greedy, else the first)",
    )
    parser.add_argument("--versus", type=Path, metavar="EXP_DIR", help="a second one on the same sets")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the page (default: asr_X.html or asr_X_versus_asr_Y.html in the current folder)",
    )
    parser.add_argument(
        "--audio",
        choices=PLACES,
        default="auto",
        help="; ".join(f"{name}: {words}" for name, words in PLACES.items()) + " (default: auto)",
    )
    parser.add_argument("--sets", nargs="+", metavar="SET", default=(), help="decoded sets (default: all)")
    parser.add_argument(
        "--dump_dir",
        type=Path,
        help="stage 2's folder with the references and the audio (default: the one that training was given)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the page if it is there")
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)

    from espnet_wsm.report.experiment import read_experiment
    from espnet_wsm.report.page import write_report

    paths = [args.experiment, *([args.versus] if args.versus else [])]
    experiments = [read_experiment(path, args.dump_dir, args.sets) for path in paths]
    names = [one.folder.name for one in experiments]
    if len(set(names)) < len(names):
        names = [f"{one.folder.name}_{one.decoding}" for one in experiments]
    if len({(one.folder, one.decoding) for one in experiments}) < len(experiments):
        raise UserError(f"--versus {args.versus} is the same decoding as {args.experiment}: name another one")
    page = args.out or Path(f"{'_versus_'.join(names)}.html")
    print(write_report(experiments, page, args.audio, args.overwrite))


if __name__ == "__main__":
    main()
