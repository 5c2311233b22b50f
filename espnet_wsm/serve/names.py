"""Names of uploads, which anybody may choose, as names of files."""

import re
import unicodedata
from pathlib import Path

MOST_BYTES = 120  # of a name in UTF-8; file systems take 255
UNNAMED = "recording"


def clean_name(name: str) -> str:
    """The last part of a path of any system, without what is invisible or has a meaning to systems.

    Always a name of a file: neither empty nor of points alone, at most ``MOST_BYTES`` long, its suffix kept.
    """
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    # Controls, formats (directions), halves of surrogate pairs, what is not assigned, line separators.
    name = "".join(
        sign for sign in name if unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")
    )
    name = re.sub(r'[<>:"|?*]', "_", name)
    name = re.sub(r"\s+", " ", name).strip(" .")
    stem, suffix = Path(name).stem, clean_suffix(name)
    stem = stem if suffix else name
    room = MOST_BYTES - len(suffix)
    stem = stem.encode("utf-8")[:room].decode("utf-8", errors="ignore").strip(" .")
    return (stem or UNNAMED) + suffix


def clean_suffix(name: str) -> str:
    """The suffix with its point, empty if it is none of up to eight letters and digits."""
    suffix = Path(name).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ""
