"""Whether the audio of data directories is still that which something was made from."""

import os
from pathlib import Path

from espnet_wsm.data.audio.faults import find_archive_entry, is_pipe
from espnet_wsm.data.kaldi.lists import parse_list
from espnet_wsm.files import digest_text

DIGITS = 16


def stamp_audio(folder: Path) -> str:
    """Digest of path, size and modification time of each audio file named by a ``wav.scp`` below a folder.

    The content is not read: of a large corpus that takes minutes. So a recording that is copied again counts
    as another one. Files that are missing, and commands in place of files, count by their names.
    """
    audio: set[str] = set()
    for wav_scp in folder.rglob("wav.scp"):
        # What is wrong with a list is told by those that use it.
        entries = parse_list(wav_scp, wav_scp.read_bytes(), problems=[], strict=False)
        audio |= {entry.value for entry in entries.values()}
    return digest_text("\n".join(_stamp(path) for path in sorted(audio)))[:DIGITS]


def _stamp(audio: str) -> str:
    if is_pipe(audio):
        return audio
    archive = find_archive_entry(audio)
    try:
        stat = os.stat(audio if archive is None else archive[0])
    except OSError:
        return audio
    return f"{audio} {stat.st_size} {stat.st_mtime_ns}"
