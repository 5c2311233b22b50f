r"""A table for spreadsheets and scripts: one row a segment, columns parted by tabs, names in the first row.

There are no quotes. A backslash, a tab and a line feed in a value are written ``\\``, ``\t`` and ``\n``.
"""

import re
from pathlib import Path

from espnet_wsm.annotations.clock import parse_confidence, parse_number, show_confidence, show_seconds
from espnet_wsm.annotations.model import Recording, Segment, Tier, sort_spans
from espnet_wsm.annotations.text_files import at, read_lines, write_new
from espnet_wsm.errors import UserError

COLUMNS = ("tier", "kind", "speaker", "start", "end", "confidence", "text")
_NEEDED = ("start", "end", "text")
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n"}
_PLAIN = {escaped: char for char, escaped in _ESCAPES.items()}


def _escape(value: str) -> str:
    return re.sub(r"[\\\t\n]", lambda found: _ESCAPES[found[0]], value)


def _unescape(value: str) -> str:
    def replace(found: re.Match[str]) -> str:
        if found[0] not in _PLAIN:
            raise UserError(f"{found[0]!r} stands for nothing: write a backslash as \\\\, a tab as \\t")
        return _PLAIN[found[0]]

    return re.sub(r"\\.?", replace, value)


def format_tsv(recording: Recording) -> str:
    """The table; times in seconds with three decimals, unknown speakers and confidences empty."""
    rows = ["\t".join(COLUMNS)]
    for tier in recording.tiers:
        for segment in tier.segments:
            confidence = "" if segment.confidence is None else show_confidence(segment.confidence)
            cells = (
                tier.name, tier.kind, tier.speaker_of(segment) or "", show_seconds(segment.start),
                show_seconds(segment.end), confidence, segment.text,
            )  # fmt: skip
            rows.append("\t".join(map(_escape, cells)))
    return "".join(f"{row}\n" for row in rows)


def write(recording: Recording, path: Path, *, overwrite: bool = False) -> None:
    """Write :func:`format_tsv` as UTF-8, as `text_files.write_new` does."""
    write_new(path, format_tsv(recording), overwrite)


def read(path: Path, *, encoding: str | None = None) -> Recording:
    """Read a table. Columns may be in any order; ``start``, ``end`` and ``text`` have to be there.

    Rows without ``tier`` belong to the tier of their speaker, or to ``utterances``. A tier whose segments are
    all by one speaker has that speaker.

    Raises:
        UserError: the file cannot be read; a column is missing or unknown; a row has another number of
            columns, or a value that is wrong; the message names file and line.
    """
    lines = read_lines(path, encoding)
    columns = lines[0][1].split("\t")
    with at(path, "line 1"):
        _check_columns(columns)
    tiers: dict[str, tuple[str, list[Segment]]] = {}
    for number, line in lines[1:]:
        with at(path, f"line {number}"):
            cells = line.split("\t")
            if len(cells) != len(columns):
                raise UserError(
                    f"there are {len(cells)} columns, and {len(columns)} names in line 1: correct it"
                )
            row = dict.fromkeys(COLUMNS, "") | dict(zip(columns, map(_unescape, cells), strict=True))
            name, kind = row["tier"] or row["speaker"] or "utterances", row["kind"] or "utterances"
            if tiers.setdefault(name, (kind, []))[0] != kind:
                raise UserError(f"tier {name} is of kind {kind} here and {tiers[name][0]} before: use one")
            tiers[name][1].append(_read_segment(row))
    with at(path, "the whole table"):
        return Recording(tiers=[_make_tier(name, kind, found) for name, (kind, found) in tiers.items()])


def _check_columns(columns: list[str]) -> None:
    if missing := [name for name in _NEEDED if name not in columns]:
        raise UserError(
            f"there is no column {missing[0]}: the first line has to name start, end and text, separated by "
            "tabs"
        )
    for name in columns:
        if name not in COLUMNS or columns.count(name) > 1:
            raise UserError(f"the column {name!r} is unknown or there twice: there are {', '.join(COLUMNS)}")


def _read_segment(row: dict[str, str]) -> Segment:
    return Segment(
        parse_number(row["start"], "start"),
        parse_number(row["end"], "end"),
        row["text"],
        parse_confidence(row["confidence"]) if row["confidence"] else None,
        row["speaker"] or None,
    )


def _make_tier(name: str, kind: str, segments: list[Segment]) -> Tier:
    """The speaker of all segments becomes the tier's."""
    speakers = {segment.speaker for segment in segments}
    common = speakers.pop() if len(speakers) == 1 else None
    if common is not None:
        segments = [Segment(one.start, one.end, one.text, one.confidence) for one in segments]
    return Tier(name, sort_spans(segments), kind, common)
