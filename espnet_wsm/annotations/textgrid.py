"""Praat's TextGrid: tiers of intervals, which fill the whole time without overlap, and tiers of points.

Words and characters of a tier ``anna`` are the tiers ``anna - words`` and ``anna - characters``. Segments
without a length are a tier of points, if all of the tier are such. Read are the long and the short form,
in UTF-8, UTF-16 and whatever encoding is named.

As Praat does, the reader looks at quoted texts, numbers and flags alone, and at nothing between them.
praatio is not used here, only to read in tests what is written: it strips texts, splits a file within
texts that look like its headers, leaves doubled quotes in the points of the long form, and names no line.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet_wsm.annotations.model import Character, Recording, Segment, Span, Tier, Word
from espnet_wsm.annotations.nesting import CHARACTERS, WORDS, group_parts, nest_words
from espnet_wsm.annotations.text_files import at, read_bytes, read_text, write_new
from espnet_wsm.errors import UserError

_TOKEN = re.compile(
    r'(?<!\S)"(?P<text>(?:[^"]|"")*+)"(?!\S)'
    r"|(?<!\S)(?P<number>[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)"
    r"|(?<!\S)<(?P<flag>exists|absent)>"
    r'|(?<!\S)(?P<open>")'
    r"|(?<!\S)![^\n]*",  # a comment
    re.ASCII,
)
_BINARY = b"ooBinaryFile"
_CLASSES = {"IntervalTier": True, "TextTier": False}


def write(
    recording: Recording, path: Path, *, short: bool = False, encoding: str = "utf-8", overwrite: bool = False
) -> None:
    """Write a TextGrid in the long form or, if ``short``, the short one; ``utf-16`` gets a byte order mark.

    Raises:
        UserError: there is no tier, or no time; segments of a tier overlap; some of a tier have a length and
            others none; the file is there and ``overwrite`` is false.
    """
    with at(path, "which is to be written"):
        content = format_textgrid(recording, short)
    write_new(path, content.encode(encoding), overwrite)


def format_textgrid(recording: Recording, short: bool = False) -> str:
    """The TextGrid; times with up to six decimals, what is between segments as intervals without text."""
    ends = [span.end for _, spans in list_layers(recording.tiers) for span in spans]
    whole = max([recording.duration or 0.0, *ends])
    if not recording.tiers or round(whole, 6) == 0:
        raise UserError("there is no tier, or no time for it: a TextGrid needs a tier and a duration")
    grids, end = make_grids(recording.tiers, whole), _show_time(whole)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    if short:
        lines += ["0", end, "<exists>", str(len(grids))]
    else:
        lines += ["xmin = 0 ", f"xmax = {end} ", "tiers? <exists> ", f"size = {len(grids)} ", "item []: "]
    return "".join(f"{line}\n" for line in [*lines, *show_grids(grids, end, short)])


def list_layers(tiers: Iterable[Tier]) -> Iterator[tuple[str, Sequence[Span]]]:
    """Name and spans of each tier of the file: segments, and the words and characters in them."""
    for tier in tiers:
        yield tier.name, tier.segments
        words = [word for segment in tier.segments for word in segment.words]
        if words:
            yield tier.name + WORDS, words
        if characters := [character for word in words for character in word.characters]:
            yield tier.name + CHARACTERS, characters


@dataclass(frozen=True)
class Grid:
    """A tier as it stands in the file; ``end`` is None for points."""

    name: str
    entries: Sequence[tuple[str, str | None, str]]

    @property
    def is_points(self) -> bool:
        """Whether it is a tier of points."""
        return bool(self.entries) and self.entries[0][1] is None


def make_grids(tiers: Iterable[Tier], whole: float, taken: Iterable[str] = ()) -> list[Grid]:
    """The tiers of a file that ends at ``whole`` seconds, where the names ``taken`` are there already.

    Raises:
        UserError: a name is there twice; segments of a tier overlap; some have a length and others none.
    """
    layers = list(list_layers(tiers))
    names = [*taken, *(name for name, _ in layers)]
    if twice := next((name for name, _ in layers if names.count(name) > 1), None):
        raise UserError(f"two tiers would be named {twice}: rename one of them")
    return [_make_grid(name, spans, whole) for name, spans in layers]


def _show_time(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _make_grid(name: str, spans: Sequence[Span], whole: float) -> Grid:
    lengths = [_show_time(span.start) != _show_time(span.end) for span in spans]
    if spans and not any(lengths):
        return Grid(name, [(_show_time(span.start), None, span.text) for span in spans])
    entries: list[tuple[str, str | None, str]] = []
    last = 0.0
    for span, has_length in zip(spans, lengths, strict=True):
        what = f"tier {name}: {span.text[:40]!r} at {span.start:g} s"
        if not has_length:
            raise UserError(
                f"{what} has no length, others of the tier have: lengthen it, or put it on its own tier"
            )
        start = round(span.start, 6)
        if start < last:
            raise UserError(
                f"{what} begins before the one before it ends, at {last:g} s, and a tier cannot hold both: "
                "put them on two tiers"
            )
        if start > last:
            entries.append((_show_time(last), _show_time(start), ""))
        entries.append((_show_time(start), _show_time(span.end), span.text))
        last = round(span.end, 6)
    if round(whole, 6) > last:
        entries.append((_show_time(last), _show_time(whole), ""))
    return Grid(name, entries)


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def show_grids(grids: Sequence[Grid], end: str, short: bool = False, first: int = 1) -> list[str]:
    """The lines of tiers of a file that ends at ``end``, numbered from ``first``."""
    if short:
        return [line for grid in grids for line in _show_short(grid, end)]
    return [line for number, grid in enumerate(grids, start=first) for line in _show_long(grid, end, number)]


def _show_long(grid: Grid, end: str, number: int) -> list[str]:
    kind, name = ("TextTier", "points") if grid.is_points else ("IntervalTier", "intervals")
    head = [f'class = "{kind}" ', f"name = {_quote(grid.name)} ", "xmin = 0 ", f"xmax = {end} "]
    head.append(f"{name}: size = {len(grid.entries)} ")
    lines = [f"    item [{number}]:", *(f"        {line}" for line in head)]
    for place, (start, stop, text) in enumerate(grid.entries, start=1):
        if stop is None:
            entry = [f"number = {start} ", f"mark = {_quote(text)} "]
        else:
            entry = [f"xmin = {start} ", f"xmax = {stop} ", f"text = {_quote(text)} "]
        lines += [f"        {name} [{place}]:", *(f"            {line}" for line in entry)]
    return lines


def _show_short(grid: Grid, end: str) -> list[str]:
    kind = "TextTier" if grid.is_points else "IntervalTier"
    lines = [f'"{kind}"', _quote(grid.name), "0", end, str(len(grid.entries))]
    for start, stop, text in grid.entries:
        lines += [start, *([] if stop is None else [stop]), _quote(text)]
    return lines


def read(path: Path, *, encoding: str | None = None) -> Recording:
    """Read a TextGrid; its end is the duration. Intervals without text are left out, points are not.

    Raises:
        UserError: the file cannot be read or decoded, is no TextGrid or a binary one; intervals are
            reversed or overlap; anything is missing. The message names file and line.
    """
    if read_bytes(path).startswith(_BINARY):
        raise UserError(f"{path} is in Praat's binary form: open it in Praat and save it as text")
    tokens = Tokens(path, read_text(path, encoding))
    kinds = tokens.take_text("the kind of file"), tokens.take_text("the class of object")
    if not kinds[0].startswith("ooTextFile") or kinds[1] != "TextGrid":
        raise UserError(
            f'{path} is no TextGrid: it has to begin with File type = "ooTextFile" and "TextGrid"'
        )
    tokens.take_number("the start")
    duration = tokens.take_number("the end")
    tiers = []
    if tokens.take_flag():
        for _ in range(tokens.take_count("tiers")):
            tiers.append(_read_tier(tokens))
    with at(path, "the whole file"):
        # Praat allows names that are equal, or none.
        return Recording(tiers=tuple(_nest(_name_uniquely(tiers))), duration=duration)


def _read_tier(tokens: "Tokens") -> Tier:
    kind = tokens.take_text("the class of a tier")
    if kind not in _CLASSES:
        raise tokens.refuse(
            f"a tier is of the class {kind!r}, which is neither IntervalTier nor TextTier: correct it"
        )
    name = tokens.take_text("the name of a tier")
    tokens.take_number("the start of a tier"), tokens.take_number("the end of a tier")
    segments: list[Segment] = []
    for _ in range(tokens.take_count("entries")):
        start = tokens.take_number("the time of an entry")
        end = tokens.take_number("the end of an interval") if _CLASSES[kind] else start
        text = tokens.take_text("the text of an entry")
        if _CLASSES[kind] and segments and round(start - segments[-1].end, 6) < 0:
            raise tokens.refuse(
                f"tier {name}: the interval from {start:g} to {end:g} s begins before the one before it "
                f"ends, at {segments[-1].end:g} s: correct one of them"
            )
        with at(tokens.path, f"line {tokens.line}, tier {name}"):
            segments.append(Segment(start, end, text))
    if not _CLASSES[kind]:
        segments.sort(key=lambda segment: segment.start)
    kept = [segment for segment in segments if segment.text or not _CLASSES[kind]]
    with at(tokens.path, f"line {tokens.line}"):
        return Tier(name.strip("\n") or "tier", tuple(kept))


def _name_uniquely(tiers: Sequence[Tier]) -> list[Tier]:
    """Of tiers with one name the second is called ``name (2)``."""
    named: list[Tier] = []
    for tier in tiers:
        name, number = tier.name, 1
        while any(other.name == name for other in named):
            number += 1
            name = f"{tier.name} ({number})"
        named.append(replace(tier, name=name))
    return named


def _nest(tiers: Sequence[Tier]) -> list[Tier]:
    """Put words into their segments, characters into their words; those that fit in none stay tiers."""
    found = {tier.name: tier for tier in tiers}
    for name in [tier.name for tier in tiers]:
        if name + WORDS not in found:
            continue
        words: Sequence[Word] = [Word(one.start, one.end, one.text) for one in found[name + WORDS].segments]
        nested_characters = False
        if characters := found.get(name + CHARACTERS):
            groups = group_parts(
                words, [Character(one.start, one.end, one.text) for one in characters.segments]
            )
            if groups is not None:
                nested_characters = True
                words = [replace(word, characters=group) for word, group in zip(words, groups, strict=True)]
        if (nested := nest_words(found[name], words)) is not None:
            found[name] = nested
            del found[name + WORDS]
            if nested_characters:
                del found[name + CHARACTERS]
    return [
        replace(tier, kind="words") if tier.name.endswith(WORDS) or tier.name == "words"
        else replace(tier, kind="characters") if tier.name.endswith(CHARACTERS) or tier.name == "characters"
        else tier
        for tier in found.values()
    ]  # fmt: skip


class Tokens:
    """The texts, numbers and flags of a file, one after another."""

    def __init__(self, path: Path, text: str):
        self.path = path
        self.breaks = [found.start() for found in re.finditer("\n", text)]
        self.tokens = (found for found in _TOKEN.finditer(text) if found.lastgroup)
        self.place = 0

    @property
    def line(self) -> int:
        """Of the token that was taken last."""
        return bisect_right(self.breaks, self.place) + 1

    def refuse(self, fault: str) -> UserError:
        """A UserError at the token that was taken last."""
        return UserError(f"{self.path}, line {self.line}: {fault}")

    def _take(self, group: str, what: str) -> str:
        token = next(self.tokens, None)
        if token is None:
            raise self.refuse(
                f"the file ends where {what} should follow: get it again, or save it anew in Praat"
            )
        self.place = token.start()
        if token.lastgroup == "open":
            raise self.refuse(
                "a text begins with a double quote and does not end: a quote within it has to be doubled"
            )
        if token.lastgroup != group:
            raise self.refuse(f"there is {token[0][:40]} where {what} should be: save it anew in Praat")
        return token[group]

    def take_text(self, what: str) -> str:
        """The next token, a text."""
        return self._take("text", what).replace('""', '"')

    def take_number(self, what: str) -> float:
        """The next token, a number."""
        return float(self._take("number", what))

    def take_raw_number(self, what: str) -> str:
        """The next token, a number, as it is written."""
        return self._take("number", what)

    def take_count(self, what: str) -> int:
        """The next token, a number of things."""
        number = self._take("number", f"the number of {what}")
        if not number.isdecimal():
            raise self.refuse(f"the number of {what} is {number}: correct it")
        return int(number)

    def take_flag(self) -> bool:
        """The next token: whether there are tiers."""
        return self._take("flag", "<exists>") == "exists"
