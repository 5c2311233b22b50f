"""What a source of any form gives: rows of utterances, and what is left out and has to be said."""

from dataclasses import dataclass, field

from espnet_wsm.data.corpora.tables import Row

IN_TABLES = "paths count from the folder of the table"


@dataclass
class Listing:
    """The rows of a source before their audio is looked at.

    Args:
        rows: utterances.
        dropped: places and reasons of what is left out.
        said: lines for the user: what was chosen for him, and what he may want otherwise.
        remedy: what to do if audio files are missing.
        seconds: durations of rows whose audio is no file yet (embedded in the source), by place; such rows
            are only looked at.
    """

    rows: list[Row] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    remedy: str = IN_TABLES
    seconds: dict[str, float] = field(default_factory=dict)
