"""Text files of annotations: decoded whatever program wrote them, written whole or not at all."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in, write_atomically

# UTF-32 is not among them: its mark begins like UTF-16's, and no program writes annotations in it.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@contextmanager
def at(path: Path, place: str) -> Iterator[None]:
    """Put the file and a place in it (``line 7``) before the sentence of a UserError."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}, {place}: {error}") from None


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        UserError: it cannot be read, or a git-lfs pointer or a web page stands in its place.
    """
    refuse_stand_in(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: check the path") from error


def decode(path: Path, data: bytes, encoding: str | None = None) -> str:
    """Text of bytes: a byte order mark says what it is, then ``encoding``, else it is UTF-8.

    Raises:
        UserError: the bytes are something else; Python does not know the encoding.
    """
    for mark, marked in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            data, encoding = data.removeprefix(mark), marked
            break
    try:
        return data.decode(encoding or "utf-8")
    except LookupError:
        raise UserError(
            f"{path}: there is no encoding {encoding}: try utf-8, utf-16, cp1252 or latin-1"
        ) from None
    except UnicodeError as error:
        line = data[: getattr(error, "start", 0)].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: is not {encoding or 'utf-8'}: save it as UTF-8, or name the encoding "
            "that it is in (cp1252, latin-1, mac_roman, utf-16, ...)"
        ) from None


def read_text(path: Path, encoding: str | None = None) -> str:
    """The text of a file as :func:`decode` has it, its lines ending in line feeds alone."""
    return re.sub("\r\n?", "\n", decode(path, read_bytes(path), encoding))


def read_lines(path: Path, encoding: str | None = None) -> list[tuple[int, str]]:
    """The lines of a file with their numbers from 1; only line feeds and carriage returns end them."""
    return list(enumerate(read_text(path, encoding).removesuffix("\n").split("\n"), start=1))


def write_new(path: Path, content: str | bytes, overwrite: bool = False) -> None:
    """Write a file atomically, text as UTF-8.

    Raises:
        UserError: it is there already and ``overwrite`` is false.
        OSError: it cannot be written.
    """
    if not overwrite and path.exists():
        raise UserError(f"{path} is there already: name another file, or ask for overwriting")
    data = content.encode("utf-8") if isinstance(content, str) else content
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def join_lines(text: str, separator: str = " ") -> str:
    """A text on one line, for formats that end an entry with the line; tabs too become ``separator``."""
    return re.sub(r"[\t\n]+", separator, text)
