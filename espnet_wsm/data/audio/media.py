"""The sound of media files that libsndfile does not read (mp4, m4a, mkv, wma, ...), decoded by ffmpeg."""

import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import numpy as np

from espnet_wsm.data.audio.faults import no_samples, truncated, undecodable
from espnet_wsm.errors import UserError

MEDIA_SUFFIXES = frozenset(
    ".mp4 .m4a .m4b .m4v .mov .3gp .3g2 .mkv .mka .webm .aac .ac3 .amr .wma .wmv .asf .avi .flv .mpg .mpeg "
    ".mts .m2ts .vob .ogv".split()
)
CUT_SHORT = re.compile("ended prematurely|partial file|truncat", re.I)  # with which ffmpeg may end well
PREFIX = re.compile(r"^\[[^]]* @ 0x[0-9a-f]+\] ")  # of a part of ffmpeg
AU_HEADER = struct.Struct(">4s5I")  # magic, where samples begin, their bytes, encoding, rate, channels


def is_media(path: Path | str) -> bool:
    """Whether a file's name is that of a media file."""
    return Path(path).suffix.lower() in MEDIA_SUFFIXES


def find_ffmpeg() -> str | None:
    """The program, None if it is not on PATH."""
    return shutil.which("ffmpeg")


class MediaFile:
    """The first audio stream of a file, at its own rate, with the methods of ``soundfile.SoundFile`` that
    serve to read it in order.

    Silence fills what the file's time stamps leave out, so times are those that a player shows. The program
    is stopped when the file is closed.

    Args:
        path: of the file; its name is never taken for an address or an option.

    Raises:
        UserError: there is no sound in it, or ffmpeg cannot decode it; with what ffmpeg says.
    """

    format, subtype = "FFMPEG", "unknown"

    def __init__(self, path: Path):
        self.path, self.done = path, 0
        self._said = tempfile.TemporaryFile()
        program = find_ffmpeg()
        assert program is not None
        command = [
            program, "-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file,pipe", "-vn",
            "-i", b"file:" + os.fsencode(path), "-map", "0:a:0",
            "-af", "aresample=async=1:first_pts=0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said
        )
        try:
            self.samplerate, self.channels = self._read_head()
        except BaseException:
            self.close()
            raise

    def _read_head(self) -> tuple[int, int]:
        head = self._pipe.read(AU_HEADER.size)
        if len(head) < AU_HEADER.size:
            self._check_end()
            raise no_samples(self.path)
        _, begin, _, _, rate, channels = AU_HEADER.unpack(head)
        self._pipe.read(begin - AU_HEADER.size)
        return rate, channels

    @property
    def _pipe(self):
        assert self._process.stdout is not None
        return self._process.stdout

    def seekable(self) -> bool:
        """False."""
        return False

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """(N, channels) float32 of the next ``frames`` samples, fewer at the end.

        Raises:
            UserError: the file is cut short or damaged.
        """
        assert dtype == "float32" and always_2d
        size = 4 * self.channels
        data = self._pipe.read(frames * size)
        samples = np.frombuffer(data[: len(data) // size * size], ">f4").astype(np.float32)
        self.done += len(data)
        if len(data) < frames * size:
            self._check_end()
        return samples.reshape(-1, self.channels)

    def _check_end(self) -> None:
        """Wait for ffmpeg, and raise UserError if it complains."""
        status = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().split("\n")
        if status == 0 and not CUT_SHORT.search(lines[-1]):
            return
        if any("matches no streams" in line for line in lines):
            raise UserError(f"{self.path} has no sound in it: name the recording that belongs to it")
        said = PREFIX.sub("", lines[-1]).removeprefix(f"file:{self.path}: ") or f"exit status {status}"
        complaint = f"ffmpeg: {said}"
        raise (truncated if self.done else undecodable)(self.path, complaint)

    def close(self) -> None:
        """Stop ffmpeg, if it has not ended."""
        self._process.kill()
        self._pipe.close()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
