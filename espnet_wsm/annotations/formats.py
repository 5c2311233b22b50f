"""The formats by name: what reads and writes them, and what they cannot hold."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_wsm.annotations import (
    audacity,
    ctm,
    eaf,
    elan_table,
    json_format,
    srt,
    stm,
    textgrid,
    tsv,
    txt,
    vtt,
)
from espnet_wsm.annotations.losses import FEATURES
from espnet_wsm.annotations.model import Recording
from espnet_wsm.errors import UserError


@dataclass(frozen=True)
class Format:
    """A format.

    Args:
        suffix: of its files, with the point.
        description: one line.
        read: from a path to a recording, None if it is not read. Keyword arguments are in ``read_options``.
        write: of a recording to a path, None if it is not written. All take ``overwrite``, and
            ``write_options``.
        loses: keys of `losses.FEATURES`: what does not come back when a file is read that was written.
    """

    suffix: str
    description: str
    read: Callable[..., Recording] | None
    write: Callable[..., None] | None
    loses: tuple[str, ...] = ()
    read_options: tuple[str, ...] = ("encoding",)
    write_options: tuple[str, ...] = ()


_FLAT = ("duration", "language", "tiers", "other tiers", "kinds")
_INNER = ("words", "characters", "fine times")
_SUBTITLES = ("audio", *_FLAT, "confidences", "empty", "line breaks", *_INNER)
FORMATS: dict[str, Format] = {
    "json": Format(".json", "everything", json_format.read, json_format.write),
    "tsv": Format(
        ".tsv", "table, one row a segment", tsv.read, tsv.write, ("audio", "duration", "language", *_INNER)
    ),
    "txt": Format(".txt", "plain text", None, txt.write, ("times", *_SUBTITLES)),
    "srt": Format(
        ".srt", "SubRip subtitles", srt.read, srt.write, (*_SUBTITLES, "speakers", "segments"),
        write_options=("rules",),
    ),
    "vtt": Format(
        ".vtt", "WebVTT subtitles", vtt.read, vtt.write, (*_SUBTITLES, "segments"), write_options=("rules",)
    ),
    "textgrid": Format(
        ".TextGrid", "Praat", textgrid.read, textgrid.write,
        ("audio", "language", "kinds", "speakers", "confidences", "empty"),
        write_options=("short", "encoding"),
    ),
    "eaf": Format(
        ".eaf", "ELAN", eaf.read, eaf.write, ("duration", "speakers of segments", "fine times"),
        read_options=(),
    ),
    "audacity": Format(
        ".txt", "label track of Audacity", audacity.read, audacity.write,
        ("audio", *_FLAT, "speakers", "confidences", "words", "characters", "line breaks"),
    ),
    "ctm": Format(
        ".ctm", "NIST's words for sclite", ctm.read, ctm.write,
        ("folder", "duration", "language", "tiers", "speakers", "segments", "confidences of segments",
         "characters", "empty", "fine times"),
        read_options=("encoding", "recording"), write_options=("channel",),
    ),
    "stm": Format(
        ".stm", "NIST's segments for sclite", stm.read, stm.write,
        ("folder", *_FLAT, "confidences", "line breaks", *_INNER),
        read_options=("encoding", "recording"), write_options=("channel",),
    ),
    "elan_table": Format(".txt", "tab-delimited export of ELAN", elan_table.read, None),
}  # fmt: skip
assert all(loss in FEATURES for one in FORMATS.values() for loss in one.loses)


def find_format(path: Path, writing: bool) -> str:
    """The name of the format by the suffix of a file.

    Raises:
        UserError: no format that is read (or written) has this suffix, or several have.
    """
    usable = {name: one for name, one in FORMATS.items() if (one.write if writing else one.read)}
    names = [name for name, one in usable.items() if one.suffix.lower() == path.suffix.lower()]
    if writing and "txt" in names:
        return "txt"
    if len(names) != 1:
        fault = (
            f"could be {' or '.join(names)}"
            if names
            else f"has a suffix, {path.suffix or 'none'}, of no format"
        )
        raise UserError(f"{path} {fault}: name its format, one of {', '.join(usable)}")
    return names[0]


def _take(name: str, writing: bool) -> Format:
    found = FORMATS.get(name)
    if found is None or not (found.write if writing else found.read):
        usable = (key for key, one in FORMATS.items() if (one.write if writing else one.read))
        raise UserError(
            f"no format {name} can be {'written' if writing else 'read'}: there are {', '.join(usable)}"
        )
    return found


def _check_options(name: str, given: Iterable[str], known: tuple[str, ...]) -> None:
    if odd := [option for option in given if option not in known]:
        raise UserError(
            f"{name} takes no {odd[0]}: {f'it takes {", ".join(known)}' if known else 'leave it out'}"
        )


def read_annotations(path: Path | str, format: str | None = None, **options: Any) -> Recording:
    """Read a file of any format, which is that of its suffix unless named.

    Args:
        options: those of the format's ``read``: ``encoding`` of what is neither UTF-8 nor has a byte order
            mark; ``recording``, which one of a file with several.

    Raises:
        UserError: the format is not known, or does not take an option; as its ``read``.
    """
    path = Path(path)
    name = format or find_format(path, writing=False)
    found = _take(name, writing=False)
    _check_options(name, options, found.read_options)
    assert found.read is not None
    return found.read(path, **options)


def write_annotations(
    recording: Recording,
    path: Path | str,
    format: str | None = None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> None:
    """Write a file of any format, which is that of its suffix unless named; whole, or not at all.

    Args:
        options: those of the format's ``write``: ``rules`` of subtitles, ``channel``, ``short``,
            ``encoding``.

    Raises:
        UserError: the format is not known, does not take an option, or cannot hold something; the file is
            there and ``overwrite`` is false.
    """
    path = Path(path)
    name = format or find_format(path, writing=True)
    found = _take(name, writing=True)
    _check_options(name, options, found.write_options)
    assert found.write is not None
    found.write(recording, path, overwrite=overwrite, **options)
