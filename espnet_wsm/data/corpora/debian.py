"""Corpora in Debian packages: found if already unpacked, else downloaded and unpacked without root."""

import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from espnet_wsm.data.corpora.trees import read_utf8
from espnet_wsm.errors import UserError


@dataclass(frozen=True)
class Package:
    """A Debian package. ``pattern`` matches the files that are needed, relative to where it is unpacked;
    ``size`` is the size of the download, in words."""

    name: str
    pattern: str
    size: str


def locate_package(package: Package, downloads: Path) -> Path:
    """The folder in which ``package`` is unpacked: ``downloads`` or one of its folders.

    A package that is in neither is downloaded to ``downloads/NAME``. Raises UserError if that fails.
    """
    found = find_package(package, downloads)
    if not found:
        fetch_package(package, downloads)
        found = find_package(package, downloads)
    if not found:
        raise UserError(
            f"{downloads / package.name}: this version of the package holds no {package.pattern}; "
            "unpack an older one there"
        )
    return found


def find_package(package: Package, downloads: Path) -> Path | None:
    """``downloads``, or the first of its folders, in which ``package.pattern`` matches; None if none does."""
    roots = [downloads, *sorted(path for path in downloads.glob("*/") if path.is_dir())]
    return next((root for root in roots if any(root.glob(package.pattern))), None)


def fetch_package(package: Package, downloads: Path) -> None:
    """Download ``package`` and unpack it in ``downloads/NAME``, which appears only when it is complete."""
    target = downloads / package.name
    if target.exists():
        raise UserError(f"{target}: holds no {package.pattern}; remove it to download {package.name} again")
    print(f"downloading {package.name} ({package.size}) to {target}", flush=True)
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{package.name}-partial-", dir=downloads) as scratch:
            run = partial(subprocess.run, cwd=scratch, check=True, stderr=subprocess.PIPE, text=True)
            run(["apt-get", "download", package.name])
            for archive in sorted(Path(scratch).glob("*.deb")):
                run(["dpkg-deb", "-x", archive.name, "tree"])
            (Path(scratch) / "tree").rename(target)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = (getattr(error, "stderr", None) or str(error)).strip().split("\n")[-1]
        raise UserError(
            f"cannot fetch {package.name} ({detail}); run `apt-get update` first, or fetch this Debian "
            "package elsewhere, unpack it with `dpkg-deb -x PACKAGE.deb DIR` and give --downloads DIR"
        ) from error


def read_text(path: Path, package: str) -> str:
    """The content of a text file in a package, without a byte order mark."""
    try:
        return read_utf8(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no file of UTF-8 text ({error}); unpack {package} again") from error
