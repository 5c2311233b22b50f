"""Open files written by torch.save without running code from them."""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in

SUFFIXES = (".pt", ".pth", ".ckpt")
# How torch's messages begin when it refuses a part of a pickle: in general, and for modules such as os.
REFUSALS = re.compile("WeightsUnpickler error:|Trying to load")


class Distrusted(UserError):
    """A pickle that runs code when it is loaded, without the user's permission."""

    def __init__(self, path: Path, error: BaseException):
        found = re.search(f"(?:{REFUSALS.pattern})" r"\s*(.+?)(?: by default\.|\.?\n|$)", str(error))
        super().__init__(
            f"{path} can run code when it is loaded (torch: {found[1] if found else error}). If you trust "
            "its source, say so: --trust on the command line, trust: true in encoder_conf"
        )


def open_pickle(path: Path, trust: bool) -> Any:
    """The content of a file written by torch.save; weights stay on disk until they are used.

    Raises:
        Distrusted: the file runs code, and ``trust`` is false.
        UserError: the file is damaged, or not a checkpoint.
    """
    refuse_stand_in(path)
    with path.open("rb") as file:
        head = file.read(16)
    is_zip = head[:4] == b"PK\x03\x04"  # the older format cannot be memory-mapped
    try:
        if not is_zip and head[:1] != pickle.PROTO:
            raise ValueError(f"it begins with {head!r}")  # torch would call a web page an unsafe pickle
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=not trust, mmap=is_zip)
    except Exception as error:  # torch may raise anything for a file of another kind
        if runs_code(error):
            raise Distrusted(path, error) from error
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise UserError(f"{path} is damaged or not a checkpoint ({reason})") from error


def runs_code(error: BaseException) -> bool:
    """Whether torch refused a pickle because loading it would run code from it."""
    return isinstance(error, pickle.UnpicklingError) and bool(REFUSALS.search(str(error)))
