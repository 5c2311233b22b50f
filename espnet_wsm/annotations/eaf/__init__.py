"""ELAN's annotation files, .eaf: XML with tiers of annotations, whose times are slots in milliseconds.

``read`` and ``write`` are as in the other formats; ``add_tiers`` writes a copy of a file with tiers more.

pympi-ling, the usual library, is not used here, only to read in tests what this package writes. Of the
files that it reads it loses comments, namespaces, and attributes that it does not know; it needs an XML
schema's address and digits in every id, refuses annotations without a value, does not resolve slots
without a time, names no line, and renames an existing file when it writes.
"""

from espnet_wsm.annotations.eaf.copying import add_tiers
from espnet_wsm.annotations.eaf.media import find_media, find_origin
from espnet_wsm.annotations.eaf.reading import TierOutline, outline_tiers, read
from espnet_wsm.annotations.eaf.writing import write

__all__ = [
    "TierOutline",
    "add_tiers",
    "find_media",
    "find_origin",
    "outline_tiers",
    "read",
    "write",
]
