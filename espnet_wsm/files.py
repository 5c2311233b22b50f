"""Files that are either complete or absent, their digests, what stands in for them, and YAML of users."""

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from espnet_wsm.errors import UserError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it to ``path``.

    The content reaches the disk before the name, so a power cut leaves either the old file or the new one.

    Raises:
        OSError: the file cannot be written; its ``filename`` is ``path``. If the disk is full, its ``errno``
            is ENOSPC whatever ``write`` raised.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if _is_disk_full(temporary.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _is_disk_full(folder: Path) -> bool:
    """Whether the disk of a folder has no room for a page, or no inode for another file."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < 4096 or (disk.f_files > 0 and disk.f_favail == 0)


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write ``lines`` atomically as UTF-8, each ending in a line feed."""
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def digest_file(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digest_text(text: str) -> str:
    """SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


# How files begin that stand where another one is meant: what they are, and the remedy.
_AGAIN = "download the file again, from its own address (on Hugging Face /resolve/ in place of /blob/)"
STAND_INS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"version https://git-lfs\.github\.com/spec/|version https://hawser\.github\.com/spec/"),
        " is a git-lfs pointer, not the file itself: run `git lfs pull` where it was cloned, or download it",
    ),
    (
        re.compile(rb"(\.\./)*(\.git)?/annex/objects/"),
        " is a git-annex pointer, not the file itself: run `git annex get` where it was cloned",
    ),
    (
        re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html\b|head\b)", re.I | re.S),
        f" is a web page: {_AGAIN}",
    ),
    (
        re.compile(
            rb"\s*<\?xml[^>]*>\s*<Error>|Entry not found\s*$|404: Not Found\s*$|Invalid username or p"
        ),
        f" is a server's message of an error: {_AGAIN}, logged in if it has to be",
    ),
)


def find_stand_in(path: Path | str) -> str | None:
    """What stands in place of a file (a git-lfs pointer, a web page) and the remedy; None for nothing."""
    try:
        with open(path, "rb") as file:
            start = file.read(1024).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return None
    return next((f"{path}{what}" for pattern, what in STAND_INS if pattern.match(start)), None)


def refuse_stand_in(path: Path | str) -> None:
    """Raise UserError if a git-lfs pointer, a web page or the like stands in place of a file."""
    if fault := find_stand_in(path):
        raise UserError(fault)


class _YamlLoader(yaml.SafeLoader):
    """PyYAML reads YAML 1.1, in which a number with an exponent needs a point and a sign: 1.0e-3."""


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),  # YAML 1.2.2, section 10.3.2
    list("-+.0123456789"),
)


def parse_yaml(content: Any) -> Any:
    """The content of YAML that users write, a text or an open file: 1e-3 is a number, as in YAML 1.2."""
    return yaml.load(content, Loader=_YamlLoader)


def read_yaml(path: Path) -> Any:
    """The content of a file, as by :func:`parse_yaml`; None for an empty one.

    Raises:
        UserError: the file cannot be read, or is not YAML.
    """
    refuse_stand_in(path)
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def read_written_yaml(path: Path | str) -> Any:
    """The content of a file that PyYAML wrote, such as ESPnet's ``config.yaml``.

    A list of thousands of tokens takes seconds to read in Python, and next to nothing in libyaml.
    """
    with open(path, "rb") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
