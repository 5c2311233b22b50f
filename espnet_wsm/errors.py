"""The exception for errors that the user can correct, and how commands report it and system errors."""

import errno
import functools
import importlib.util
import io
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path


class UserError(ValueError):
    """An error that the user can correct: the message names the file and the id, and says what to do."""


REMEDIES = {
    errno.ENOSPC: "make room on that disk, or choose a folder on another",
    errno.EDQUOT: "make room within your quota, or choose a folder elsewhere",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "check the permissions of the file and its folders",
    errno.EPERM: "check the permissions of the file and its folders",
    errno.EIO: "the disk or its connection is failing",
    errno.ENOTDIR: "there is a file where a folder has to be: choose another path",
    errno.EEXIST: "move the existing file or folder away, or choose another path",
    errno.EISDIR: "there is a folder where a file has to be: choose another path",
}


# Packages that other toolkits' checkouts bring too, and the distributions that setup.py names.
SHARED_PACKAGES = {"espnet2": "espnet", "s3prl": "espnet-s3prl"}


def find_foreign_package() -> str | None:
    """Which package is found elsewhere than in this environment (on PYTHONPATH), with the remedy; or None."""
    for package, distribution in SHARED_PACKAGES.items():
        try:
            installed = Path(str(metadata.distribution(distribution).locate_file(package)))
        except metadata.PackageNotFoundError:
            continue
        spec = importlib.util.find_spec(package)
        found = None if spec is None or spec.origin is None else Path(spec.origin).parent
        # Without that folder it is installed in place, and may be anywhere.
        if found is not None and installed.is_dir() and not installed.samefile(found):
            return (
                f"{found} stands before the {package} of this environment, {installed}: take its folder out "
                "of PYTHONPATH, or work in another one"
            )
    return None


def require_packages(command: str, packages: Iterable[str], extra: str) -> None:
    """Raise UserError if a package is missing that an extra of the distribution brings."""
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise UserError(f'{command} needs more packages: pip install "espnet_wsm[{extra}]"')


def write_utf8() -> None:
    """Make standard output and the messages UTF-8, whatever the terminal or PYTHONIOENCODING says.

    Transcripts are in any script, and are written to files and pipes by redirection.
    """
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        # Others are of programs that call a command as a function.
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(encoding="utf-8", errors=errors)


def report_user_errors(main: Callable[..., None]) -> Callable[..., None]:
    """Make ``main`` end with ``error: <sentence>`` and exit status 1 instead of a traceback.

    This applies to :class:`UserError`, to system errors about a path (disk full, read-only, permission
    denied, a file in place of a folder), and to what fails because another ESPnet stands before ours. What
    ``main`` prints is UTF-8.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        write_utf8()
        try:
            main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except (ImportError, AttributeError) as error:
            if (fault := find_foreign_package()) is None:
                raise
            print(f"error: {fault} ({error})", file=sys.stderr)
            sys.exit(1)
        except OSError as error:
            if error.errno not in REMEDIES:
                raise
            place = "" if error.filename is None else f"{error.filename}: "
            print(f"error: {place}{error.strerror}: {REMEDIES[error.errno]}", file=sys.stderr)
            sys.exit(1)

    return wrapped
