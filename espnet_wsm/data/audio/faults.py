"""What can be wrong with audio, in words: missing, empty, cut short, without samples, or no audio at all."""

import re
from pathlib import Path

from espnet_wsm.errors import UserError


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


def no_samples(audio: Path | str) -> UserError:
    """The error for audio of length 0."""
    return UserError(f"{audio} has zero samples: leave the utterance out")
