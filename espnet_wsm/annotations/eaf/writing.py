"""Write a new .eaf, of version 3.0."""

import os
import re
from datetime import datetime
from pathlib import Path, PurePosixPath, PureWindowsPath

from espnet_wsm.annotations.eaf.drafts import CONSTRAINTS, TYPES, Draft, show_constraint, show_type
from espnet_wsm.annotations.model import Recording
from espnet_wsm.annotations.text_files import at, write_new
from espnet_wsm.annotations.xml_document import show_tag

_MIME_TYPES = {".wav": "audio/x-wav", ".mp4": "video/mp4", ".mpg": "video/mpeg", ".mov": "video/quicktime"}
_SCHEMA = {
    "FORMAT": "3.0",
    "VERSION": "3.0",
    "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
    "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
}


def format_eaf(recording: Recording, folder: Path) -> str:
    """The XML of a recording, for a file in ``folder``, from which the path of its audio counts.

    Each tier has an independent tier; words, characters and confidences are tiers that depend on it, named
    like it with `` - words``, `` - characters`` and `` - confidence`` behind.

    Raises:
        UserError: as `Draft.add_tier`.
    """
    language = None if recording.language is None else _make_id(recording.language)
    draft = Draft(language=language)
    for tier in recording.tiers:
        draft.add_tier(tier)
    document = {
        "AUTHOR": "espnet_wsm",
        "DATE": datetime.now().astimezone().isoformat(timespec="seconds"),
        **_SCHEMA,
    }
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', show_tag("ANNOTATION_DOCUMENT", document)]
    lines.append("    " + show_tag("HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}))
    if recording.audio is not None:
        lines.append("        " + _show_medium(recording.audio, folder))
    lines += [
        f'        <PROPERTY NAME="lastUsedAnnotationId">{draft.last_annotation}</PROPERTY>',
        "    </HEADER>",
        "    <TIME_ORDER>",
    ]
    # ELAN has the slots in order of time.
    for slot, time in sorted(draft.slots, key=lambda slot: slot[1]):
        lines.append(
            "        " + show_tag("TIME_SLOT", {"TIME_SLOT_ID": slot, "TIME_VALUE": str(time)}, close=True)
        )
    lines.append("    </TIME_ORDER>")
    for tier_lines in draft.tiers:
        lines += [f"    {line}" for line in tier_lines]
    lines += [f"    {show_type(type, type)}" for type in TYPES if type in draft.used or type == "utterances"]
    if language is not None:
        lines.append(
            "    " + show_tag("LANGUAGE", {"LANG_ID": language, "LANG_LABEL": recording.language}, close=True)
        )
    lines += [f"    {show_constraint(name)}" for name in CONSTRAINTS]
    lines.append("</ANNOTATION_DOCUMENT>")
    return "".join(f"{line}\n" for line in lines)


def write(recording: Recording, path: Path, *, overwrite: bool = False) -> None:
    """Write :func:`format_eaf` as UTF-8, as `text_files.write_new` does."""
    with at(path, "which is to be written"):
        content = format_eaf(recording, path.parent)
    write_new(path, content, overwrite)


def _make_id(language: str) -> str:
    """An XML id, in which other characters than letters, digits and three marks are ``_``."""
    name = re.sub(r"[^\w.-]", "_", language)
    return name if re.match(r"[^\W\d]", name) else f"_{name}"


def _show_medium(audio: str, folder: Path) -> str:
    kind = _MIME_TYPES.get(PurePosixPath(audio).suffix.lower(), "audio/*")
    if PureWindowsPath(audio).drive:
        url, relative = f"file:///{audio}", None
    elif Path(audio).is_absolute():
        url, relative = Path(audio).as_uri(), None
    else:
        url = Path(os.path.abspath(folder / audio)).as_uri()
        relative = audio if audio.startswith("../") else f"./{audio}"
    return show_tag(
        "MEDIA_DESCRIPTOR", {"MEDIA_URL": url, "MIME_TYPE": kind, "RELATIVE_MEDIA_URL": relative}, close=True
    )
