"""What espnet-wsm lists, runs and refuses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_wsm.cli.commands import describe, format_commands, list_commands
from espnet_wsm.cli.table import GROUPS

ROOT = Path(__file__).parents[2]
MODULES = {file.stem for file in (ROOT / "espnet_wsm/bin").glob("*.py")} - {"__init__"}
SCRIPTS = [
    *(ROOT / "egs").rglob("*.sh"),
    *(ROOT / "egs").rglob("local/data.py"),
    *(ROOT / "conf/cluster").glob("*.sh"),
    ROOT / "run_all.sh",
    ROOT / "tools/benchmark.py",
]


def espnet_wsm(*words: str, program: tuple[str, ...] = ("-m", "espnet_wsm")) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_command_is_listed():
    assert sorted(list_commands()) == sorted(MODULES)


def test_commands_of_stages_are_called_by_scripts():
    text = "\n".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
    called = set(re.findall(r"espnet_wsm\.stages\.([a-z_]+)", text))
    stages = {file.stem for file in (ROOT / "espnet_wsm/stages").glob("*.py")} - {"__init__"}
    assert stages == called


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_without_a_command_the_commands_are_listed_in_groups(words):
    result = espnet_wsm(*words)
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout == format_commands() + "\n"
    assert re.findall(r"^([A-Z][\w ]+):$", result.stdout, re.MULTILINE) == list(GROUPS)
    for command in list_commands():
        assert re.search(rf"^  {command} +{re.escape(describe(command))}$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", list_commands())
def test_a_description_is_one_whole_sentence_on_a_line_of_a_terminal(command):
    source = (ROOT / f"espnet_wsm/bin/{command}.py").read_text(encoding="utf-8")
    first = source.removeprefix('"""').partition("\n")[0].removesuffix('"""')
    assert first == describe(command) + "."
    assert len(first) <= 80 and "``" not in first


def test_listing_and_completing_import_nothing_heavy():
    """Not even numpy, and no command."""
    result = espnet_wsm(
        program=(
            "-c",
            "import sys; from espnet_wsm.__main__ import main\n"
            "for words in (['--help'], ['completion', 'bash']):\n"
            "    sys.argv = ['espnet-wsm', *words]; main()\n"
            "print('heavy:', sorted({'numpy', 'torch', 'espnet2', 'espnet_wsm.bin'} & set(sys.modules)))",
        )
    )
    assert result.stdout.endswith("\nheavy: []\n"), result.stderr


@pytest.mark.parametrize("words", [(), ("--ref", "a"), ("--no_such_option",)])
def test_a_command_ends_as_its_module_does(words):
    ours, module = espnet_wsm("score", *words), espnet_wsm(*words, program=("-m", "espnet_wsm.bin.score"))
    assert ours.returncode == module.returncode == 2
    messages = [re.findall("error: .*", result.stderr) for result in (ours, module)]
    assert messages[0] == messages[1] != []


def test_a_user_error_of_a_command_is_reported_with_its_status(tmp_path):
    result = espnet_wsm("validate_data_dir", str(tmp_path / "none"))
    assert result.returncode == 1 and result.stderr.startswith("error: ")


def test_help_of_a_command_shows_what_to_type():
    result = espnet_wsm("transcribe", "--help")
    assert result.returncode == 0 and result.stdout.startswith(
        "usage: espnet-wsm transcribe [-h] --model MODEL"
    )


def test_a_command_gets_its_arguments_as_they_are(tmp_path):
    folder = tmp_path / "data of 'a  b'"
    result = espnet_wsm("validate_data_dir", str(folder))
    assert result.returncode == 1 and str(folder) in result.stderr


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("transcrib", "transcribe"),
        ("list-upstreams", "list_upstreams"),
        ("run_experiment", "run_experiments"),
        ("--versions", "--version"),
    ],
)
def test_an_unknown_command_is_refused_with_the_nearest_names(word, near):
    result = espnet_wsm(word)
    assert result.returncode == 2 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: there is no command '{word}'; did you mean {near}")


def test_an_unknown_command_like_no_other_is_refused():
    result = espnet_wsm("zzz")
    assert result.returncode == 2
    assert result.stderr == "error: there is no command 'zzz' (espnet-wsm --help lists them all)\n"


def test_the_console_script_is_this_program():
    entry = re.search(r'"espnet-wsm=([\w.]+):(\w+)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    result = espnet_wsm(program=("-c", f"from {entry[1]} import {entry[2]}; {entry[2]}()"))
    assert result.stdout == format_commands() + "\n"
