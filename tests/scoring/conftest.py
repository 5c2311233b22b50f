"""Kaldi texts on disk, and the skip of tests that need sclite."""

from collections.abc import Callable
from pathlib import Path

import pytest

from espnet_wsm.scoring.sclite import NOT_FOUND, find_sclite


@pytest.fixture(autouse=True)
def skip_without_sclite(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("sclite") and find_sclite() is None:
        pytest.skip(NOT_FOUND)


@pytest.fixture
def write_texts(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes reference and hypothesis, each a list of lines; returns their paths."""

    def write(reference: list[str], hypothesis: list[str]) -> tuple[Path, Path]:
        paths = tmp_path / "ref_text", tmp_path / "hyp_text"
        for path, lines in zip(paths, (reference, hypothesis), strict=True):
            path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))
        return paths

    return write


@pytest.fixture
def fake_sclite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in the place of sclite; the version is answered for it."""

    def install(body: str) -> None:
        script = tmp_path / "bin" / "sclite"
        script.parent.mkdir()
        version = "if [ $# = 0 ]; then echo 'sclite Version: 9, SCTK Version: 8' >&2; exit 1; fi"
        script.write_text(f"#!/bin/sh\n{version}\n{body}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")

    return install
