"""Find the files of the upstream that a name or a path stands for, offline and without loading it."""

import difflib
import functools
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file, refuse_stand_in
from espnet_wsm.upstream.conversion_record import (
    ANEW,
    BLOCKS_FILE,
    CONVERTED_FILE,
    CONVERTING_FILE,
    Conversion,
    read_conversion,
)
from espnet_wsm.upstream.families.contract import FamilyContract, FileFamily
from espnet_wsm.upstream.families.hf import GENERIC, SETTINGS, WEIGHTS, HfFamily
from espnet_wsm.upstream.families.registry import (
    FAMILIES,
    explain_refusal,
    find_family,
    find_model_family,
    is_name,
    is_refused,
)
from espnet_wsm.upstream.fetching.s3prl_names import PATH_SUFFIXES, find_stored, list_names
from espnet_wsm.upstream.fetching.wheels import read_sources
from espnet_wsm.upstream.record import MARKER_FILE, RECORD_FILE, advise_anew, default_folder, read_record
from espnet_wsm.upstream.weights.pickles import SUFFIXES, open_pickle
from espnet_wsm.upstream.weights.whisper import CTRANSLATE2_FILE

# The files that define a model of transformers: those that are fetched, and the shards of old pickles.
MODEL_FILES = (*SETTINGS, *WEIGHTS, "pytorch_model*.bin")


@dataclass(frozen=True)
class Checkpoint:
    """An upstream on this machine.

    Args:
        name: S3PRL's name for the upstream, or for the loader if the checkpoint is the user's own.
        family: its contract.
        files: the files that make up the model.
        conversion: what has the place of its attention, in an upstream of ``espnet-wsm convert``.
        parent: the upstream that this one was made of.
    """

    name: str
    family: FamilyContract
    files: tuple[Path, ...]
    conversion: Conversion | None = None
    parent: "Checkpoint | None" = None

    @property
    def weights(self) -> tuple[Path, ...]:
        """The files that the family reads."""
        return self.files if self.parent is None else self.parent.files

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the files, 32 digits. Names count only where files refer to each other by name."""
        digest = hashlib.sha256()
        if self.parent is not None:
            digest.update(self.parent.digest.encode())
        of_transformers = any(file.name == "config.json" for file in self.files)
        for file in self.files:
            stat = file.stat()
            name = file.name if of_transformers else ""
            digest.update(f"{name}:{stat.st_size}:".encode())
            digest.update(_digest_file(file, stat.st_size, stat.st_mtime_ns))
        return digest.hexdigest()[:32]

    @property
    def place(self) -> Path:
        """The file, or the directory if there are several."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent

    def __str__(self) -> str:
        return f"{self.name} (digest {self.digest[:12]})"


@functools.lru_cache(maxsize=64)  # a gigabyte takes a second, and each file is digested several times
def _digest_file(file: Path, _size: int, _mtime_ns: int) -> bytes:
    return bytes.fromhex(digest_file(file))


def find_checkpoint(upstream: str, trust: bool = False) -> Checkpoint:
    """The checkpoint that a name or a path stands for. Nothing is downloaded.

    Args:
        upstream: a file or a directory; or S3PRL's name for an upstream that S3PRL has already downloaded.
        trust: whether a file may be opened in a way that can run code from it.

    Raises:
        UserError: it is not on this machine (the message has the command that fetches it), not supported, or
            not a checkpoint.
    """
    path = Path(locate(upstream))
    if path.is_dir() or path.is_file():
        return _refuse_stand_ins(
            _find_in_directory(path, trust) if path.is_dir() else _find_file(path, trust)
        )
    if "/" in upstream or "\\" in upstream or path.suffix:
        remedy = ""
        if upstream.count("/") == 1 and not upstream.startswith((".", "/")):
            remedy = f"; if it is an id of the Hugging Face hub: {_fetch_command(upstream)}"
        raise UserError(f"upstream {upstream} is neither a file nor a directory{remedy}")
    return _refuse_stand_ins(_find_named(upstream))


def _refuse_stand_ins(checkpoint: Checkpoint) -> Checkpoint:
    for file in checkpoint.files:
        refuse_stand_in(file)
    return checkpoint


