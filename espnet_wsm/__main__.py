"""The program ``espnet-wsm``: list the commands, or run one of them."""

import importlib
import sys

from espnet_wsm.cli.commands import format_commands, list_commands
from espnet_wsm.errors import report_user_errors, write_utf8


def main() -> None:
    """Entry point of ``espnet-wsm`` and of ``python -m espnet_wsm``."""
    write_utf8()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in BUILT_IN:
        BUILT_IN[name](arguments)
    elif name in list_commands():
        sys.argv = [f"espnet-wsm {name}", *arguments]  # argparse takes the name in its usage line from here
        report_user_errors(lambda: importlib.import_module(f"espnet_wsm.bin.{name}").main())()
    else:
        refuse(f"there is no command {name!r}{_suggest(name)} (espnet-wsm --help lists them all)")


def refuse(message: str) -> None:
    """End with a message about the command line itself, and argparse's exit status for that."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _suggest(name: str) -> str:
    from difflib import get_close_matches

    known = [*list_commands(), *BUILT_IN]
    near = get_close_matches(name.replace("-", "_"), known) or get_close_matches(name, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _print_commands(_: list[str]) -> None:
    print(format_commands())


def _print_versions(_: list[str]) -> None:
    from espnet_wsm.cli.versions import format_versions

    print(format_versions())


def _print_completion(arguments: list[str]) -> None:
    from espnet_wsm.cli.completion import format_completion

    if arguments != ["bash"]:
        refuse('completion is for bash only: eval "$(espnet-wsm completion bash)"')
    print(format_completion(), end="")


BUILT_IN = {
    "-h": _print_commands,
    "--help": _print_commands,
    "--version": _print_versions,
    "completion": _print_completion,
}


if __name__ == "__main__":
    main()
