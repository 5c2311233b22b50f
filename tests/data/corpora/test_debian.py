"""Debian packages are found where they are, or fetched whole; no network."""

import subprocess
from pathlib import Path

import pytest
from fake_apt import FakeApt, install_fake_apt

from espnet_wsm.data.corpora.debian import Package, find_package, locate_package
from espnet_wsm.errors import UserError

BELLS = Package("bells", "usr/share/bells/*/*.wav", "3 MB")


@pytest.fixture
def apt(monkeypatch) -> FakeApt:
    return install_fake_apt(monkeypatch)


def unpack_bells(root: Path) -> Path:
    path = root / "usr/share/bells/big/ben.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    return root


@pytest.mark.parametrize("below", ["", "bells", "anything"])
def test_an_unpacked_package_is_found(tmp_path, apt, below):
    root = unpack_bells(tmp_path / below)
    assert locate_package(BELLS, tmp_path) == root
    assert not apt.fetched


def test_the_folder_itself_comes_before_those_in_it(tmp_path):
    unpack_bells(tmp_path / "a")
    assert find_package(BELLS, tmp_path) == tmp_path / "a"
    unpack_bells(tmp_path)
    assert find_package(BELLS, tmp_path) == tmp_path


@pytest.mark.parametrize("folder", ["absent", "empty", "file"])
def test_what_is_not_there_is_not_found(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert find_package(BELLS, tmp_path / folder) is None


def test_a_missing_package_is_fetched_once(tmp_path, apt, capsys):
    apt.offer("bells", unpack_bells)
    downloads = tmp_path / "new" / "downloads"
    for _ in range(2):
        assert locate_package(BELLS, downloads) == downloads / "bells"
    assert apt.fetched == ["bells"]
    assert [path.name for path in downloads.iterdir()] == ["bells"]
    assert capsys.readouterr().out == f"downloading bells (3 MB) to {downloads / 'bells'}\n"


@pytest.mark.parametrize("program", ["apt-get", "dpkg-deb"])
def test_an_interrupted_fetch_leaves_nothing_and_is_done_again(tmp_path, apt, program):
    apt.offer("bells", unpack_bells)
    apt.errors[program] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        locate_package(BELLS, tmp_path)
    assert not list(tmp_path.iterdir())
    unpack_bells(tmp_path / ".bells-partial-x" / "tree")  # left by a killed run
    del apt.errors[program]
    assert locate_package(BELLS, tmp_path) == tmp_path / "bells"


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "apt-get"),
            "No such file or directory: 'apt-get'",
        ),
        (subprocess.CalledProcessError(100, ["apt-get"], stderr="W: x\nE: no such package\n"), "E: no such"),
        (subprocess.CalledProcessError(100, ["apt-get"], stderr=""), "exit status 100"),
    ],
)
def test_a_failed_fetch_says_what_to_do(tmp_path, apt, error, detail):
    apt.errors["apt-get"] = error
    with pytest.raises(UserError) as caught:
        locate_package(BELLS, tmp_path / "downloads")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("cannot fetch bells", detail, "apt-get update", "dpkg-deb -x", "--downloads DIR"):
        assert part in message


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, apt):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot fetch bells \(.*file.*--downloads DIR"):
        locate_package(BELLS, tmp_path / "file" / "downloads")


def test_a_strange_folder_in_the_way_is_named(tmp_path, apt):
    (tmp_path / "bells").mkdir()
    with pytest.raises(UserError, match=r"bells: holds no usr/share/bells/\*/\*.wav; remove it"):
        locate_package(BELLS, tmp_path)
    assert not apt.fetched


def test_a_package_that_has_changed_is_reported(tmp_path, apt):
    apt.offer("bells", lambda tree: (tree / "usr").mkdir())
    with pytest.raises(UserError, match="this version of the package holds no usr/share/bells"):
        locate_package(BELLS, tmp_path)
