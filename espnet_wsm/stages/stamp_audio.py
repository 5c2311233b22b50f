"""Digest of the sizes and modification times of all audio that the data directories in a folder name.

The lists of a data directory stay as they are when a recording is replaced by another of the same name.
"""

import argparse
from pathlib import Path

from espnet_wsm.data.kaldi.stamp import stamp_audio
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path, help="folder with data directories below it: data")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    print(stamp_audio(make_parser().parse_args(argv).data_dir))


if __name__ == "__main__":
    main()
