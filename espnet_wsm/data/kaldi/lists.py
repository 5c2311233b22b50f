"""Kaldi lists (``id value`` per line): reading names every fault, writing is atomic."""

import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.errors import UserError
from espnet_wsm.files import find_stand_in, write_text

SHOWN = 10  # the most faults, or ids of one fault, that a message lists before it only counts
UNFIT_FOR_IDS = re.compile(r"[\s\x00-\x1f\x7f\ud800-\udfff]")


def raise_collected(problems: list[str], where: Path | str, shown: int = SHOWN) -> None:
    """Raise one UserError that shows the first ``shown`` problems and counts the rest, if there are any."""
    if not problems:
        return
    if len(problems) == 1:
        raise UserError(problems[0])
    lines = [f"{where}: {len(problems)} problems", *(f"  {problem}" for problem in problems[:shown])]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    raise UserError("\n".join(lines))


def name_some(ids: Iterable[str]) -> str:
    """``a, b, c`` for up to ten ids, ``a, b, ... (12 in all)`` for more."""
    ids = list(ids)
    return ", ".join(ids[:SHOWN]) + (f", ... ({len(ids)} in all)" if len(ids) > SHOWN else "")


def count(number: int, noun: str) -> str:
    """``1 utterance``, ``2 utterances``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def tell_ids(remedy: str, *sets: tuple[Collection[str], str]) -> list[str]:
    """``3 ids WHAT: a, b, c: REMEDY`` for each set of ids and what is wrong with them, unless it is empty."""
    return [
        f"{count(len(ids), 'id')} {what}: {name_some(sorted(ids, key=byte_order))}: {remedy}"
        for ids, what in sets
        if ids
    ]


def byte_order(text: str) -> bytes:
    """Sort key of ``LC_ALL=C sort``: the bytes of the UTF-8 form."""
    return text.encode("utf-8")


def find_id_fault(name: str) -> str | None:
    """Why ``name`` cannot be used as an id or speaker in a Kaldi list, None if it can.

    The reasons are white space of any kind (ESPnet splits lines at Unicode spaces too), control characters,
    which ``sort`` would order before the space that ends the id, and lone surrogates, which have no UTF-8
    form.
    """
    if not name:
        return "is empty"
    if match := UNFIT_FOR_IDS.search(name):
        code = ord(match[0])
        what = "cannot be written as UTF-8" if code >= 0xD800 else "holds white space or a control character"
        return f"{what} (U+{code:04X})"
    return None


def make_ids[Key: Hashable](names: Mapping[Key, str]) -> dict[Key, str]:
    """An id for each key, made from its name; two keys never get the same id.

    Letters, combining marks (the vowels of Devanagari or Thai), digits and ``_.=+@-`` stay; runs of anything
    else become ``_``. Where this makes two names equal, the one that did not change keeps the id, else the
    first; the others get ``-2``, ``-3`` and so on.
    """
    cleaned = {key: _clean_id(name) for key, name in names.items()}
    wanted, taken = set(cleaned.values()), set()
    numbers: dict[str, int] = {}
    ids = {}
    for key in sorted(names, key=lambda key: cleaned[key] != names[key]):
        id = stem = cleaned[key]
        while id in taken or (id != stem and id in wanted):
            numbers[stem] = numbers.get(stem, 1) + 1
            id = f"{stem}-{numbers[stem]}"
        taken.add(id)
        ids[key] = id
    return ids


def _clean_id(name: str) -> str:
    kept = (
        char if char.isalnum() or char in "_.=+@-" or unicodedata.category(char)[0] == "M" else " "
        for char in name
    )
    return re.sub(" +", "_", "".join(kept))


@dataclass(frozen=True)
class Entry:
    """One line of a list: the text after the id, and the line number, counted from 1."""

    value: str
    line: int


def _decode_lines(path: Path, data: bytes, problems: list[str], strict: bool) -> list[str]:
    """Every line, also those whose faulty bytes are appended to ``problems``, without carriage returns."""
    if strict and data.startswith(b"\xef\xbb\xbf"):
        problems.append(
            f"{path}:1: begins with a byte order mark: remove it with `sed -i '1s/^\\xef\\xbb\\xbf//' {path}`"
        )
        data = b"   " + data[3:]  # keeps the byte offsets; these spaces are stripped below
    lines, offset, returns = [], 0, []
    for number, raw in enumerate(data.removesuffix(b"\n").split(b"\n") if data else [], start=1):
        if b"\r" in raw:
            returns.append((number, raw.endswith(b"\r")))
        lines.append(raw.replace(b"\r", b" ").decode("utf-8", errors="replace"))
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            problems.append(
                f"{path}:{number}: not UTF-8 at byte {offset + error.start} of the file "
                f"(0x{raw[error.start]:02x}): convert it, e.g. `iconv -f ISO-8859-1 -t UTF-8`"
            )
        offset += len(raw) + 1
    if strict and returns:
        number, at_end = returns[0]
        what = "ends with CRLF" if at_end else "holds a carriage return"
        remedy = f"run `dos2unix {path}`" if at_end else "replace it by a space"
        problems.append(f"{path}:{number}: {what} ({count(len(returns), 'such line')}): {remedy}")
    return lines


def parse_list(path: Path, data: bytes, problems: list[str], strict: bool = True) -> dict[str, Entry]:
    """The entries of the list ``path`` with the content ``data``, see :func:`read_list`.

    Without ``strict``, it is a list as other programs write it: in any order, with carriage returns, with ids
    of any characters, or without a line.
    """
    entries: dict[str, Entry] = {}
    previous, sorted_so_far = None, True
    for number, line in enumerate(_decode_lines(path, data, problems, strict), start=1):
        stripped = line.strip(" \t")
        if not stripped:
            problems.append(f"{path}:{number}: empty line: remove it")
            continue
        key, value = re.fullmatch(r"([^ \t]+)(.*)", stripped, re.DOTALL).groups()
        if strict and (fault := find_id_fault(key)):
            problems.append(f"{path}:{number}: id {key!r} {fault}: rename it")
        if key in entries:
            problems.append(
                f"{path}:{number}: id {key} was given before, on line {entries[key].line}: keep one"
            )
            continue
        if strict and sorted_so_far and previous is not None and byte_order(key) < byte_order(previous):
            sorted_so_far = False
            problems.append(
                f"{path}:{number}: id {key} comes after {previous}, so the file is not sorted: "
                f"run `LC_ALL=C sort -o {path} {path}`"
            )
        entries[key] = Entry(value.strip(" \t"), number)
        previous = key
    return entries


def read_list(path: Path, problems: list[str], may_be_empty: bool = False) -> dict[str, Entry]:
    """Read ``id value`` lines; the id ends at the first ASCII space or tab, the value keeps all other spaces.

    Every fault (encoding, line ends, empty lines, duplicate ids, ids out of byte order) is appended to
    ``problems`` as ``file:line: ...`` with its remedy; the lines that can be read are still returned.
    With ``may_be_empty``, an empty file is an empty list.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        problems.append(f"{path} does not exist")
        return {}
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
        return {}
    if fault := find_stand_in(path):
        problems.append(fault)
        return {}
    if data.strip() or (may_be_empty and not data):
        return parse_list(path, data, problems)
    problems.append(f"{path} is empty: it needs one line per utterance")
    return {}


def write_list(path: Path, values: Mapping[str, object]) -> None:
    """Write ``id value`` lines atomically, sorted as by ``LC_ALL=C sort``."""
    write_text(path, (f"{key} {values[key]}" for key in sorted(values, key=byte_order)))


def replace_directory(directory: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write a temporary folder, then swap it with ``directory``; a failure leaves the old one.

    Between the two renames ``directory`` is missing for an instant; it is never half-written.
    """
    directory = directory.resolve()
    directory.parent.mkdir(parents=True, exist_ok=True)
    new = directory.with_name(f".{directory.name}.{os.getpid()}.new")
    old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
    try:
        new.mkdir()
        fill(new)
        if directory.exists():
            os.rename(directory, old)
        try:
            os.rename(new, directory)
        except OSError:
            if old.exists():
                os.rename(old, directory)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
