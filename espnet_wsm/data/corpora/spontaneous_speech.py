"""Common Voice's spontaneous speech, from Mozilla Data Collective: ``ss-corpus-LANG.tsv`` and ``audios``."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from espnet_wsm.data.corpora.listing import Listing
from espnet_wsm.data.corpora.tables import read_table
from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.data.text.notes import has_notes, remove_notes

PATTERN = "ss-corpus-*.tsv"
COLUMNS = {"path": "audio_file", "text": "transcription", "speaker": "client_id"}


def list_release(table: Path, columns: Mapping[str, str] | None = None, notes: str = "remove") -> Listing:
    """The rows of a release.

    Only transcripts that were validated have a split. Where there are any, the others are left out; where
    there are none, all are used. Tags such as ``[disfluency]`` are notes in brackets.

    Args:
        table: ``ss-corpus-LANG.tsv``.
        columns: names of columns that differ.
        notes: remove, leave_out or keep.

    Raises:
        UserError: as `read_table`.
    """
    rows = read_table(table, {**COLUMNS, **(columns or {})}, folder=table.parent / "audios")
    listing = Listing(remedy="unpack the archive of this language again")
    validated = any(row.split for row in rows)
    noted = 0
    for row in rows:
        text = row.text
        if has_notes(text) and notes != "keep":
            text = remove_notes(text) if notes == "remove" else None
            noted += text is not None
        if validated and not row.split:
            listing.dropped.append((row.place, "transcript not validated"))
        elif text is None:
            listing.dropped.append((row.place, "has a note in brackets"))
        else:
            listing.rows.append(replace(row, text=text, duration=None))
    if noted:
        listing.said.append(
            f"notes in brackets are removed from {count(noted, 'utterance')}; --notes keep or leave_out"
        )
    if not validated:
        listing.said.append("no transcript of this release is validated: all are used")
    return listing
