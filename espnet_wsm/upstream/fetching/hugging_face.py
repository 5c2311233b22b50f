"""Fetch a model of transformers from the Hugging Face hub."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HfHubHTTPError

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.hf import LEGACY_WEIGHTS, PROCESSOR, SETTINGS, WEIGHTS
from espnet_wsm.upstream.families.registry import find_model_family
from espnet_wsm.upstream.fetching.transfer import GO_ONLINE, TIMEOUT_S
from espnet_wsm.upstream.record import claim_folder


@contextmanager
def _explain_hub(id: str) -> Iterator[None]:
    """Turn what the client of Hugging Face raises into a sentence."""
    try:
        yield
    except (UserError, PermissionError):
        raise
    except Exception as error:  # the client's own exceptions, httpx's and xet's
        # An answer from the hub itself says what to do.
        advice = "" if isinstance(error, HfHubHTTPError) else f"; {GO_ONLINE}"
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}{advice}"
        raise UserError(f"{_find_page(id)} cannot be fetched: {reason}") from error


def _find_page(id: str) -> str:
    return f"{ENDPOINT}/{id}"


def ask_hub(id: str) -> tuple[str, list[str]]:
    """The revision of a model of transformers on Hugging Face, and the files of it that are needed."""
    with _explain_hub(id):
        info = huggingface_hub.model_info(id, timeout=TIMEOUT_S[0])
    return info.sha, _choose_files([entry.rfilename for entry in info.siblings or ()], _find_page(id))


def fetch_repository(id: str, directory: Path, owner: str, offer: tuple[str, list[str]]) -> dict[str, Any]:
    """Fetch what :func:`ask_hub` found; ``owner`` is the name that the directory belongs to.

    That is asked first: without a network, snapshot_download returns the folder as it is, complete or not.
    """
    revision, files = offer
    with _explain_hub(id):
        claim_folder(owner, directory)
        get = functools.partial(huggingface_hub.snapshot_download, id, revision=revision, local_dir=directory)
        get(allow_patterns=["config.json"])
        find_model_family(directory)  # raises if it is refused, before gigabytes are downloaded
        get(allow_patterns=files)
    if missing := [file for file in files if not (directory / file).is_file()]:
        raise UserError(f"{_find_page(id)}: {', '.join(missing)} did not arrive; {GO_ONLINE}")
    return {"upstream": "hf_custom", "id": owner, "revision": revision, "files": files}


def _choose_files(offered: list[str], page: str) -> list[str]:
    """The settings and weights among the files of a repository; the old pickle only if nothing else is there.

    Raises:
        UserError: the repository holds no transformers model.
    """
    settings = [file for file in SETTINGS if file in offered]
    if PROCESSOR in offered and not set(SETTINGS) <= set(offered):
        settings.append(PROCESSOR)
    weights = sorted(file for file in offered if any(fnmatchcase(file, pattern) for pattern in WEIGHTS))
    if not weights and LEGACY_WEIGHTS in offered:
        weights = [LEGACY_WEIGHTS]
    if "config.json" not in settings or not weights:
        raise UserError(
            f"{page} holds no transformers model, which has config.json and model.safetensors or "
            f"{LEGACY_WEIGHTS}"
        )
    return settings + weights
