"""Print what follows from the options of an ASR recipe, as assignments for the stage's shell.

Example:
  eval "$(python -m espnet_wsm.stages.settle exp training -- --tag first --mixer wsm ...)"
"""

import argparse
import os
import shlex
import sys

from espnet_wsm.errors import report_user_errors
from espnet_wsm.recipe.settings import SETTINGS
from espnet_wsm.stages import split_arguments


def format_assignment(name: str, value: str | list[str]) -> str:
    """A line of bash that sets a variable, or an array."""
    return f"{name}={shlex.quote(value)}" if isinstance(value, str) else f"{name}=({shlex.join(value)})"


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=SETTINGS, metavar="NAME", help=", ".join(SETTINGS))
    own, words = split_arguments(sys.argv[1:] if argv is None else argv)
    names = parser.parse_args(own).names
    pairs = zip(words[::2], words[1::2], strict=True)
    options = argparse.Namespace(**{option.removeprefix("--"): value for option, value in pairs})
    for name in names:
        line = format_assignment(name, SETTINGS[name](options))
        sys.stdout.buffer.write(os.fsencode(f"{line}\n"))


if __name__ == "__main__":
    main()
