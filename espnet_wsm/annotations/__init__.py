"""Times and texts as files: one file a format, which reads and writes it.

Imports neither torch nor ESPnet.
"""

from espnet_wsm.annotations.formats import FORMATS, Format, read_annotations, write_annotations
from espnet_wsm.annotations.losses import describe_losses
from espnet_wsm.annotations.model import (
    Character,
    Recording,
    Segment,
    Tier,
    Word,
    from_milliseconds,
    select_tiers,
    to_milliseconds,
)
from espnet_wsm.annotations.subtitle_rules import SubtitleRules

__all__ = [
    "FORMATS",
    "Character",
    "Format",
    "Recording",
    "Segment",
    "SubtitleRules",
    "Tier",
    "Word",
    "describe_losses",
    "from_milliseconds",
    "read_annotations",
    "select_tiers",
    "to_milliseconds",
    "write_annotations",
]
