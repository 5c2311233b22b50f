"""Where the folders of a corpus are in what the user names with ``--downloads``."""

from collections.abc import Collection, Iterable
from pathlib import Path

from espnet_wsm.data.lists import name_some
from espnet_wsm.errors import UserError


def refuse_tree(downloads: Path, tree: str) -> UserError:
    """What is said of a folder that does not hold ``tree``, e.g. ``sw_ke/train.tsv``."""
    if not downloads.is_dir():
        found = "it is no folder"
    else:
        found = f"it holds {name_some(sorted(path.name for path in downloads.iterdir())) or 'nothing'}"
    return UserError(f"--downloads {downloads}: {tree} is expected in it, and {found}; see README.md")


def find_language(downloads: Path, lang: str, table: str, above: Iterable[str] = ("",)) -> Path:
    """The folder of a language, which holds ``table``: in ``downloads``, or ``downloads`` itself.

    Args:
        downloads: folder.
        lang: name of the folder.
        table: a file that every language has.
        above: where in ``downloads`` the folders of the languages may be, as patterns.

    Raises:
        UserError: there is none, or more than one; it names those there.
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
    """Raise UserError for a set that is needed and not among the ``sets`` that were found."""
    if lacking := [name for name in needed if name not in sets]:
        raise UserError(
            f"{lacking[0]} cannot be made of {downloads}, but {name_some(sets) or 'no set'}: unpack what is "
            "missing (README.md), or choose with --train_set, --valid_set and --test_sets"
        )
