"""What makes a folder a converted upstream: the record of its blocks, and of the upstream it was made of."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

CONVERTED_FILE, BLOCKS_FILE = "converted.json", "blocks.safetensors"
CONVERTING_FILE = "plan.json"  # what is under way in a folder
# Incremented when the same record would build other blocks.
VERSION = 1
ANEW = "make the upstream again with `espnet-wsm convert`"


@dataclass(frozen=True)
class Conversion:
    """What a converted upstream holds beside the weights of its blocks.

    Args:
        parent: the upstream that it was made of: a path, relative to the folder, or S3PRL's name.
        digest: of the parent.
        layers: numbers of the layers that have blocks, from the lowest, 1 = the lowest of the upstream.
        blocks: the fields of WsmConfig that shape them, windows for each layer.
        shape: of a layer of the parent, as its contract's ``describe_layers`` has it: some of that is read
            off the attention, which may have gone from all layers.
        about: how it was made and what came of it.
        positions: whether the convolution that gives positions below the layers is still there.
    """

    parent: str
    digest: str
    layers: tuple[int, ...]
    blocks: Mapping[str, Any]
    shape: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    positions: bool = True

    def describe(self) -> dict[str, Any]:
        """What the blocks depend on, in a form that JSON can hold; :meth:`read` takes it."""
        own = {name: getattr(self, name) for name in ("parent", "digest", "layers", "blocks")}
        return {"version": VERSION, **own} | ({} if self.positions else {"positions": False})

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Conversion":
        """From the result of :meth:`describe`.

        Raises:
            ValueError: it is of another version.
            TypeError: it has other fields.
        """
        content = dict(content)
        if (version := content.pop("version", None)) != VERSION:
            raise ValueError(f"its version is {version}, {VERSION} is expected")
        return cls(**content | {"layers": tuple(content["layers"])})

    def locate_parent(self, folder: Path) -> str:
        """The path or the name of the parent of the upstream in ``folder``."""
        place = folder / self.parent
        return os.path.normpath(place) if place.exists() else self.parent

    def check_parent(self, folder: Path, digest: str) -> None:
        """Refuse another parent than the one that was converted.

        Args:
            folder: of the converted upstream.
            digest: of what is where its parent was.

        Raises:
            UserError: they differ.
        """
        if digest != self.digest:
            raise UserError(
                f"{folder} was made of an upstream with the digest {self.digest[:12]}, but "
                f"{self.locate_parent(folder)} has {digest[:12]}: put that one back, or {ANEW}"
            )

    def write(self, folder: Path) -> None:
        """Write the file."""
        content = {"version": VERSION, **asdict(self)}
        write_text(folder / CONVERTED_FILE, json.dumps(content, indent=1).split("\n"))


def read_conversion(folder: Path) -> Conversion:
    """The record of a converted upstream.

    Raises:
        UserError: it is damaged.
    """
    path = folder / CONVERTED_FILE
    try:
        return Conversion.read(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): {ANEW}") from error
