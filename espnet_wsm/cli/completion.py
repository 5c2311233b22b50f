"""The completion for bash. Options are read from the source, so that no command has to be imported."""

import ast
from importlib.util import find_spec
from pathlib import Path

from espnet_wsm.cli.commands import list_commands
from espnet_wsm.cli.table import OPTIONS_DECLARED_IN

SCRIPT = Path(__file__).with_name("completion.sh")


def _find_source(module: str) -> Path | None:
    """The file of a module; unlike ``find_spec`` of the module itself, this imports none of its packages."""
    package, *names = module.split(".")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], *names).with_suffix(".py")


def _read_options(source: Path) -> set[str]:
    """Long options that calls of ``add_argument`` in a file name literally."""
    calls = (node for node in ast.walk(ast.parse(source.read_bytes())) if isinstance(node, ast.Call))
    words = (
        word.value
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"
        for word in call.args
        if isinstance(word, ast.Constant)
    )
    return {word for word in words if isinstance(word, str) and word.startswith("--")}


def list_options(command: str) -> list[str]:
    """The options of a command. Those of a package that is not installed are left out."""
    modules = (f"espnet_wsm.bin.{command}", *OPTIONS_DECLARED_IN.get(command, ()))
    sources = filter(None, map(_find_source, modules))
    return sorted({"--help"}.union(*map(_read_options, sources)))


def format_completion() -> str:
    """A script for bash, to be evaluated."""
    lines = [
        f"_espnet_wsm_options[{command}]='{' '.join(list_options(command))}'" for command in list_commands()
    ]
    return SCRIPT.read_text(encoding="utf-8") + "\n" + "\n".join(lines) + "\n"
