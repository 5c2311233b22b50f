"""tools/elan/install.sh: where it puts the recogniser, what it leaves alone, and how names are quoted."""

import shlex
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "tools/elan/install.sh"
PLACES = [
    "extensions",
    "lib/app/extensions",
    "app/extensions",
    "Contents/app/extensions",
    "Contents/Java/extensions",
]


@pytest.fixture
def install(environment, plain_shell, tmp_path, monkeypatch):
    """``install(*words)`` with a home folder in which there is nothing but ``exp``."""
    monkeypatch.setitem(environment, "HOME", str(tmp_path))
    monkeypatch.setitem(environment, "PYTHON", sys.executable)
    (tmp_path / "exp").mkdir()
    return lambda *words: plain_shell([INSTALL, *words], tmp_path)


@pytest.mark.parametrize("place", PLACES)
def test_the_extensions_folder_of_any_system_is_found(place, install, tmp_path):
    folder = tmp_path / "My ELAN 6.9" / place
    folder.mkdir(parents=True)
    more = [["--elan", "My ELAN 6.9"], ["--elan", folder]] if place == PLACES[1] else []
    for words in ([], *more):  # the first: it is in the home folder
        result = install("--model", "exp", *words)
        assert result.returncode == 0 and str(folder / "espnet_wsm") in result.stdout, result.stderr
        assert sorted(path.name for path in folder.iterdir()) == ["espnet_wsm"]
        result = install("--uninstall", *words)
        assert result.returncode == 0 and not list(folder.iterdir()), result.stderr


def test_names_and_paths_are_quoted_for_each_file(install, tmp_path):
    (tmp_path / "extensions").mkdir()
    (tmp_path / "it's a $model").mkdir()
    name = 'Shona <1> & "2" \\n @ID@'
    words = ["--elan", ".", "--name", name, "--model", "it's a $model", "--", "--upstream", "a b"]
    result = install(*words)
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "extensions").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["espnet_wsm.cmdi", "help.html", "run.sh"]
    recogniser = ElementTree.parse(folder / "espnet_wsm.cmdi").find(".//{*}recognizer")
    assert recogniser.attrib["info"] == name and recogniser.text == folder.name
    command = shlex.split((folder / "run.sh").read_text().splitlines()[-1])
    started = ["exec", sys.executable, "-m", "espnet_wsm.recognition.elan"]
    assert command == [*started, "--model", str(tmp_path / "it's a $model"), "--upstream", "a b"]
    assert install("--elan", ".", "--model", "exp").returncode == 0  # beside it
    assert len(list((tmp_path / "extensions").iterdir())) == 2
    assert install("--elan", ".", "--uninstall", "--name", name).returncode == 0
    assert [path.name for path in (tmp_path / "extensions").iterdir()] == ["espnet_wsm"]


def test_on_windows_it_is_a_batch_file(environment, install, tmp_path, monkeypatch):
    """With MSYS's uname and cygpath played by scripts: nothing of Windows is here to run the file."""
    (tmp_path / "extensions").mkdir()
    for program, body in (("uname", "echo MINGW64_NT-10.0"), ("cygpath", r'echo "C:${2//\//\\}"')):
        (tmp_path / program).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setitem(environment, "PATH", f"{tmp_path}:{environment['PATH']}")
    (tmp_path / "50% done").mkdir()
    result = install("--elan", ".", "--model", "50% done", "--", "--ngpu", "1")
    assert result.returncode == 0, result.stderr
    lines = (tmp_path / "extensions/espnet_wsm/run.bat").read_bytes().decode().split("\r\n")
    python, model = (f"C:{path}".replace("/", "\\") for path in (sys.executable, tmp_path / "50%% done"))
    program = f'"{python}" "-m" "espnet_wsm.recognition.elan" "--model" "{model}" "--ngpu" "1"'
    assert lines == ["@echo off", "chcp 65001 >nul", "set PYTHONIOENCODING=utf-8", program, ""]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "ELAN's extensions folder is in none of the usual places: name it with --elan: on Linux it is"),
        (["--elan", "exp"], "--elan exp holds no extensions folder of ELAN; name it with --elan"),
        (["--elan", "a"], "name the --model"),
        (["--elan", "a", "--model", "no"], "--model no does not exist"),
        (["--elan", "a", "--model", "exp", "--name", "?!"], "--name ?!: letters or digits have to be in it"),
        (
            ["--elan", "a", "--model", "exp", "--name", "others"],
            "is of another extension: choose another --name",
        ),
        (["--elan", "a", "--uninstall", "--name", "others"], "is of another extension"),
        (["--elan", "a", "--uninstall"], "espnet_wsm is not there: --name says"),
        (["--elan", "a", "--model", "exp", "--", "--langue", "sn"], "unrecognized arguments: --langue sn"),
        (["--force"], "unknown option --force"),
        (["--model"], "option --model needs a value"),
    ],
)
def test_what_cannot_be_installed_is_refused_and_nothing_is_changed(words, message, install, tmp_path):
    (tmp_path / "a/extensions/others").mkdir(parents=True)
    result = install(*words)
    assert result.returncode == 1 and message in result.stderr
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["extensions", "others"]


def test_several_places_are_named(install, tmp_path):
    for version in ("6.8", "6.9"):
        (tmp_path / f"ELAN_{version}/lib/app/extensions").mkdir(parents=True)
    result = install("--model", "exp")
    assert result.returncode == 1 and "there are several, choose one with --elan: " in result.stderr
    assert "ELAN_6.8/lib" in result.stderr and "ELAN_6.9/lib" in result.stderr


def test_the_help_is_the_comment(install):
    result = install("--help")
    assert result.returncode == 0 and result.stdout.startswith("Make a trained model a recogniser of ELAN")
    assert "Start ELAN anew afterwards." in result.stdout and "bash" not in result.stdout
