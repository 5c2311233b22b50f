"""What ELAN and its recognisers give each other: parameters, and tiers as XML (the AVATecH interface).

Times of a tier are seconds if they have a decimal point, else milliseconds. ELAN reads seconds into 32 bits
and cuts off what is below a millisecond, so that they may come out one too early: only milliseconds are
written here. ELAN does not escape the texts of the tiers that it writes: they may be no XML, and only times
are read.
"""

import html
import re
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.annotations.clock import show_confidence
from espnet_wsm.annotations.model import Segment, to_milliseconds
from espnet_wsm.annotations.text_files import read_text, write_new
from espnet_wsm.annotations.xml_document import escape_text, show_tag
from espnet_wsm.errors import UserError

_PARAMETER = re.compile(r'<param\s+name="([^"]*)"[^>]*>(.*?)</param>', re.DOTALL)
_SPAN = re.compile(r"<span\s([^>]*)>")
_TIME = re.compile(r'\b(start|end)="(\d{1,9}(?:\.\d+)?)"', re.ASCII)


def read_parameters(text: str) -> dict[str, str]:
    """Name and value of each parameter; those without a value are left out."""
    found = {name: html.unescape(value).strip() for name, value in _PARAMETER.findall(text)}
    return {name: value for name, value in found.items() if value}


def read_spans(path: Path) -> list[tuple[int, int]]:
    """Starts and ends of a tier in milliseconds, by start.

    Raises:
        UserError: the file cannot be read, holds no spans, or one has no times or ends before it starts.
    """
    spans = []
    for number, attributes in enumerate(_SPAN.findall(read_text(path)), start=1):
        times = {name: _parse_time(time) for name, time in _TIME.findall(attributes)}
        if times.keys() != {"start", "end"} or times["end"] < times["start"]:
            raise UserError(f"{path}: span {number} has the times {attributes.strip()}: give start and end")
        spans.append((times["start"], times["end"]))
    if not spans:
        raise UserError(f"{path} holds no segments: choose a tier with annotations, or none")
    return sorted(spans)


def _parse_time(text: str) -> int:
    return to_milliseconds(float(text)) if "." in text else int(text)


def write_tier(path: Path, name: str, segments: Sequence[Segment]) -> None:
    """Write segments as two tiers, of texts and of confidences; replaces the file, which ELAN may have made.

    Args:
        name: of the tier; ELAN allows no white space here. The other one is ``NAME_confidence``.

    Raises:
        OSError: the file cannot be written.
    """
    name = re.sub(r"\s+", "_", name)
    schema = {
        "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
        "xsi:noNamespaceSchemaLocation": "file:avatech-tier.xsd",
    }
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append(show_tag("TIER", schema | {"columns": f"{name} {name}_confidence"}))
    for segment in segments:
        times = {key: str(to_milliseconds(getattr(segment, key))) for key in ("start", "end")}
        sure = "" if segment.confidence is None else show_confidence(segment.confidence)
        values = f"<v>{escape_text(segment.text)}</v><v>{sure}</v>"
        lines.append(f"  {show_tag('span', times)}{values}</span>")
    write_new(path, "".join(f"{line}\n" for line in [*lines, "</TIER>"]), overwrite=True)
