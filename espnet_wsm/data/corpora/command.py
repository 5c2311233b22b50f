"""The command line of a recipe's ``local/data.py``."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_wsm.errors import report_user_errors

# Options, as arguments of argparse: the two folders of every recipe, ...
FOLDERS: dict[str, dict[str, Any]] = {
    "downloads": {"type": Path, "default": Path("downloads"), "help": "default: downloads"},
    "out": {"type": Path, "default": Path("data"), "help": "folder to write (default: data)"},
}
# ... of a corpus in Debian packages that has several languages, ...
PACKAGES_BY_LANGUAGE: dict[str, dict[str, Any]] = {
    "downloads": FOLDERS["downloads"]
    | {"help": "folder with the unpacked packages; missing ones are downloaded to it (default: downloads)"},
    "out": {"type": Path, "help": "folder to write (default: data/LANG)"},
}
# ... and the sets that a run cannot do without, where a corpus may be there in part.
NEED: dict[str, Any] = {"nargs": "*", "default": [], "metavar": "SET", "help": "sets that have to be there"}


def make_command(
    description: str, prepare: Callable[..., Iterable[str]], **options: Mapping[str, Any]
) -> Callable[[Sequence[str] | None], None]:
    """The ``main`` of a ``local/data.py``.

    Args:
        description: what ``--help`` says first.
        prepare: writes the data directories; takes the options by their names, returns the lines to print.
        options: the arguments of ``argparse.add_argument`` for each option.
    """

    @report_user_errors
    def main(argv: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=description)
        for name, arguments in options.items():
            parser.add_argument(f"--{name}", **arguments)
        args = parser.parse_args(argv)
        if args.out is None:
            args.out = Path("data") / args.lang
        print("\n".join(prepare(**vars(args))))

    return main
