"""Find the folders of a corpus below ``--downloads``, and the files in them."""

import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from espnet_wsm.data.kaldi.lists import count, name_some
from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in

# macOS writes what other file systems cannot hold of a file beside it, and archives take it along.
MAC_PREFIX = "._"


def is_of_mac(path: Path | str) -> bool:
    """Whether a file ``._NAME`` holds a Mac's attributes of ``NAME``, and not what its suffix says."""
    return Path(path).name.startswith(MAC_PREFIX)


def list_files(folder: Path, pattern: str) -> list[Path]:
    """The files in ``folder`` that match ``pattern``, sorted; a warning counts those of a Mac, left out."""
    found = sorted(folder.glob(pattern))
    files = [path for path in found if not is_of_mac(path)]
    if len(files) < len(found):
        left = count(len(found) - len(files), "file")
        name = pattern.rpartition("/")[2]
        print(f"warning: {folder}: {left} {MAC_PREFIX}{name} of a Mac left out", file=sys.stderr)
    return files


def read_utf8(path: Path) -> str:
    """The content of a text file of a corpus, without a byte order mark.

    Raises:
        UserError: something else stands in its place, a git-lfs pointer or a web page.
        OSError, UnicodeDecodeError: it cannot be read, or is not UTF-8.
    """
    refuse_stand_in(path)
    return path.read_text(encoding="utf-8-sig")


def refuse_tree(downloads: Path, tree: str) -> UserError:
    """The error for a folder that does not hold ``tree``, e.g. ``sw_ke/train.tsv``."""
    if not downloads.is_dir():
        found = "it is not a folder"
    else:
        names = sorted(path.name for path in downloads.iterdir() if not is_of_mac(path))
        found = f"it holds {name_some(names) or 'nothing'}"
    return UserError(f"--downloads {downloads}: {tree} is expected in it, and {found}; see README.md")


def find_language(downloads: Path, lang: str, table: str, above: Iterable[str] = ("",)) -> Path:
    """The folder of a language, which holds ``table``: in ``downloads``, or ``downloads`` itself.

    Args:
        downloads: folder that the user named.
        lang: name of the language's folder.
        table: a file that every language has.
        above: patterns of the folders in ``downloads`` that may hold those of the languages.

    Raises:
        UserError: there is none, or more than one; names those that are there.
    """
    if downloads.resolve().name == lang and (downloads / table).is_file():
        return downloads
    there = sorted(path.parent for place in above for path in downloads.glob(f"{place or '.'}/*/{table}"))
    found = [folder for folder in there if folder.name == lang]
    if len(found) > 1:
        raise UserError(f"--downloads {downloads} holds {lang} twice: name {' or '.join(map(str, found))}")
    if found:
        return found[0]
    if there:
        names = name_some(sorted({folder.name for folder in there}))
        raise UserError(f"--lang {lang}: {downloads} holds {names}: choose one, or unpack {lang} there")
    raise refuse_tree(downloads, f"{lang}/{table}")


def require_sets(needed: Iterable[str], sets: Collection[str], downloads: Path) -> None:
    """Raise UserError for a set that is needed but is not among the ``sets`` that were found."""
    if lacking := [name for name in needed if name not in sets]:
        raise UserError(
            f"{lacking[0]} cannot be made of {downloads}, but {name_some(sets) or 'no set'}: unpack what is "
            "missing (README.md), or choose with --train_set, --valid_set and --test_sets"
        )
