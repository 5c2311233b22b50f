"""Make a recipe's data directories from a table, its folder or Kaldi directories.

egs/manifest/asr1/README.md says what these may look like, and how they are split.

Example:
  python -m espnet_wsm.bin.prepare_corpus --downloads my.csv --columns text=Satz --out data
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.data.corpora.columns import COLUMNS, parse_columns
from espnet_wsm.data.corpora.preparation import read_corpus, write_corpus
from espnet_wsm.errors import report_user_errors


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Write OUT/{train,dev,test}."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--downloads", type=Path, required=True, help="table or folder")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write (default: data)")
    parser.add_argument(
        "--columns", default="", metavar="KIND=NAME,...",
        help="names of columns, if they differ, e.g. 'text=Satz,path=Datei', or their numbers, if the "
        f"table has no header, e.g. 'path=1,text=2'; kinds: {', '.join(COLUMNS)}",
    )  # fmt: skip
    args = parser.parse_args(argv)
    prepared = read_corpus(args.downloads, parse_columns(args.columns))
    print("\n".join(write_corpus(prepared, args.out)))


if __name__ == "__main__":
    main()
