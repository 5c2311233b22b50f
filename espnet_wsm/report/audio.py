"""How a page gets at its audio: in itself, in a folder beside it, or where the dump has it."""

import base64
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from espnet_wsm.data.kaldi.lists import count, name_some, replace_directory
from espnet_wsm.errors import UserError

PLACES = {
    "auto": "embed up to 6 MB, about 5 minutes, beside for more",
    "embed": "in the page itself, which grows by about 1.6 MB a minute",
    "beside": "copied into a folder beside the page, NAME_audio",
    "link": "as relative links to the files of the dump, which have to stay where they are",
    "none": "no audio",
}
MOST_EMBEDDED = 6_000_000  # bytes of audio, which are a third more in the page
# What browsers play, with the types that data URIs need. Stage 2 writes flac.
TYPES = {".flac": "audio/flac", ".wav": "audio/wav", ".ogg": "audio/ogg", ".opus": "audio/ogg"}
TYPES |= {".oga": "audio/ogg", ".mp3": "audio/mpeg", ".m4a": "audio/mp4"}
COPY = re.compile(r"\d{5,}\.[a-z0-9]+")


@dataclass(frozen=True)
class Sounds:
    """Addresses of the audio, one an utterance (None where there is none), and what has to be said."""

    addresses: list[str | None]
    notes: tuple[str, ...]


def audio_folder(page: Path) -> Path:
    """The folder of ``--audio beside``."""
    return page.with_name(f"{page.stem}_audio")


def place_audio(
    entries: list[tuple[str, str, Path]], place: str, page: Path, overwrite: bool = False
) -> Sounds:
    """Give each utterance an address of its audio, and put the audio there.

    Args:
        entries: of each utterance its id, what wav.scp says and the dump's folder.
        place: key of ``PLACES``.
        page: the HTML file.
        overwrite: whether a folder of an earlier page may be replaced.

    Raises:
        UserError: the folder beside the page is there already, or is not one of ours.
    """
    if place == "none":
        return Sounds([None] * len(entries), ("The page was made without audio.",))
    files, faults = [], {}
    for id, named, dump in entries:
        try:
            files.append(_find_file(named, dump))
        except UserError as error:
            files.append(None)
            faults.setdefault(str(error), []).append(id)
    notes = tuple(
        f"The audio of {count(len(ids), 'utterance')} cannot be played, {why}: {name_some(ids)}."
        for why, ids in faults.items()
    )
    if place == "auto":
        total = sum(file.stat().st_size for file in files if file)
        place = "embed" if total <= MOST_EMBEDDED else "beside"
    if place == "beside":
        return Sounds(_copy(files, page, overwrite), notes)
    give = _embed if place == "embed" else lambda file: _link(file, page)
    return Sounds([file and give(file) for file in files], notes)


def _find_file(named: str, dump: Path) -> Path:
    """The file of an entry of wav.scp.

    Raises:
        UserError: why a browser cannot play it.
    """
    if named.endswith("|"):
        raise UserError("which is a command in wav.scp")
    if re.search(r"\.ark(:\d+)?$", named):
        raise UserError("which is in an archive")
    if not named:
        raise UserError("which wav.scp does not name")
    for base in list_bases(dump):
        if (file := base / named).is_file():
            if file.suffix.lower() not in TYPES:
                raise UserError(f"which browsers do not play ({file.suffix})")
            return file
    raise UserError("which is not where wav.scp says")


def list_bases(folder: Path) -> list[Path]:
    """Where a relative path in a file of a recipe may begin: the recipe's folder is some folder above.

    The current folder comes last, which may be that of another recipe.
    """
    return [*folder.absolute().parents, Path()]


def _embed(file: Path) -> str:
    return f"data:{TYPES[file.suffix.lower()]};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _link(file: Path, page: Path) -> str:
    # Not Path.resolve: a browser takes `..` off the page's address, whatever symbolic links there are.
    relative = os.path.relpath(os.path.abspath(file), os.path.abspath(page.parent))
    return quote(Path(relative).as_posix())


def _copy(files: list[Path | None], page: Path, overwrite: bool) -> list[str | None]:
    folder = audio_folder(page)
    check_folder(folder, overwrite)
    # Ids may hold anything, so the copies have numbers.
    names = [file and f"{number:05d}{file.suffix.lower()}" for number, file in enumerate(files, 1)]

    def fill(new: Path) -> None:
        for file, name in zip(files, names, strict=True):
            if file:
                shutil.copyfile(file, new / name)

    replace_directory(folder, fill)
    return [name and quote(f"{folder.name}/{name}") for name in names]


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise UserError if a folder of audio must not be replaced."""
    if not folder.exists():
        return
    if not overwrite:
        raise UserError(f"{folder} is there already: --overwrite replaces it, or name another --out")
    if not folder.is_dir() or any(not COPY.fullmatch(file.name) for file in folder.iterdir()):
        raise UserError(f"{folder} holds other things than a report's audio: name another --out")
