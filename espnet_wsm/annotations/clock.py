"""Times and confidences as numbers in text files."""

import re

from espnet_wsm.annotations.model import from_milliseconds, to_milliseconds
from espnet_wsm.errors import UserError

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def parse_number(text: str, what: str) -> float:
    """A decimal number; nothing else that Python's ``float`` takes (``nan``, ``1_0``, other scripts' digits).

    Raises:
        UserError: it is none; ``what`` names it in the message.
    """
    if not _NUMBER.fullmatch(text):
        raise UserError(f"{what} is {text!r}, which is no number: write it as 12.345")
    return float(text)


def parse_confidence(text: str) -> float:
    """A number from 0 to 1; UserError for anything else."""
    value = parse_number(text, "confidence")
    if not 0 <= value <= 1:
        raise UserError(f"confidence is {text}: it has to be from 0 to 1")
    return value


def show_seconds(seconds: float) -> str:
    """Seconds with three decimals, ``12.345``."""
    whole, rest = divmod(to_milliseconds(seconds), 1000)
    return f"{whole}.{rest:03d}"


def show_confidence(confidence: float) -> str:
    """Three decimals."""
    return f"{confidence:.3f}"


def show_clock(milliseconds: int, mark: str) -> str:
    """``hh:mm:ss`` with the milliseconds behind ``mark``; more hours than 99 take three digits."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{mark}{rest:03d}"


def parse_clock(text: str) -> float:
    """Seconds of ``hh:mm:ss,mmm``, ``hh:mm:ss.mmm`` or ``mm:ss.mmm``.

    Raises:
        UserError: it is none of these.
    """
    found = re.fullmatch(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})", text, re.ASCII)
    if not found or int(found[2]) > 59 or int(found[3]) > 59:
        raise UserError(f"{text!r} is no time: write it as 00:01:02.345")
    hours, minutes, seconds = (int(group or 0) for group in found.groups()[:3])
    return from_milliseconds(((hours * 60 + minutes) * 60 + seconds) * 1000 + int(found[4].ljust(3, "0")))
