"""FLEURS: one language."""

from dataclasses import replace
from pathlib import Path

from espnet_wsm.data.corpora.preparation import prepare_sets, write_corpus
from espnet_wsm.data.corpora.splits import SPLITS
from espnet_wsm.data.corpora.tables import Row, read_table
from espnet_wsm.data.corpora.trees import find_language
from espnet_wsm.errors import UserError

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


def prepare(lang: str, downloads: Path, out: Path) -> list[str]:
    """Write ``out/{train,dev,test}`` of the language in the folder ``lang``; returns a summary."""
    folder = find_language(downloads, lang, "train.tsv")
    sets = {name: read_set(folder, name) for name in SPLITS}
    return write_corpus(prepare_sets(sets, "unpack the archive in audio/ again"), out)
