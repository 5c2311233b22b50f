"""What is wrong with an audio file before it is decoded: missing, empty, cut short, or no audio at all."""

import os
import re
from pathlib import Path

import soundfile

from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in

# A writer that cannot seek back (to a pipe) leaves a size of this or more in the header: not a truncation.
STREAMING_SIZE = 0x7FFFF000
LONGEST_OGG_PAGE = 27 + 255 + 255 * 255  # bytes: header, sizes of the segments, segments
UNKNOWN_LENGTH = 2**62  # libsndfile says 2**63 - 1 frames for a flac without a length, and cannot read it


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
    reason = str(detail).strip().rstrip(".").removeprefix(f"Error opening {os.fsencode(audio)!r}: ")
    return UserError(
        f"{audio} is not audio that can be read ({reason}): convert it to wav or flac "
        "(Shorten-compressed .sph: sph2pipe) or leave the utterance out"
    )


def _find_cut(extra_info: str) -> str | None:
    """How the file is shorter than its header claims, according to libsndfile's log; None if it is not.

    libsndfile decodes what is there without an error. If only the RIFF size is wrong (some writers count
    eight bytes too many), no audio is lost, and nothing is reported.
    """
    for name, claimed, actual in re.findall(
        r"^\s*(data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", extra_info, re.MULTILINE
    ):
        if int(actual) < int(claimed) < STREAMING_SIZE:
            return f"chunk '{name}' should have {claimed} bytes and has {actual}"
    match = re.search(
        r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)", extra_info
    )
    if match and int(match[1]) < int(match[2]):
        return f"it should have {match[2]} frames and has {match[1]}"
    if "ended unexpectedly" in extra_info or "lacks an end-of-stream bit" in extra_info:
        return "the Ogg stream ended unexpectedly"
    return None


def _find_ogg_cut(path: Path) -> str | None:
    """Whether the file ends inside its last Ogg page, which libsndfile silently drops."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_OGG_PAGE))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    sizes = page[27 : 27 + page[26]] if len(page) > 26 else b""  # RFC 3533, section 6
    if not sizes or len(sizes) < page[26] or len(page) < 27 + len(sizes) + sum(sizes):
        return "the Ogg stream ended unexpectedly"
    return None


def _find_sphere_cut(path: Path) -> str | None:
    """Compare the size in a NIST sphere header with that of the file, which libsndfile does not do."""
    with path.open("rb") as file:
        header = file.read(16)
        if not header.startswith(b"NIST_1A\n"):
            return None
        header += file.read(int(header[8:]) - len(header))  # libsndfile has read it, so it is a number
    fields = dict(re.findall(r"^(\w+) -\S+ (\S+)", header.decode("latin-1"), re.MULTILINE))
    try:
        claimed = int(fields["sample_count"]) * int(fields["channel_count"]) * int(fields["sample_n_bytes"])
    except (KeyError, ValueError):
        return None
    actual = path.stat().st_size - len(header)
    if actual < claimed:
        return f"the header claims {claimed} bytes of samples and there are {actual}"
    return None


def check_header(path: Path) -> soundfile._SoundFileInfo:
    """The header of a file, checked for faults."""
    name = os.fsencode(path)  # soundfile itself cannot encode a name that is not UTF-8
    try:
        info = soundfile.info(name, verbose=True)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a .raw file, which has no header
        refuse_stand_in(path)
        raise undecodable(path, error) from None
    find_cut_in_file = {"NIST": _find_sphere_cut, "OGG": _find_ogg_cut}.get(info.format, lambda path: None)
    cut = _find_cut(info.extra_info) or find_cut_in_file(path)
    if cut:
        raise truncated(path, cut)
    if info.frames >= UNKNOWN_LENGTH:
        raise undecodable(path, "its header does not say how long it is, as when written to a pipe")
    return info