def locate(upstream: str) -> str:
    """The path of an upstream, always with a slash, which tells it from a name; else the name as given.

    For a name, this is the folder that ``fetch_upstream`` made for it in the working directory, if there is
    one.
    """
    if Path(upstream).exists():
        return upstream if "/" in upstream else f"./{upstream}"
    folder = default_folder(upstream)
    return str(folder) if (folder / RECORD_FILE).is_file() else upstream


def _find_named(name: str) -> Checkpoint:
    if name in read_sources():
        raise UserError(f"upstream {name} is not on this machine: {_fetch_command(name)}")
    if not (is_name(name) or is_refused(name)) and name not in (names := list_names()):
        similar = ", ".join(difflib.get_close_matches(name, [*read_sources(), *names]))
        raise UserError(
            f"there is no file, directory or S3PRL upstream {name!r}{similar and f'; similar are {similar}'}"
        )
    family = find_family(name)
    if name.endswith(PATH_SUFFIXES):
        raise UserError(
            f"{name} is a loader for your own checkpoint: give the path of the checkpoint as the upstream, "
            f"{family.form}"
        )
    try:
        files = find_stored(name)
    except OSError as error:  # S3PRL creates its folder when asked for its path
        raise UserError(f"upstream {name}: S3PRL's folder of downloads cannot be used: {error}") from error
    if not all(file.is_file() for file in files):
        raise UserError(f"upstream {name} is not on this machine: {_fetch_command(name)}")
    return Checkpoint(name, family, files)


def _fetch_command(name: str, folder: Path | None = None) -> str:
    folder = default_folder(name) if folder is None else folder
    return (
        f"run '{sys.executable} -m espnet_wsm.bin.fetch_upstream {name} --to {folder}' where there is a "
        f"network, then give {folder} as the upstream"
    )


def _find_in_directory(directory: Path, trust: bool) -> Checkpoint:
    if (directory / MARKER_FILE).is_file():
        name = (directory / MARKER_FILE).read_text(encoding="utf-8").strip()
        raise UserError(f"{directory} is unfinished: {_fetch_command(name, directory)}")
    if (directory / CONVERTED_FILE).is_file():
        return _find_converted(directory, trust)
    if (directory / CONVERTING_FILE).is_file():
        raise UserError(f"{directory} is unfinished: run the same `espnet-wsm convert` again, which goes on")
    if (directory / RECORD_FILE).is_file():
        return _find_recorded(directory)
    if (directory / CTRANSLATE2_FILE).is_file():
        return _find_file(directory / CTRANSLATE2_FILE, trust)
    if (directory / "config.json").is_file():
        return _find_transformers(directory)
    if (directory / "config.yaml").is_file():
        return _find_experiment(directory)
    pickles = [file for file in sorted(directory.iterdir()) if file.suffix in SUFFIXES]
    if len(pickles) == 1:
        return _find_file(pickles[0], trust)
    raise UserError(
        f"{directory} holds no checkpoint: expected config.json (written by save_pretrained), config.yaml "
        f"with a .pth (an ESPnet experiment), or one .pt file; found {len(pickles)} files of that kind"
    )


def _find_converted(directory: Path, trust: bool) -> Checkpoint:
    conversion = read_conversion(directory)
    try:
        parent = find_checkpoint(conversion.locate_parent(directory), trust)
    except UserError as error:
        raise UserError(f"{directory} was made of another upstream, which it needs: {error}") from None
    conversion.check_parent(directory, parent.digest)
    files = (directory / BLOCKS_FILE, directory / CONVERTED_FILE)
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} is missing: {ANEW}")
    return Checkpoint(parent.name, parent.family, files, conversion, parent)


def _find_recorded(directory: Path) -> Checkpoint:
    record = _check_record(directory)
    if record["upstream"] == GENERIC:
        return _find_transformers(directory)
    files = tuple(directory / file for file in record["files"])
    return Checkpoint(record["upstream"], find_family(record["upstream"]), files)


