"""JSON that holds everything: `docs/annotations.md` has its schema. It is checked whole when it is read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from espnet_wsm.annotations.model import Character, Recording, Segment, Span, Tier, Word
from espnet_wsm.annotations.text_files import read_text, write_new
from espnet_wsm.errors import UserError

NAME, VERSION = "espnet_wsm annotations", 1
# Key of the parts of a span -> what they are; a missing key means none.
_PARTS: dict[type[Span], tuple[str, type[Span]] | None] = {
    Segment: ("words", Word),
    Word: ("characters", Character),
    Character: None,
}


def _drop_unknown(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def describe_span(span: Span) -> dict[str, Any]:
    """A segment, word or character with its parts, without what is not known."""
    described = _drop_unknown(
        start=span.start, end=span.end, text=span.text, speaker=getattr(span, "speaker", None),
        confidence=span.confidence,
    )  # fmt: skip
    parts = _PARTS[type(span)]
    if parts and getattr(span, parts[0]):
        described[parts[0]] = [describe_span(part) for part in getattr(span, parts[0])]
    return described


def format_json(recording: Recording) -> str:
    """The JSON, indented; times and confidences as they are, keys of unknown values left out."""
    described = {"format": NAME, "version": VERSION} | _drop_unknown(
        audio=recording.audio, duration=recording.duration, language=recording.language
    )
    described["tiers"] = [
        _drop_unknown(name=tier.name, kind=tier.kind, speaker=tier.speaker)
        | {"segments": [describe_span(segment) for segment in tier.segments]}
        for tier in recording.tiers
    ]
    return json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write(recording: Recording, path: Path, *, overwrite: bool = False) -> None:
    """Write :func:`format_json` as UTF-8, as `text_files.write_new` does."""
    write_new(path, format_json(recording), overwrite)


def read(path: Path, *, encoding: str | None = None) -> Recording:
    """Read what :func:`write` wrote, or another program by the same schema.

    Raises:
        UserError: the file cannot be read, is not JSON or of another version; a key is missing, unknown or
            there twice; a value is of the wrong type or outside of its limits. The message says where:
            ``tiers[0].segments[3].words[1]``.
    """
    text = read_text(path, encoding)
    try:
        return _read_recording(json.loads(text, object_pairs_hook=_refuse_twins))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: is not JSON: {error.msg}: correct it") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply to be annotations: check what it is") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise UserError(f"{path}: holds a number that is none: {error}") from None


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"the key {twin!r} is there twice in one object: remove one")
    return content


@contextmanager
def _inside(place: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        inner = str(error)
        joint = "." if inner.startswith(("segments[", "words[", "characters[")) else ": "
        raise UserError(f"{place}{joint}{inner}") from None


def _take(content: Any, needed: dict[str, type], known: dict[str, type]) -> dict[str, Any]:
    """The values of an object by key, None for those that are not there.

    ``needed`` and ``known`` (optional, may be null) hold the types of the values.
    """
    if not isinstance(content, dict):
        raise UserError(f"is {_name_type(content)} where an object has to be: correct it")
    types = needed | known
    for key, value in content.items():
        if key not in types:
            raise UserError(f"the key {key!r} is unknown: there are {', '.join(types)}")
        right = int | float if types[key] is float else types[key]
        if value is None and key in known:
            continue
        if isinstance(value, bool) or not isinstance(value, right):
            raise UserError(f"{key} is {_name_type(value)}, and has to be {_TYPES[types[key]]}: correct it")
    if missing := [key for key in needed if key not in content]:
        raise UserError(f"the key {missing[0]!r} is missing: add it")
    return {key: content.get(key) for key in types}


_TYPES = {str: "a string", float: "a number", int: "a whole number", list: "an array", dict: "an object"}


def _name_type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return _TYPES[type(value)]


def _read_recording(content: Any) -> Recording:
    if not isinstance(content, dict) or content.get("format") != NAME:
        raise UserError(f'is not one of these files: it has to be an object with "format": "{NAME}"')
    if content.get("version") != VERSION or isinstance(content["version"], bool):
        raise UserError(
            f"is of version {content.get('version')!r}, and only {VERSION} can be read here: install the "
            "release of espnet_wsm that wrote it"
        )
    top = _take(
        content,
        {"format": str, "version": int, "tiers": list},
        {"audio": str, "duration": float, "language": str},
    )
    tiers = []
    for index, tier in enumerate(top["tiers"]):
        with _inside(f"tiers[{index}]"):
            values = _take(tier, {"name": str, "segments": list}, {"kind": str, "speaker": str})
            segments = _read_spans(values["segments"], "segments", Segment)
            tiers.append(Tier(values["name"], segments, values["kind"] or "utterances", values["speaker"]))
    return Recording(top["audio"], tuple(tiers), top["duration"], top["language"])


def _read_spans(content: list[Any], name: str, made: type[Span]) -> tuple[Any, ...]:
    known: dict[str, type] = {"confidence": float}
    if made is Segment:
        known["speaker"] = str
    parts = _PARTS[made]
    if parts:
        known[parts[0]] = list
    spans = []
    for index, described in enumerate(content):
        with _inside(f"{name}[{index}]"):
            values = _take(described, {"start": float, "end": float, "text": str}, known)
            if parts:
                values[parts[0]] = _read_spans(values[parts[0]] or [], *parts)
            spans.append(made(**values))
    return tuple(spans)
