"""Kaldi texts on disk, and scripts in the place of sclite."""

from collections.abc import Callable
from pathlib import Path

import pytest


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
