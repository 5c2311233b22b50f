"""Which recordings a command line names, and which files their annotations go to."""

import argparse
import glob
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet_wsm.annotations import FORMATS, Recording, write_annotations
from espnet_wsm.data.audio.media import MEDIA_SUFFIXES, find_ffmpeg, is_media
from espnet_wsm.data.corpora.trees import is_of_mac
from espnet_wsm.errors import UserError

# What is taken from a folder; by its name, any file is.
SUFFIXES = frozenset(".wav .flac .mp3 .ogg .oga .opus .sph .aiff .aif .aifc .au .w64 .rf64 .caf".split())
# Other formats may not write over each other's files: this one is .txt like plain text.
ENDINGS = {name: one.suffix for name, one in FORMATS.items() if one.write} | {"audacity": ".audacity.txt"}


def list_recordings(names: Iterable[str]) -> list[str]:
    """The files that the arguments of a command mean, in their order, each once.

    A folder stands for the audio files in it and below it, ``-`` for the names on the lines of standard
    input, and a pattern that is no file for what it matches.

    Raises:
        UserError: a folder or pattern without audio, or no name at all.
    """
    found: list[str] = []
    for name in names:
        if name == "-":
            found += [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
        elif Path(name).is_dir():
            found += _list_folder(Path(name))
        elif glob.has_magic(name) and not Path(name).exists():
            matching = sorted(glob.glob(name, recursive=True))
            if not matching:
                raise UserError(f"{name} matches no file: correct the pattern")
            found += [path for path in matching if not Path(path).is_dir()]
        else:
            found.append(name)
    if not found:
        raise UserError("no file is named on standard input: write one on each line")
    return list(dict.fromkeys(found))


def _list_folder(folder: Path) -> list[str]:
    """The audio in a folder and below it, and media files without audio of the same name beside them."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not is_of_mac(path)]
    audio = [path for path in files if path.suffix.lower() in SUFFIXES]
    stems = {path.with_suffix("") for path in audio}
    media = [path for path in files if is_media(path) and path.with_suffix("") not in stems]
    if media and find_ffmpeg() is None:
        named = f"{len(media)} media {'file' if len(media) == 1 else 'files'} (mp4, m4a, ...)"
        remedy = "install ffmpeg (Debian: apt-get install ffmpeg)"
        if not audio:
            raise UserError(f"{folder} holds no audio that libsndfile reads, but {named}: {remedy}")
        print(f"warning: {named} in {folder} left out: {remedy}", file=sys.stderr)
        media = []
    if not audio and not media:
        known = ", ".join(sorted(SUFFIXES | MEDIA_SUFFIXES))
        raise UserError(f"{folder} holds no audio ({known}): name files with other suffixes one by one")
    return [str(path) for path in sorted([*audio, *media])]


def add_output_arguments(parser: argparse._ActionsContainer, tier: str) -> None:
    """Which files are written for a recording, and where; ``tier`` is the default name."""
    parser.add_argument(
        "--format", choices=ENDINGS, nargs="+", metavar="FORMAT", help=f"some of {', '.join(ENDINGS)}"
    )
    parser.add_argument("--out_dir", type=Path, help="folder for the files (default: beside the recording)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--tier", default=tier, help=f"name of the tier (default: {tier})")


def check_out_dir(folder: Path | None) -> None:
    """Raise UserError if ``--out_dir`` is a file."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UserError(f"--out_dir {folder} is a file: name a folder")


class Outputs:
    """The files that are written for each recording.

    Args:
        formats: names of ``FORMATS``.
        folder: where they go; None = beside the recording.
        overwrite: whether they may replace what is there.
        keep: whether what is there is left as it is.
    """

    def __init__(
        self, formats: Sequence[str], folder: Path | None, overwrite: bool = False, keep: bool = False
    ):
        self.formats, self.folder = list(dict.fromkeys(formats)), folder
        self.overwrite, self.keep = overwrite, keep

    def of(self, recording: str) -> dict[str, Path]:
        """Format -> file of a recording."""
        folder = Path(recording).parent if self.folder is None else self.folder
        stem = Path(recording).stem
        return {name: folder / f"{stem}{ENDINGS[name]}" for name in self.formats}

    def are_there(self, recording: str) -> bool:
        """Whether nothing is left to be done for a recording."""
        return all(path.exists() for path in self.of(recording).values())

    def check(self, recordings: Sequence[str]) -> None:
        """Raise UserError where two recordings would write one file, or one would write over another file."""
        check_out_dir(self.folder)
        taken: dict[Path, str] = {}
        for recording in recordings:
            for path in self.of(recording).values():
                if path in taken and taken[path] != recording:
                    raise UserError(
                        f"{taken[path]} and {recording} would both be written to {path}: rename one, or name "
                        "another --out_dir for it"
                    )
                taken[path] = recording
                if path.exists() and not self.overwrite and not self.keep:
                    raise UserError(
                        f"{path} is there already: --overwrite replaces it, --skip_existing leaves out "
                        f"{recording}, or name another --out_dir"
                    )

    def write(self, recording: str, annotations: Recording) -> None:
        """Write the files of a recording."""
        for name, path in self.of(recording).items():
            if not (self.keep and path.exists()):
                write_annotations(annotations, path, name, overwrite=self.overwrite)