def _check_record(directory: Path) -> dict[str, Any]:
    """Read the record of a directory, and refuse files that are not those it describes."""
    record = read_record(directory)
    for name, recorded in record["sha256"].items():
        file = directory / name
        if not file.is_file():
            raise UserError(f"{file} is missing: {advise_anew(directory, record)}")
        refuse_stand_in(file)
        stat = file.stat()
        found = _digest_file(file, stat.st_size, stat.st_mtime_ns).hex()
        if found != recorded:
            raise UserError(
                f"{file} is not the one that {RECORD_FILE} describes: its SHA-256 is {found[:12]}..., the "
                f"recorded one {str(recorded)[:12]}...: {advise_anew(directory, record)}"
            )
    return record


def _find_transformers(directory: Path) -> Checkpoint:
    family = find_model_family(directory)
    files = {file for pattern in MODEL_FILES for file in directory.glob(pattern)}
    if isinstance(family, HfFamily):  # others do not read it
        files.update(family.find_extractor(directory))
    if not any(file.suffix in (".safetensors", ".bin") for file in files):
        raise UserError(
            f"{directory} is not a checkpoint of {family.name}: it has no model.safetensors or "
            "pytorch_model.bin"
        )
    return Checkpoint(family.loader, family, tuple(sorted(files)))


def _find_experiment(directory: Path) -> Checkpoint:
    models = [model for model in sorted(directory.glob("*.pth")) if model.name != "checkpoint.pth"]
    if not models:
        raise UserError(f"{directory} holds a config.yaml but no .pth of a model beside it")
    preferred = [model for model in models if model.name == "valid.loss.ave.pth"] or models
    if len(preferred) > 1:
        names = ", ".join(model.name for model in models)
        raise UserError(f"{directory} holds {len(models)} models, {names}: name the one that is meant")
    return _pair_with_config(preferred[0])


def _pair_with_config(model: Path) -> Checkpoint:
    family = next(family for family in FAMILIES if family.name == "espnet_hubert")
    return Checkpoint(family.loader, family, (model, model.parent / "config.yaml"))


def _find_file(path: Path, trust: bool) -> Checkpoint:
    if (path.parent / RECORD_FILE).is_file():
        _check_record(path.parent)
    if path.suffix == ".pth" and (path.parent / "config.yaml").is_file():
        return _pair_with_config(path)
    if (path.parent / "config.json").is_file() and any(path.match(pattern) for pattern in MODEL_FILES):
        return _find_transformers(path.parent)
    if path.name == CTRANSLATE2_FILE:
        family = next(family for family in FAMILIES if family.name == "whisper")
        return Checkpoint(family.loader, family, (path,))
    stat = path.stat()
    loader = _recognise(path, trust, stat.st_size, stat.st_mtime_ns)
    return Checkpoint(loader, find_family(loader), (path,))


@functools.lru_cache(maxsize=64)
def _recognise(path: Path, trust: bool, _size: int, _mtime_ns: int) -> str:
    """S3PRL's name for the loader of a file."""
    content = open_pickle(path, trust)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} is not a checkpoint: it holds a {type(content).__name__}")
    model_cfg = content.get("model_cfg") or {}
    for refused, fits in {
        "multires_hubert": "label_rate_ratios" in model_cfg,
        "wav2vec2_conformer": str(model_cfg.get("layer_type")) == "conformer",
    }.items():
        if fits:
            raise UserError(f"{path} holds a {refused} model, which is {explain_refusal(refused)}")
    for family in FAMILIES:
        if isinstance(family, FileFamily) and family.recognise(content):
            return family.loader
    keys = ", ".join(sorted(str(key) for key in content)[:8])
    if {"model"} <= content.keys() and ({"cfg"} <= content.keys() or {"args"} <= content.keys()):
        raise UserError(
            f"{path} is fairseq's own checkpoint (keys {keys}): convert it where fairseq is installed, with "
            "'python -m s3prl.upstream.FAMILY.convert FILE --output_dir DIR', FAMILY being wav2vec2, "
            "hubert or data2vec"
        )
    raise UserError(
        f"{path} is not a checkpoint of any supported family: its keys are {keys}, expected task_cfg, "
        "model_cfg and model_weight, or cfg and model, or Config and Distiller, or dims and model_state_dict"
    )
