"""The media that an .eaf names, and where they are on this machine."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from espnet_wsm.annotations.xml_document import Element, read_document
from espnet_wsm.errors import UserError

_AUDIO = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aif", ".aiff", ".au", ".sph"}


@dataclass(frozen=True)
class Medium:
    """A MEDIA_DESCRIPTOR.

    Args:
        url: MEDIA_URL, mostly ``file:///`` and the path on the machine where the file was made.
        relative: RELATIVE_MEDIA_URL, a path from the folder of the .eaf; empty if there is none.
        mime_type: ``audio/x-wav``.
        origin: milliseconds of the medium that annotations count from (TIME_ORIGIN).
    """

    url: str
    relative: str
    mime_type: str
    origin: int

    @property
    def path(self) -> str:
        """The path, the relative one if there is one, with slashes."""
        relative = re.sub(r"^(?:file:/*(?=\.))?(?:\./)*", "", self.relative.replace("\\", "/"))
        if relative:
            return relative
        if not self.url.startswith("file:"):
            return self.url.replace("\\", "/")
        path = unquote(re.sub("^file:(?://)?", "", self.url))
        return re.sub("^/+(?=[A-Za-z]:)", "", re.sub("^/+", "/", path))

    @property
    def is_audio(self) -> bool:
        """Whether it is audio alone."""
        return self.mime_type.startswith("audio/") or PurePosixPath(self.path).suffix.lower() in _AUDIO


def list_media(root: Element) -> list[Medium]:
    """The media of a document, audio first, else in its order."""
    media = []
    for header in root.find_all("HEADER"):
        for descriptor in header.find_all("MEDIA_DESCRIPTOR"):
            get = descriptor.attributes.get
            origin = get("TIME_ORIGIN", "0")
            media.append(
                Medium(
                    get("MEDIA_URL", ""),
                    get("RELATIVE_MEDIA_URL", ""),
                    get("MIME_TYPE", ""),
                    int(origin) if re.fullmatch(r"-?\d{1,12}", origin) else 0,
                )
            )
        if not media and (file := header.attributes.get("MEDIA_FILE")):
            media.append(Medium(file, "", "", 0))
    return sorted((one for one in media if one.path), key=lambda one: not one.is_audio)


def find_media(path: Path) -> list[Path]:
    """The media of an .eaf that are on this machine, audio before video, each once.

    Each is looked for by its relative path, by its path, and by its name beside the .eaf.

    Raises:
        UserError: the .eaf cannot be read; several media begin at different times (TIME_ORIGIN), and the
            first one, from whose beginning annotations are read, is not here.
    """
    media = list_media(read_document(path).root)
    found = []
    for medium in media:
        name = PurePosixPath(medium.path).name
        for candidate in (
            path.parent / medium.path,
            Path(Medium(medium.url, "", "", 0).path or name),
            path.parent / name,
        ):
            if candidate.is_file():
                if not found and medium.origin != media[0].origin:
                    raise UserError(
                        f"{path} counts times from another place in {name} than in {media[0].path}, which is "
                        "not here: put that beside it"
                    )
                found.append(candidate)
                break
    return list(dict.fromkeys(found))


def find_origin(path: Path) -> int:
    """Milliseconds of the audio at which the times of an .eaf begin (TIME_ORIGIN).

    Raises:
        UserError: the .eaf cannot be read.
    """
    media = list_media(read_document(path).root)
    return media[0].origin if media else 0
