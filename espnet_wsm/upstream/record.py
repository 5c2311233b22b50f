"""The folder of an upstream that was fetched or exported: where it is, and what it says of its files."""

import json
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in, write_text

RECORD_FILE = "upstream.json"  # written last: a folder without it is unfinished
EXPORTED = "exported_from"  # in the record of a folder written by export_upstream
MARKER_FILE = ".unfinished"  # names the upstream being fetched; only that one may complete the folder


def default_folder(name: str) -> Path:
    """The folder in the working directory where an upstream is fetched to by default, and looked for."""
    return Path("upstreams") / name.replace("/", "_")


def claim_folder(name: str, directory: Path) -> None:
    """Make a folder that only the upstream ``name`` may complete."""
    write_text(directory / MARKER_FILE, [name])


def read_record(directory: Path) -> dict[str, Any]:
    """Read the ``upstream.json`` that ``fetch_upstream`` or ``export_upstream`` wrote.

    Among others it has the keys ``upstream``, ``files``, and ``sha256`` with the digest of each file.

    Raises:
        UserError: the file does not exist, or neither of them wrote it.
    """
    file = directory / RECORD_FILE
    refuse_stand_in(file)
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        kinds = {"upstream": str, "files": list, "sha256": dict}
        if (
            record["files"]
            and all(isinstance(record[key], kind) for key, kind in kinds.items())
            and set(record["files"]) == record["sha256"].keys()
        ):
            return record
        reason = "its values are not what fetch_upstream and export_upstream write"
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise UserError(
        f"{file} does not describe an upstream ({reason}): fetch or export it again to a new folder"
    )


def advise_anew(directory: Path, record: dict[str, Any]) -> str:
    """How to get the files of a record again, for messages."""
    if EXPORTED in record:
        return f"take a whole copy of it, or remove {directory} and export {record[EXPORTED]} again"
    return f"remove {directory} and fetch {record.get('id', record['upstream'])} again"
