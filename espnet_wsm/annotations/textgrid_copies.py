"""Write a copy of a TextGrid with tiers more; all else stays as it is, byte for byte.

The new tiers stand behind the old ones, in the form (long or short), the encoding and with the line breaks of
the file. The one thing changed is the number of tiers.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.annotations.model import Tier
from espnet_wsm.annotations.text_files import BYTE_ORDER_MARKS, at, decode, read_bytes, write_new
from espnet_wsm.annotations.textgrid import Grid, Tokens, list_layers, make_grids, read, show_grids
from espnet_wsm.errors import UserError

_COUNT = re.compile(r"(?P<digits>\d+)(?P<long>\s+item\s*\[\s*\]\s*:)?")


def add_tiers(
    source: Path, out: Path, tiers: Sequence[Tier], *, encoding: str | None = None, overwrite: bool = False
) -> None:
    """Copy the TextGrid ``source`` to ``out`` with ``tiers`` behind its own; ``source`` is only read.

    Words and characters become tiers of their own, confidences are left out. Times are seconds.

    Args:
        encoding: of ``source``, if it is neither UTF-8 nor has a byte order mark.

    Raises:
        UserError: ``source`` cannot be read, does not begin at 0 s, or ends before a tier does; a name is
            there already; segments of a tier overlap; ``encoding`` cannot hold a text; ``out`` is the same
            file, or is there and ``overwrite`` is false.
    """
    if out.exists() and out.samefile(source):
        raise UserError(f"{out} is the file that is copied, which stays as it is: name another one")
    names = [name for name, _ in list_layers(read(source, encoding=encoding).tiers)]
    data = read_bytes(source)
    text = decode(source, data, encoding)
    mark, marked = next((pair for pair in BYTE_ORDER_MARKS if data.startswith(pair[0])), (b"", None))
    with at(source, "which is to be copied"):
        new = _insert(Tokens(source, text), text, tiers, names)
    written = marked or encoding or "utf-8"
    try:
        content = new.encode(written)
    except UnicodeEncodeError as error:
        raise UserError(
            f"{source} is in {written}, which cannot hold {new[error.start]!r}: save it in Praat as UTF-8"
        ) from None
    if mark + text.encode(written) != data:
        raise UserError(
            f"{source} would not stay as it is in {written}, which has several ways to write a character: "
            "save it in Praat as UTF-8"
        )
    write_new(out, mark + content, overwrite)


def _insert(tokens: Tokens, text: str, tiers: Sequence[Tier], names: Sequence[str]) -> str:
    """The text with the tiers, which has tiers of the given ``names``."""
    tokens.take_text("the kind of file"), tokens.take_text("the class of object")
    if start := tokens.take_number("the start"):
        raise UserError(
            f"its times begin at {start:g} s, and not with the audio: extract it in Praat with times from 0"
        )
    end = tokens.take_raw_number("the end")
    if not tokens.take_flag():
        raise UserError("it has no tiers: add one in Praat")
    count = tokens.take_count("tiers")
    number = _COUNT.match(text, tokens.place)
    assert number is not None
    grids = [_end_at(grid, end) for grid in make_grids(tiers, float(end), names)]
    if late := next((tier for tier in tiers for one in tier.segments[-1:] if one.end > float(end)), None):
        raise UserError(f"tier {late.name} ends after the file does, at {end} s: leave that out")
    newline = next((one for one in ("\r\n", "\n", "\r") if one in text), "\n")
    lines = [line + newline for line in show_grids(grids, end, not number["long"], count + 1)]
    rest = text[number.end("digits") :]
    between = "" if rest.endswith(newline) else newline
    return f"{text[: tokens.place]}{count + len(grids)}{rest}{between}{''.join(lines)}"


def _end_at(grid: Grid, end: str) -> Grid:
    """The tier with its last interval to the end of the file as that is written, digit for digit."""
    if grid.is_points:
        return grid
    *before, (start, _, text) = grid.entries
    return Grid(grid.name, [*before, (start, end, text)])
