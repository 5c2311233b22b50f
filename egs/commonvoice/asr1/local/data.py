#!/usr/bin/env python3
"""Kaldi data directories from a language of any release of Common Voice."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from espnet_wsm.data.corpora.splits import SPLITS
from espnet_wsm.data.corpora.tables import Row, prepare_sets, read_table, write_corpus
from espnet_wsm.data.corpora.trees import find_language, require_sets
from espnet_wsm.errors import report_user_errors

COLUMNS = {"path": "path", "text": "sentence", "speaker": "client_id"}  # the others differ between releases
FEWEST_DIGITS = 16  # of the 128 of a client_id


def read_sets(folder: Path) -> dict[str, list[Row]]:
    """The rows of train, dev and test, and of ``validated.tsv`` if it exists."""
    names = [*SPLITS, *(["validated"] if (folder / "validated.tsv").is_file() else [])]
    return {name: read_table(folder / f"{name}.tsv", COLUMNS, folder=folder / "clips") for name in names}


def leave_out_held(sets: dict[str, list[Row]]) -> list[tuple[str, str]]:
    """Remove the clips and speakers of dev and test from validated; returns their places with reasons."""
    held = [row for name in ("dev", "test") for row in sets[name]]
    clips, speakers = {row.path for row in held}, {row.speaker for row in held if row.speaker}
    taken = [row for row in sets.get("validated", []) if row.path in clips or row.speaker in speakers]
    if taken:
        places = {row.place for row in taken}
        sets["validated"] = [row for row in sets["validated"] if row.place not in places]
    return [(row.place, "clip or speaker of dev or test") for row in taken]


def shorten_speakers(sets: dict[str, list[Row]]) -> None:
    """Cut each client_id to the fewest digits that still distinguish all speakers."""
    speakers = {row.speaker for rows in sets.values() for row in rows}
    digits = FEWEST_DIGITS
    while len({speaker[:digits] for speaker in speakers}) < len(speakers):
        digits += 1
    for name, rows in sets.items():
        sets[name] = [replace(row, speaker=row.speaker[:digits]) for row in rows]


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Write OUT/train, OUT/dev, OUT/test and OUT/validated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lang", required=True, help="name of the language's folder, e.g. sw")
    parser.add_argument("--downloads", type=Path, default=Path("downloads"), help="default: downloads")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write (default: data)")
    parser.add_argument("--need", nargs="*", default=[], metavar="SET", help="sets that have to be there")
    args = parser.parse_args(argv)
    folder = find_language(args.downloads, args.lang, "train.tsv", ("", "cv-corpus-*"))
    sets = read_sets(folder)
    require_sets(args.need, sets, folder)
    held = leave_out_held(sets)
    shorten_speakers(sets)
    prepared = prepare_sets(sets, "unpack the archive of this language again")
    prepared.dropped += held
    print("\n".join(write_corpus(prepared, args.out)))


if __name__ == "__main__":
    main()
