"""What is wrong with an audio file before it is decoded: missing, empty, cut short, or no audio at all."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import soundfile

from espnet_wsm.data.audio.extents import MOST_MISSING, CorrectedFile, Extent, find_extent
from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in

LONGEST_OGG_PAGE = 27 + 255 + 255 * 255  # bytes: header, sizes of the segments, segments
OGG_END = (
    4  # flag of the last page. Who records a stream leaves whole pages without it, a broken copy half a page.
)
UNKNOWN_LENGTH = 2**62  # libsndfile says 2**63 - 1 frames for a flac without a length


def find_archive_entry(audio: Path | str) -> tuple[Path, int] | None:
    """(archive, byte offset) of a Kaldi ``FILE.ark:OFFSET``, None for a plain file."""
    match = re.fullmatch(r"(.+):(\d+)", str(audio))
    if match is None or Path(audio).exists():
        return None
    return Path(match[1]), int(match[2])


def is_pipe(audio: Path | str) -> bool:
    """Whether ``audio`` is a command that writes audio, in Kaldi's form ``COMMAND |``."""
    return str(audio).endswith("|")


def refuse_pipe(audio: Path | str) -> UserError:
    """The error for a command where commands are not allowed."""
    return UserError(
        f"audio {str(audio)!r} is a command, not a file: convert the audio first and name the result, or, "
        "if you trust these commands, let them run (--allow_pipes true)"
    )


def check_audio_exists(audio: Path | str) -> None:
    """Raise UserError if the file (or archive) of ``audio`` is missing, not a file, or has no bytes."""
    entry = find_archive_entry(audio)
    path, offset = entry or (Path(audio), 0)
    if not path.exists():
        raise UserError(f"{audio} does not exist: correct the path (it is relative to the working directory)")
    if not path.is_file():
        raise UserError(f"{audio} is not a file: name the audio file itself")
    if path.stat().st_size == 0:
        raise UserError(f"{audio} is empty (0 bytes): fetch it again or leave the utterance out")
    if offset >= path.stat().st_size:
        raise UserError(
            f"{audio} is beyond the end of the archive, of {path.stat().st_size} bytes: write it again"
        )


def truncated(audio: Path | str, detail: str) -> UserError:
    """The error for audio that is shorter than it should be."""
    return UserError(f"{audio} is truncated or damaged ({detail}): fetch it again or leave the utterance out")


def undecodable(audio: Path | str, detail: object) -> UserError:
    """The error for what cannot be decoded."""
    reason = re.sub(r"^Error opening (b['\"].*['\"]|<.*>): ", "", str(detail).strip().rstrip("."))
    return UserError(
        f"{audio} is not audio that can be read ({reason}): convert it to wav or flac "
        "(Shorten-compressed .sph: sph2pipe) or leave the utterance out"
    )


def _find_last_ogg_page(path: Path) -> bytes | None:
    """The last page of an Ogg file, None if the file ends inside it, which libsndfile does not notice."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_OGG_PAGE))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    sizes = page[27 : 27 + page[26]] if len(page) > 26 else b""  # RFC 3533, section 6
    if not sizes or len(sizes) < page[26] or len(page) < 27 + len(sizes) + sum(sizes):
        return None
    return page


@dataclass(frozen=True)
class FileHeader:
    """What a file says of itself.

    Args:
        frames: samples of each channel; None = only decoding can tell.
        rate: in Hz.
        channels: how many.
        subtype: how the samples are stored, in libsndfile's terms.
        miscount: how the header is wrong about the length of audio that is whole nevertheless, else empty.
    """

    frames: int | None
    rate: int
    channels: int
    subtype: str
    miscount: str


class ForwardFile(soundfile.SoundFile):
    """A file in which soundfile must not seek."""

    def seekable(self) -> bool:
        """False: soundfile then neither seeks nor asks where the end is."""
        return False


def _open(path: Path, extent: Extent | None, kind: type[soundfile.SoundFile]) -> soundfile.SoundFile:
    correction = extent.find_correction() if extent else None
    # soundfile itself cannot encode a name that is not UTF-8
    name = CorrectedFile(path, correction) if correction else os.fsencode(path)
    try:
        return kind(name)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:  # TypeError: .raw, without a header
        refuse_stand_in(path)
        raise undecodable(path, error) from None


def _compare(path: Path, file: soundfile.SoundFile, extent: Extent | None) -> str:
    """How the header is wrong, empty if it is not; raises UserError if audio is missing."""
    if file.format == "OGG":
        page = _find_last_ogg_page(path)
        if page is None:
            raise truncated(path, "the Ogg stream ended unexpectedly")
        return "" if page[5] & OGG_END else "the Ogg stream has no end"
    if extent and extent.is_open and extent.actual:
        return "the header does not say how long it is"
    if extent and extent.claimed > extent.actual:
        seconds = file.frames / file.samplerate  # of what is there
        missing = extent.claimed - extent.actual
        if missing * seconds > MOST_MISSING * extent.actual or not extent.actual:
            counts = f"the header claims {extent.claimed} bytes of samples and there are {extent.actual}"
            raise truncated(path, counts)
        return "the header claims a little more than there is"
    return "the header does not say how long it is" if file.frames >= UNKNOWN_LENGTH else ""


def open_file(path: Path) -> tuple[soundfile.SoundFile, FileHeader]:
    """An open file, and its header, checked for faults; where its size is wrong, the right one is read."""
    extent = find_extent(path)
    file = _open(path, extent, soundfile.SoundFile)
    try:
        miscount = _compare(path, file, extent)
    except UserError:
        file.close()
        raise
    known = file.frames < UNKNOWN_LENGTH
    if not known:
        file.close()
        file = _open(path, extent, ForwardFile)
    frames = file.frames if known else None
    return file, FileHeader(frames, file.samplerate, file.channels, file.subtype, miscount)
