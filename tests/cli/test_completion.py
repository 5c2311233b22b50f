"""Completion, in a real bash."""

import argparse
import importlib
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet_wsm.cli.commands import list_commands
from espnet_wsm.cli.completion import format_completion, list_options

# Their options are mostly those of ESPnet, which makes some up as it goes.
OF_ESPNET = {"hubert_train", "asr_train", "asr_inference"}


def complete(*words: str) -> list[str]:
    """What bash is told when TAB is pressed behind the last of the words; no program is on PATH."""
    script = (
        'eval "$1"; shift; PATH=; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _espnet_wsm; '
        'echo "${COMPREPLY[*]}"'
    )
    command = ["bash", "-eu", "-c", script, "bash", format_completion(), "espnet-wsm", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return sorted(result.stdout.split())


def test_the_first_word_is_a_command():
    assert complete("") == sorted([*list_commands(), "completion"])
    assert complete("asr_i") == ["asr_inference", "asr_inference_greedy", "asr_inference_lm"]
    assert complete("-") == ["--help", "--version"]
    assert complete("zzz") == []


def test_words_with_a_dash_are_options_of_the_command():
    assert complete("transcribe", "--model") == ["--model", "--model_file"]
    assert complete("compare_systems", "--ref", "a", "--hyp_") == ["--hyp_a", "--hyp_b"]
    assert complete("validate_data_dir", "--text") == ["--text_config"]
    assert "--config" in complete("asr_train", "--co")
    assert complete("no_such_command", "--") == []


def test_completion_is_for_bash():
    assert complete("completion", "") == ["bash"]


def test_other_words_are_left_to_bash_which_completes_files():
    assert complete("transcribe", "") == []


@pytest.mark.parametrize("command", list_commands())
def test_the_options_are_those_of_the_command(command, monkeypatch):
    class Parsing(Exception):
        pass

    def stop(parser, *_, **__):
        raise Parsing(parser)

    main = importlib.import_module(f"espnet_wsm.bin.{command}").main
    monkeypatch.setattr(sys, "argv", [command])
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
    with pytest.raises(Parsing) as caught:
        main()
    (parser,) = caught.value.args
    real = {
        option for action in parser._actions for option in action.option_strings if option.startswith("--")
    }
    completed = set(list_options(command))
    assert completed <= real
    if command not in OF_ESPNET:
        assert completed == real
    else:
        assert len(completed) > len(real) / 2


class Terminal:
    """An interactive bash on a pseudo-terminal."""

    def __init__(self, folder: Path):
        self.process, self.stream = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            environment = {"PATH": os.environ["PATH"], "PS1": "> ", "TERM": "dumb", "INPUTRC": "/dev/null"}
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)

    def type(self, keys: str) -> None:
        os.write(self.stream, keys.encode())

    def read_until(self, end: str, seconds: float = 20) -> str:
        seen, limit = "", time.monotonic() + seconds
        while end not in seen and (rest := limit - time.monotonic()) > 0:
            if select.select([self.stream], [], [], rest)[0]:
                seen += os.read(self.stream, 4096).decode()
        return seen

    def close(self) -> None:
        self.type("\x03\nexit\n")
        os.waitpid(self.process, 0)
        os.close(self.stream)


@pytest.fixture
def terminal(tmp_path):
    (tmp_path / "interview.wav").touch()
    (tmp_path / "completion").write_text(format_completion(), encoding="utf-8")
    terminal = Terminal(tmp_path)
    terminal.type(". ./completion && espnet-wsm() { echo \"<$*>\"; }; echo rea'dy'\n")
    assert "ready" in terminal.read_until("ready\r\n")
    yield terminal
    terminal.close()


def test_tab_completes_command_option_and_file(terminal):
    terminal.type("espnet-wsm transc\t--chunk\t30 interv\t\n")
    line = "<transcribe --chunk_seconds 30 interview.wav>"
    assert line in terminal.read_until(line)


def test_tab_offers_no_files_in_place_of_a_command(terminal):
    terminal.type("espnet-wsm interv\tx\n")
    assert "<intervx>" in terminal.read_until("<intervx>")
