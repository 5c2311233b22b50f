#!/usr/bin/env python3
"""Kaldi data directories from a language of FLEURS."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from espnet_wsm.data.corpora.splits import SPLITS
from espnet_wsm.data.corpora.tables import Row, prepare_sets, read_table, write_corpus
from espnet_wsm.data.corpora.trees import find_language
from espnet_wsm.errors import UserError, report_user_errors

# The tables have no header. The first column numbers sentences, which several people read.
COLUMNS = ("sentence", "path", "raw_text", "text", "characters", "num_samples", "gender")


def read_set(folder: Path, name: str) -> list[Row]:
    """The rows of a set.

    Raises:
        UserError: its audio is not unpacked, or its table is faulty.
    """
    audio = folder / "audio"
    if not (audio / name).is_dir():
        archive = audio / f"{name}.tar.gz"
        remedy = (
            f"run `tar -xzf {archive} -C {audio}`"
            if archive.is_file()
            else f"fetch {archive}, unpack it there"
        )
        raise UserError(f"{audio / name} is no folder: {remedy}")
    rows = read_table(folder / f"{name}.tsv", {"text": "text", "path": "path"}, folder=audio, header=COLUMNS)
    return [replace(row, path=f"{name}/{row.path}" if row.path else "") for row in rows]


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Write OUT/train, OUT/dev and OUT/test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lang", required=True, help="name of the language's folder, e.g. sw_ke")
    parser.add_argument("--downloads", type=Path, default=Path("downloads"), help="default: downloads")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write (default: data)")
    args = parser.parse_args(argv)
    folder = find_language(args.downloads, args.lang, "train.tsv")
    sets = {name: read_set(folder, name) for name in SPLITS}
    print("\n".join(write_corpus(prepare_sets(sets, "unpack the archive in audio/ again"), args.out)))


if __name__ == "__main__":
    main()
