"""Common Voice: a language of any release."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from espnet_wsm.data.corpora.preparation import prepare_sets, write_corpus
from espnet_wsm.data.corpora.splits import SPLITS
from espnet_wsm.data.corpora.tables import Row, read_table
from espnet_wsm.data.corpora.trees import find_language, require_sets

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


def prepare(lang: str, downloads: Path, out: Path, need: Iterable[str] = ()) -> list[str]:
    """Write ``out/{train,dev,test}``, and ``out/validated`` if there is ``validated.tsv``; returns a summary.

    Args:
        lang: name of the language's folder, e.g. ``sw``.
        downloads: folder in which the language is, or a release with it, or the language itself.
        out: folder to write.
        need: sets that have to be there.
    """
    folder = find_language(downloads, lang, "train.tsv", ("", "cv-corpus-*"))
    sets = read_sets(folder)
    require_sets(need, sets, folder)
    held = leave_out_held(sets)
    shorten_speakers(sets)
    prepared = prepare_sets(sets, "unpack the archive of this language again")
    prepared.dropped += held
    return write_corpus(prepared, out)
