"""Make data directories from tables, annotations, parquet or Kaldi directories.

egs/manifest/asr1/README.md says what these may look like, and how they are split.

Example:
  espnet-wsm prepare_corpus --downloads my.csv --columns text=Satz --out data
  espnet-wsm prepare_corpus --downloads field --tier 'tx@*' --out data
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.data.corpora.preparation import read_corpus, write_corpus
from espnet_wsm.data.corpora.sources import add_source_arguments, read_source_arguments
from espnet_wsm.errors import report_user_errors

AUDIO = "audio"  # folder in OUT for audio that comes embedded, in parquet


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Write OUT/{train,dev,test}, and OUT/audio for parquet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--downloads", type=Path, required=True, help="table or folder")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write (default: data)")
    add_source_arguments(parser)
    args = parser.parse_args(argv)
    prepared = read_corpus(args.downloads, *read_source_arguments(args), store=args.out / AUDIO)
    print("\n".join(write_corpus(prepared, args.out)))


if __name__ == "__main__":
    main()
