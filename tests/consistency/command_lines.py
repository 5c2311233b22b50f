"""Check a command line of a document by the parser of the program that it names."""

import argparse
import contextlib
import functools
import importlib
import io
import itertools
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import click
from documents import ROOT, SYSTEM, Command
from mkdocs.__main__ import cli as mkdocs_cli

from espnet_wsm import __main__ as espnet_wsm_cli
from espnet_wsm.cli.commands import list_commands
from espnet_wsm.cli.completion import list_options

TEMPLATE = ROOT / "egs/TEMPLATE/asr1"
# Where `./run.sh` is, in a document that names no recipe.
ANY_RECIPE = ROOT / "egs/asterisk/asr1"
# ESPnet's own arguments, which are looked up in its source: importing it takes seconds.
OF_ESPNET = ("asr_train", "asr_inference")


class _Parsed(Exception):
    """A command has read its arguments and would begin to work."""


def _stop_after_parsing(parse: Callable) -> Callable:
    def wrapped(*args, **kwargs):
        parse(*args, **kwargs)
        raise _Parsed

    return wrapped


def _try_to_parse(main: Callable[[], object], argv: Iterable[str]) -> str | None:
    """What the parser of a Python program says against ``argv``, the program's name first."""
    said = io.StringIO()
    parse = _stop_after_parsing(argparse.ArgumentParser.parse_args)
    try:
        with (
            mock.patch.object(argparse.ArgumentParser, "parse_args", parse),
            mock.patch.object(sys, "argv", list(argv)),
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            main()
    except _Parsed:
        return None
    except SystemExit as end:
        return None if not end.code else said.getvalue().strip().splitlines()[-1]
    return None  # it has printed something, like --version


@functools.cache
def _parse_in_shell(file: Path, end: str, arguments: tuple[str, ...]) -> str | None:
    """What a shell script says against arguments when it is run up to the line that holds ``end``."""
    text = file.read_text(encoding="utf-8")
    head = text[: text.index("\n", text.index(f"\n{end}") + 1)].replace("${BASH_SOURCE[0]}", "$0")
    command = ["bash", "-c", head, f"./{file.name}", *arguments]
    result = subprocess.run(command, cwd=file.parent, capture_output=True, text=True)
    return result.stderr.strip() if result.returncode else None


def _find_unknown_option(words: Iterable[str], known: Iterable[str]) -> str | None:
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    unknown = sorted(options - set(known))
    return f"no option {unknown[0]}" if unknown else None


def _find_unknown_to_espnet(command: str, words: Iterable[str]) -> str | None:
    """An option that the source of ESPnet does not name; it makes up those of choices, --X and --X_conf."""
    more = (word for word in words if word.split("=")[0] not in list_options(command))
    return _find_unspoken(("espnet2.tasks.abs_task", "espnet2.tasks.asr"), more)


def _check_recipe(words: tuple[str, ...], folder: Path) -> str | None:
    """run.sh: its own options, and those that it hands to the trainer and the decoder."""
    folder = folder if (folder / "run.sh").is_file() else ANY_RECIPE
    problem = _parse_in_shell(folder / "run.sh", ". ../../common/parse_options.sh", words[1:])
    given = dict(itertools.pairwise(words))
    decoder = "asr_inference_lm" if "--lm" in given else "asr_inference_greedy"
    return (
        problem
        or _find_unknown_to_espnet("asr_train", given.get("--asr_args", "").split())
        or _find_unknown_option(given.get("--inference_args", "").split(), list_options(decoder))
        or _find_missing_settings(words, folder)
    )


def _find_missing_settings(words: Iterable[str], folder: Path) -> str | None:
    """A file of the repository that a command names and that is not there."""
    for path in " ".join(words).split():
        if re.match(r"(\.\./)*(conf|debian_multi)/", path) and not (folder / path).exists():
            return f"{path} does not exist in {folder}"
    return None


def _check_module(words: tuple[str, ...], inline: bool) -> str | None:
    """python -m MODULE ARGUMENTS."""
    module, arguments = words[2], words[3:]
    if module == "torch.distributed.run":
        place = arguments.index("-m")
        return _find_unspoken((module,), arguments[:place]) or _check_module(
            ("python", *arguments[place:]), inline
        )
    if module == "espnet_wsm":
        return _check_espnet_wsm(("espnet-wsm", *arguments), inline)
    command = module.removeprefix("espnet_wsm.bin.")
    if module.startswith("espnet_wsm.bin."):
        return _check_espnet_wsm(("espnet-wsm", command, *arguments), inline)
    return (
        _find_unspoken((module,), arguments) if module == "espnet2.bin.pack" else f"unknown module {module}"
    )


@functools.cache
def _read_source(module: str) -> str:
    package, *names = module.split(".")
    return Path(find_spec(package).submodule_search_locations[0], *names).with_suffix(".py").read_text()


def _find_unspoken(modules: Iterable[str], words: Iterable[str]) -> str | None:
    """An option that the source of another project's modules does not name."""
    source = "".join(map(_read_source, modules))
    for name in (word[2:].split("=")[0] for word in words if word.startswith("--")):
        if not re.search(rf"[\"'](--)?{re.escape(name.removesuffix('_conf'))}[\"'{{]", source):
            return f"no option --{name}"
    return None


def _check_espnet_wsm(words: tuple[str, ...], inline: bool) -> str | None:
    if inline and len(words) == 2 and words[1] in list_commands():
        return None
    if words[1:2] and words[1] in OF_ESPNET:
        return _find_unknown_to_espnet(words[1], words[2:])
    return _try_to_parse(espnet_wsm_cli.main, words)


def _check_script(words: tuple[str, ...], folder: Path, inline: bool) -> str | None:
    """python FILE ARGUMENTS."""
    script = folder / words[1]
    if not script.is_file():
        return f"{script} does not exist"
    if inline and len(words) == 2:
        return None
    with mock.patch.object(sys, "path", [str(script.parent), *sys.path]):
        return _try_to_parse(lambda: runpy.run_path(str(script), run_name="__main__"), words[1:])


def _check_tests(words: tuple[str, ...]) -> str | None:
    """run_tests.sh: options of its own, or arguments of pytest."""
    text = (ROOT / "run_tests.sh").read_text(encoding="utf-8")
    markers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    previous = ""
    for word in words[1:]:
        if previous == "-m":
            known = all(
                f'"{name}:' in markers
                for name in re.findall(r"\w+", word)
                if name not in ("not", "or", "and")
            )
        elif word.startswith("--"):
            known = word in text
        else:
            known = word == "-m" or (ROOT / word.split("::")[0]).exists()
        if not known:
            return f"run_tests.sh knows no {word}"
        previous = word
    return None


def _check_mkdocs(words: tuple[str, ...]) -> str | None:
    if words[1:2] and words[1] not in mkdocs_cli.commands:
        return f"mkdocs has no command {words[1]}"
    try:
        if words[1:]:
            mkdocs_cli.commands[words[1]].make_context(words[1], list(words[2:]))
    except click.UsageError as error:
        return error.message
    return None


def _check_tool(words: tuple[str, ...], inline: bool) -> str | None:
    """tools/*.sh."""
    script = ROOT / words[0]
    if not script.is_file():
        return f"{words[0]} does not exist"
    if inline and len(words) == 1:
        return None
    if script.name == "new_corpus.sh":
        given = dict(itertools.pairwise(words)).get("--data_args", "").split()
        return _find_unknown_option(given, list_options("prepare_corpus")) or _parse_in_shell(
            script, "[[ ${lang} =~", words[1:]
        )
    if script.name == "gpu_check.sh":  # hands everything on
        return _check_script(("python", "tools/gpu_check.py", *words[1:]), ROOT, inline)
    # Those that take words and few options; what stands behind -- is for another program.
    own = words[1 : words.index("--")] if "--" in words else words[1:]
    return _find_unknown_option(own, re.findall(r"--\w+", script.read_text(encoding="utf-8")))


def find_problem(command: Command, folder: Path) -> str | None:
    """What is wrong with a command that is typed in a folder; None when its program would take it."""
    words, inline = command
    program = words[0]
    if program == "eval":
        inner = re.fullmatch(r"\$\((.*)\)", words[1])
        return find_problem(Command(tuple(shlex.split(inner[1])), inline), folder) if inner else "not $(...)"
    if program in SYSTEM:
        return None
    if program == ".":
        return None if words[1:] == (".venv/bin/activate",) else f"{words[1]} is not the environment"
    if program.removeprefix("./") == "run.sh":
        return _check_recipe(words, folder)
    if program.removeprefix("./") == "run_all.sh":
        words = tuple(word for word in words if word != "--full")  # taken out before the others are read
        problem = _parse_in_shell(ROOT / "run_all.sh", ". egs/common/parse_options.sh", words[1:])
        return problem or _find_missing_settings(words, ROOT)
    if program.removeprefix("./") == "run_tests.sh":
        return _check_tests(words)
    if program == "mkdocs":
        return _check_mkdocs(words)
    if program == "espnet-wsm":
        return _check_espnet_wsm(words, inline) or _find_missing_settings(words, folder)
    if program == "python" and words[1] == "-m":
        return _check_module(words, inline) or _find_missing_settings(words, folder)
    if program == "python":
        return _check_script(words, folder, inline) or _find_missing_settings(words, folder)
    if program.startswith("tools/"):
        return (
            _check_tool(words, inline)
            if program.endswith(".sh")
            else _check_script(("python", *words), ROOT, inline)
        )
    return f"no checker knows {program}"


def find_problems(script: Iterable[Command], folder: Path) -> list[str]:
    """The problems of a script that begins in a folder, each with its command."""
    problems = []
    made: dict[Path, Path] = {}  # folders that the script makes, and what stands for them
    for command in script:
        words = command.words
        if words[0] == "cd":
            target = Path(os.path.normpath(folder / words[1]))
            if target not in made and not target.is_dir():
                problems.append(f"{' '.join(words)}: {target} does not exist")
            folder = made.get(target, target)
            continue
        problem = find_problem(command, folder)
        if problem:
            problems.append(f"{' '.join(words)}: {problem}")
        if words[0] == "mkdir":
            made |= {folder / word: folder / word for word in words[1:] if not word.startswith("-")}
            made |= {parent: parent for path in list(made) for parent in path.parents}
        elif words[0] == "tools/new_corpus.sh" and not problem and words[1:]:
            made[ROOT / "egs" / words[1] / "asr1"] = TEMPLATE
    return problems


def find_missing_import(code: str) -> str | None:
    """What a snippet imports, or takes by its full name, of this package that is not there."""
    import ast

    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("espnet_wsm") and find_spec(alias.name) is None:
                    return alias.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("espnet_wsm"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    return f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "espnet_wsm":
            if (
                not hasattr(importlib.import_module("espnet_wsm"), node.attr)
                and find_spec(f"espnet_wsm.{node.attr}") is None
            ):
                return f"espnet_wsm.{node.attr}"
    return None
