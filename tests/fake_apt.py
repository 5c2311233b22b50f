"""apt-get and dpkg-deb without a network: they hand out what a test has put on offer."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest


class FakeApt:
    """``offer`` a package by a function that fills the folder it unpacks to; ``fetched`` lists the downloads.

    ``errors`` are raised instead by the program of that name.
    """

    def __init__(self) -> None:
        self.packages: dict[str, Callable[[Path], object]] = {}
        self.errors: dict[str, BaseException] = {}
        self.fetched: list[str] = []

    def offer(self, name: str, fill: Callable[[Path], object]) -> None:
        self.packages[name] = fill

    def run(self, command: list[str], cwd: str, **_) -> None:
        if command[0] in self.errors:
            raise self.errors[command[0]]
        match command:
            case ["apt-get", "download", name] if name in self.packages:
                self.fetched.append(name)
                (Path(cwd) / f"{name}_1.0_all.deb").touch()
            case ["apt-get", "download", name]:
                error = f"W: some warning\nE: Unable to locate package {name}\n"
                raise subprocess.CalledProcessError(100, command, stderr=error)
            case ["dpkg-deb", "-x", archive, folder]:
                tree = Path(cwd) / folder
                tree.mkdir()
                self.packages[archive.removesuffix("_1.0_all.deb")](tree)
            case _:
                pytest.fail(f"started {command}")


def install_fake_apt(monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    """Let espnet_wsm.data.corpora.debian, and nothing else, run the programs of a new FakeApt."""
    fake = FakeApt()
    errors = {"CalledProcessError": subprocess.CalledProcessError, "PIPE": subprocess.PIPE}
    monkeypatch.setattr("espnet_wsm.data.corpora.debian.subprocess", SimpleNamespace(run=fake.run, **errors))
    return fake
