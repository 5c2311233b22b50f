"""The audio of annotations on this machine, whatever path they name: most were made on another one."""

import glob
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from espnet_wsm.annotations.eaf import find_media
from espnet_wsm.data.corpora.trees import is_of_mac
from espnet_wsm.errors import UserError

# What libsndfile reads; of two files of one name the first of these, as it lost nothing.
SUFFIXES = (".wav", ".flac", ".aif", ".aiff", ".au", ".sph", ".w64", ".opus", ".ogg", ".oga", ".mp3")
# From the folder of the annotations.
FOLDERS = ("", "audio", "wav", "wavs", "clips", "media", "../audio", "../wav", "../wavs", "../media")


class AudioSearch:
    """Looks for audio by name, in folders that are listed once.

    Args:
        folder: where to look first, with the folders in it; may have ``?`` for blanks, which --data_args
            of run.sh cannot hold. None: only beside the annotations.

    Raises:
        UserError: ``folder`` is none.
    """

    def __init__(self, folder: Path | None = None):
        if folder is not None and not folder.is_dir() and len(matching := glob.glob(str(folder))) == 1:
            folder = Path(matching[0])
        if folder is not None and not folder.is_dir():
            raise UserError(f"--audio {folder} is not a folder: name the one that holds the recordings")
        self.folder = folder
        self.listings: dict[tuple[Path, bool], dict[str, list[Path]]] = {}
        self.several: list[str] = []

    def find(self, file: Path, stored: str | None, alone: bool = True) -> Path | None:
        """The audio of the annotations ``file``, which name it ``stored``; None if it is not found.

        By the path that is stored, then by its name, with another suffix too, then, if they are of that
        recording ``alone``, by that of ``file``; in the folder that was given, beside ``file``, and in a
        folder of audio there. Case does not matter. Where an .eaf names several, the first one is taken and
        ``several`` says so.

        Raises:
            UserError: there are several files of that name.
        """
        name = PurePosixPath((stored or "").replace("\\", "/")).name
        if file.suffix.lower() == ".eaf":
            media = [path for path in find_media(file) if path.suffix.lower() in SUFFIXES]
            if len(media) > 1:
                others = ", ".join(path.name for path in media[1:])
                self.several.append(f"{file} names {media[0].name}, which is taken, and {others}")
            if media and self.folder is None:
                return media[0]
        elif stored and self.folder is None:
            direct = file.parent / stored
            if direct.is_file() and direct.suffix.lower() in SUFFIXES:
                return direct
        for wanted in _list_names(name, file.stem if alone else ""):
            if self.folder is not None and (found := self._look(self.folder, wanted, deep=True)):
                return found
            for folder in FOLDERS:
                if found := self._look(file.parent / folder, wanted, deep=False):
                    return found
        return None

    def _look(self, folder: Path, name: str, deep: bool) -> Path | None:
        if (folder, deep) not in self.listings:
            self.listings[folder, deep] = _list_audio(folder, deep)
        found = self.listings[folder, deep].get(name, [])
        if len(found) > 1:
            raise UserError(
                f"{found[0]} and {found[1]} have one name, and annotations name no folder: name the one of "
                "the two that is meant by --audio, or rename one"
            )
        return found[0] if found else None


def _list_names(stored: str, stem: str) -> Iterable[str]:
    """Names in lower case: as stored, with other suffixes, and as the file of the annotations is called."""
    names = [stored] if PurePosixPath(stored).suffix.lower() in SUFFIXES else []
    # What Label Studio puts before the name of an upload: eight digits and a hyphen.
    stems = [PurePosixPath(stored).stem, stored, *([stored[9:]] if stored[8:9] == "-" else []), stem]
    names += [each for each in stems if PurePosixPath(each).suffix.lower() in SUFFIXES]
    names += [each + suffix for each in stems if each for suffix in SUFFIXES]
    return dict.fromkeys(name.lower() for name in names)


def _list_audio(folder: Path, deep: bool) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    if folder.is_dir():
        for path in sorted(folder.rglob("*") if deep else folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and not is_of_mac(path) and path.is_file():
                found[path.name.lower()].append(path)
    return found
