"""Download a file that is complete or not there; what a transfer has left is taken up by the next."""

import os
import re
import sys
import time
from pathlib import Path, PurePosixPath

import requests
from tqdm import tqdm

from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file

BUSY = (408, 429, 500, 502, 503, 504)  # HTTP statuses that are worth another attempt
PAUSES_S = (1.0, 3.0, 9.0)  # before the second, third and fourth attempt
TIMEOUT_S = (10.0, 60.0)  # to connect, and between two chunks
PIECE_BYTES = 1 << 20  # the most that is lost when a transfer is cut off
GO_ONLINE = "run this on a machine with network, behind a proxy with https_proxy set, or again later"


def download_file(url: str, file: Path) -> None:
    """Download ``url`` to a temporary file beside ``file`` and rename it when it is complete."""
    # By hand: huggingface_hub 2, pooch and torch.hub throw a partial file away when their call ends, and
    # S3PRL takes a truncated transfer for a complete file.
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
