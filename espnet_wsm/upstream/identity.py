"""Which upstream is it? A digest of the checkpoint's files, or of the weights where S3PRL keeps the file."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from espnet_wsm.errors import UserError

# What defines a model in a directory of Hugging Face's; a README or our description does not.
MODEL_FILES = (
    "config.json",
    "preprocessor_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
)


@dataclass(frozen=True)
class UpstreamIdentity:
    """S3PRL's name of an upstream and the digest of its checkpoint, 32 hexadecimal digits."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} (digest {self.digest[:12]})"


def digest_checkpoint(path: Path) -> str:
    """SHA-256 of a checkpoint file, or of the names and contents of the model files in a directory.

    Raises:
        UserError: nothing is there.
    """
    path = Path(path)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted({file for pattern in MODEL_FILES for file in path.glob(pattern)})
    else:
        raise UserError(f"upstream path {path} does not exist")
    digest = hashlib.sha256()
    for file in files:
        # A file may be renamed; in a directory the names say what is what.
        stat = file.stat()
        digest.update(f"{file.name if path.is_dir() else ''}:{stat.st_size}:".encode())
        digest.update(_digest_file(file, stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()[:32]


@functools.lru_cache(maxsize=64)  # a gigabyte takes a second, and is asked for several times
def _digest_file(file: Path, _size: int, _mtime_ns: int) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def identify_upstream(name: str, path: str | None, expert: nn.Module) -> UpstreamIdentity:
    """The identity of a loaded upstream, before any surgery.

    Args:
        name: S3PRL's name.
        path: its checkpoint; None for upstreams that S3PRL fetches, whose loaded weights are digested.
        expert: the loaded upstream.
    """
    return UpstreamIdentity(name, digest_checkpoint(Path(path)) if path else _digest_weights(expert))


def _digest_weights(expert: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(expert.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]
