"""How a file is read: by libsndfile, or by ffmpeg what that cannot; its header, checked for faults."""

import os
from dataclasses import dataclass
from pathlib import Path

import soundfile

from espnet_wsm.data.audio.extents import MOST_MISSING, CorrectedFile, Extent, find_extent
from espnet_wsm.data.audio.faults import check_audio_exists, truncated, undecodable
from espnet_wsm.data.audio.media import MediaFile, find_ffmpeg, is_media
from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in

LONGEST_OGG_PAGE = 27 + 255 + 255 * 255  # bytes: header, sizes of the segments, segments
# Flag of the last page. Who records a stream leaves whole pages without it, a broken copy half a page.
OGG_END = 4
UNKNOWN_LENGTH = 2**62  # libsndfile says 2**63 - 1 frames for a flac without a length
NOT_RECOGNISED, NOT_SUPPORTED = 1, 4  # libsndfile's codes of errors


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


def _open(
    path: Path, extent: Extent | None, kind: type[soundfile.SoundFile]
) -> soundfile.SoundFile | MediaFile:
    correction = extent.find_correction() if extent else None
    # soundfile itself cannot encode a name that is not UTF-8
    name = CorrectedFile(path, correction) if correction else os.fsencode(path)
    try:
        return kind(name)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:  # TypeError: .raw, without a header
        refuse_stand_in(path)
        return _open_otherwise(path, error)


def _open_otherwise(path: Path, fault: Exception) -> MediaFile:
    """What libsndfile refuses, by ffmpeg; raises UserError if that is not there, or refuses it too."""
    if find_ffmpeg() is None and is_media(path):
        raise UserError(
            f"{path} is not audio that libsndfile reads; with ffmpeg installed (Debian: apt-get install "
            "ffmpeg) the sound of videos and of m4a, aac, amr, wma, ... is read too"
        ) from None
    foreign = isinstance(fault, soundfile.LibsndfileError) and fault.code in (NOT_RECOGNISED, NOT_SUPPORTED)
    if find_ffmpeg() is None or not foreign:
        raise undecodable(path, fault) from None
    try:
        return MediaFile(path)
    except UserError:
        if is_media(path):
            raise
        raise undecodable(path, fault) from None


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


def open_file(path: Path) -> tuple[soundfile.SoundFile | MediaFile, FileHeader]:
    """An open file, and its header, checked for faults; where its size is wrong, the right one is read.

    Raises UserError if the file is cut short, or is no audio that can be read.
    """
    extent = find_extent(path)
    file = _open(path, extent, soundfile.SoundFile)
    if isinstance(file, MediaFile):
        return file, FileHeader(None, file.samplerate, file.channels, file.subtype, "")
    try:
        miscount = _compare(path, file, extent)
    except UserError:
        file.close()
        raise
    frames = file.frames if file.frames < UNKNOWN_LENGTH else None
    header = FileHeader(frames, file.samplerate, file.channels, file.subtype, miscount)
    if frames is None:
        file.close()
        file = _open(path, extent, ForwardFile)
    return file, header


def find_seconds(path: Path | str) -> float | None:
    """How long a file is by its header; None where that does not say it, or the file is at fault."""
    if is_media(path):
        return None
    try:
        check_audio_exists(path)  # a pipe would wait for its writer
        file, header = open_file(Path(path))
    except (UserError, OSError, ValueError):
        return None
    with file:
        return None if header.frames is None else header.frames / header.rate
