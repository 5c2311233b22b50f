"""The guide of a training, a trained experiment (run.sh --guide): which checkpoint it is.

  describe    print it with its digest; another one under the same name is another guide

Example:
  python -m espnet_wsm.stages.guide describe exp/asr_attention
"""

import argparse
from collections.abc import Callable
from pathlib import Path

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
    return parser


def describe(args: argparse.Namespace) -> None:
    """Print name and digest of the checkpoint."""
    file = find_experiment(args.guide).checkpoint
    print(file.name, digest_file(file)[:16])


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {"describe": describe}


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    VERBS[args.verb](args)


if __name__ == "__main__":
    main()
