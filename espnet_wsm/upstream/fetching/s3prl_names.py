"""What S3PRL would fetch for its names of upstreams, and fetching that."""

import contextlib
import difflib
import functools
import inspect
import re
import shutil
import sys
import warnings
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically
from espnet_wsm.upstream.families.registry import find_family, is_refused
from espnet_wsm.upstream.fetching.transfer import download_file
from espnet_wsm.upstream.fetching.wheels import read_sources
from espnet_wsm.upstream.record import claim_folder
from espnet_wsm.upstream.weights.pickles import SUFFIXES, Distrusted, open_pickle

# The hubs of S3PRL that request all files of an upstream in one call. Those of pase and roberta, for example,
# make two requests, and the first one would give only half an upstream.
HUBS = ("data2vec", "distiller", "espnet_hubert", "hubert", "unispeech_sat", "wav2vec2", "wavlm")
PATH_SUFFIXES = ("_custom", "_local", "_url")


def list_names() -> list[str]:
    """The names of all upstreams that S3PRL registers, including its loaders."""
    with warnings.catch_warnings(action="ignore"):  # about the code of unrelated upstreams
        from s3prl import hub  # takes seconds
    return hub.options()


def find_urls(name: str) -> tuple[str, ...]:
    """The URLs that S3PRL would fetch for its ``name``, found without a network.

    Raises:
        UserError: S3PRL does not know the name, fetches nothing for it, or makes several requests.
    """
    with warnings.catch_warnings(action="ignore"):  # about the code of unrelated upstreams
        from s3prl import hub  # takes seconds

    function = getattr(hub, name, None)  # may not be an upstream: hub's star imports bring in names like Path
    if not inspect.isfunction(function) or not re.fullmatch(r"s3prl\..+\.hubconf", function.__module__):
        names = [*read_sources(), *hub.options(only_registered_ckpt=True)]
        similar = ", ".join(difflib.get_close_matches(name, names))
        raise UserError(
            f"upstream {name!r} is unknown to the installed S3PRL, and none of {', '.join(read_sources())}"
            f"{similar and f'; similar are {similar}'}; a Hugging Face id looks like facebook/mms-300m"
        )
    if name.endswith(PATH_SUFFIXES):
        raise UserError(f"upstream {name} takes the path of a checkpoint of your own: nothing to fetch")
    if function.__module__.split(".")[-2] in HUBS:
        # The place from which the hub's function would download raises instead.
        hubconf = sys.modules[function.__module__]
        with (
            mock.patch.object(hubconf, "_urls_to_filepaths", side_effect=InterruptedError) as download,
            contextlib.suppress(InterruptedError),
        ):
            function()
        if download.called:
            return download.call_args.args
    raise UserError(f"upstream {name} cannot be fetched: only those of S3PRL's {', '.join(HUBS)} can")


def find_stored(name: str) -> tuple[Path, ...]:
    """Where S3PRL keeps, or would keep, the files of its ``name``, in the order of :func:`find_urls`.

    Raises:
        UserError: as :func:`find_urls`.
    """
    from s3prl.util.download import _urls_to_filepaths

    return tuple(Path(_urls_to_filepaths(url, download=False)) for url in find_urls(name))


def fetch_checkpoint(name: str, directory: Path, trust: bool) -> dict[str, Any]:
    """Fetch what S3PRL would fetch; files that S3PRL has already downloaded are copied."""
    if is_refused(name):
        find_family(name)  # raises with the reason, before gigabytes are downloaded
    urls, stored_files = find_urls(name), find_stored(name)
    claim_folder(name, directory)
    record: dict[str, Any] = {"upstream": name, "files": [], "urls": []}
    for asked, stored in zip(urls, stored_files, strict=True):
        # For espnet_hubert_large_gs_ll60k, S3PRL requests the web page about the configuration instead of the
        # file, and may have stored that page. Can go when no hub has "/blob/" in a URL.
        url = asked.replace("/blob/main/", "/resolve/main/")
        file = directory / PurePosixPath(url).name
        if file.exists():
            pass  # complete, from an earlier call
        elif stored.is_file() and url == asked:
            print(f"{file}: copied from {stored}", file=sys.stderr)
            write_atomically(file, functools.partial(shutil.copyfile, stored))
        else:
            download_file(url, file)
        if file.suffix in SUFFIXES and (reason := _runs_code(file, stored)):
            if not trust:
                raise UserError(f"{reason}. It came from {url} and was kept: run again with --trust")
        record["files"].append(file.name)
        record["urls"].append(url)
    return record


def _runs_code(file: Path, stored: Path) -> str | None:
    """Why ``file`` needs trust, None if it does not; ``stored`` is where it may have been copied from.

    Raises:
        UserError: the file is not a checkpoint, or damaged.
    """
    try:
        open_pickle(file, trust=False)
    except Distrusted as error:
        return str(error)
    except UserError as error:
        copies = f"{file} and {stored}" if stored.is_file() else str(file)
        raise UserError(f"{error}: remove {copies}, then run again") from error
    return None
