"""The list of commands, with the first line of each one's docstring, read without importing it."""

import ast
from itertools import chain
from pathlib import Path

from espnet_wsm.cli.table import GROUPS

FOLDER = Path(__file__).parents[1] / "bin"


def list_commands() -> list[str]:
    """The commands that people type, in the order of the groups."""
    return list(chain.from_iterable(GROUPS.values()))


def describe(command: str) -> str:
    """The first line of a command's docstring, without its full stop."""
    tree = ast.parse((FOLDER / f"{command}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0].removesuffix(".")


def format_commands() -> str:
    """What ``espnet-wsm --help`` prints."""
    width = max(map(len, list_commands()))
    lines = ["usage: espnet-wsm COMMAND [ARGUMENT ...]", ""]
    for group, commands in GROUPS.items():
        lines += [f"{group}:", *(f"  {command:<{width}}  {describe(command)}" for command in commands), ""]
    lines += [
        "espnet-wsm COMMAND --help             the options of a command",
        "espnet-wsm --version                  versions to name in a bug report",
        'eval "$(espnet-wsm completion bash)"  in ~/.bashrc: commands, options and files on TAB',
    ]
    return "\n".join(lines)
