"""The guide of a training, a trained experiment (run.sh --guide), and what is learnt from it without text.

  describe    print its checkpoint with the digest; another one under the same name is another guide
  lists       write the lists of a training on transcripts and on speech without text

Example:
  python -m espnet_wsm.stages.guide describe exp/asr_attention
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from espnet_wsm.data.dump.untold import write_untold_lists
from espnet_wsm.errors import report_user_errors
from espnet_wsm.files import digest_file
from espnet_wsm.plugin.experiment import find_experiment


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    describing = verbs.add_parser("describe")
    describing.add_argument("guide", type=Path, help="its folder, or a checkpoint in it")
    listing = verbs.add_parser("lists")
    listing.add_argument("--out", type=Path, required=True, help="folder for the lists")
    listing.add_argument(
        "--known", type=Path, required=True, help="folder of the transcripts: dump/raw/train"
    )
    listing.add_argument("--speech", type=Path, required=True, help="e.g. dump/raw/unlabelled")
    listing.add_argument(
        "--measured", type=Path, nargs="+", required=True, help="sets whose audio is not taken"
    )
    listing.add_argument(
        "--stored", type=Path, nargs=2, help="stored features of transcribed and other speech"
    )
    return parser


def describe(args: argparse.Namespace) -> None:
    """Print name and digest of the checkpoint."""
    file = find_experiment(args.guide).checkpoint
    print(file.name, digest_file(file)[:16])


def write_lists(args: argparse.Namespace) -> None:
    """Write the lists, and say how much speech there is."""
    measured = [folder for folder in args.measured if (folder / "wav.scp").is_file()]
    stored = None if args.stored is None else tuple(args.stored)
    print(write_untold_lists(args.out, args.known, args.speech, measured, stored), file=sys.stderr)


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {"describe": describe, "lists": write_lists}


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    VERBS[args.verb](args)


if __name__ == "__main__":
    main()
