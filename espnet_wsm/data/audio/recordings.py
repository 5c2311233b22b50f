"""Audio files: reading names every fault, and mixes down and resamples to what the upstreams expect."""

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import kaldiio
import numpy as np
import soundfile
import soxr

from espnet_wsm.data.audio.channels import Mixer, mix_down
from espnet_wsm.data.audio.extents import Extent
from espnet_wsm.data.audio.faults import (
    check_audio_exists,
    find_archive_entry,
    is_pipe,
    no_samples,
    refuse_pipe,
    truncated,
    undecodable,
)
from espnet_wsm.data.audio.media import MediaFile
from espnet_wsm.data.audio.opening import open_file
from espnet_wsm.errors import UserError
from espnet_wsm.frames import SAMPLE_RATE

# Integer audio lies within ±1; float audio far beyond that was written on another scale, e.g. that of int16.
LARGEST_PEAK = 2.0
BLOCK = 1 << 20  # samples of each channel that are decoded at once
LARGEST_OVERSHOOT = 0.5  # seconds by which a segment may end after its recording


@dataclass(frozen=True)
class Recording:
    """Decoded audio. ``samples``: (N, channels) float32, full scale is ±1; ``rate``: in Hz; ``subtype``: how
    the samples were stored, in libsndfile's terms (``PCM_16``, ``VORBIS``, ...)."""

    samples: np.ndarray
    rate: int
    subtype: str


@dataclass(frozen=True)
class Header:
    """Number of samples per channel, sampling rate in Hz, number of channels, and how the header is wrong
    about the length of audio that is whole nevertheless (empty: it is right)."""

    num_samples: int
    rate: int
    channels: int = 1
    miscount: str = ""

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.num_samples / self.rate


def _read_blocks(
    path: Path, file: soundfile.SoundFile | MediaFile, size: int, frames: int | None
) -> Iterator[np.ndarray]:
    """(size, channels) float32 blocks of the next ``frames`` of an open file (None = all), the last one
    shorter."""
    done = 0
    while frames is None or done < frames:
        try:
            wanted = size if frames is None else min(size, frames - done)
            block = file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise truncated(path, str(error).rstrip(".")) from None
        if not len(block):
            break
        done += len(block)
        yield block
    if frames is not None and done < frames:
        raise truncated(path, f"{done} of {frames} frames can be decoded")


@contextmanager
def _naming_unreadable(audio: Path | str) -> Iterator[None]:
    """Name the audio in whatever the libraries below raise."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{audio} cannot be read: {error.strerror or error}") from None
    except (RuntimeError, ValueError, TypeError, EOFError) as error:
        raise undecodable(audio, error) from None


def find_part(
    audio: Path | str, num_samples: int, rate: int, start: float, end: float | None
) -> tuple[int, int]:
    """(first, last + 1) sample of a segment given in seconds; ``end`` None = the end of the audio.

    An end up to half a second after that of the audio is moved there, as in Kaldi's extract-segments.

    Raises UserError if the segment begins or ends beyond the audio.
    """
    seconds = num_samples / rate
    if start >= seconds or (end is not None and end > seconds + LARGEST_OVERSHOOT):
        until = "its end" if end is None else f"{end:g} s"
        raise UserError(
            f"the part from {start:g} s to {until} goes beyond {audio}, of {seconds:.2f} s: correct the "
            "times, or name the right recording"
        )
    first = round(start * rate)
    return first, num_samples if end is None else max(first, min(num_samples, round(end * rate)))


def _join(blocks: Iterator[np.ndarray], channels: int) -> np.ndarray:
    parts = list(blocks)
    return np.concatenate(parts) if len(parts) > 1 else next(iter(parts), np.zeros((0, channels), np.float32))


def _read_file(path: Path, start: float = 0.0, end: float | None = None) -> Recording:
    file, header = open_file(path)
    with file:
        if header.frames == 0:
            return Recording(np.zeros((0, header.channels), np.float32), header.rate, header.subtype)
        if header.frames is None:
            samples = _join(_read_blocks(path, file, BLOCK, None), header.channels)
            first, behind = find_part(path, len(samples), header.rate, start, end)
            return Recording(samples[first:behind], header.rate, header.subtype)
        first, behind = find_part(path, header.frames, header.rate, start, end)
        if first and file.seekable():
            file.seek(first)
        elif first:  # e.g. GSM
            for _ in _read_blocks(path, file, BLOCK, first):
                pass
        blocks = _read_blocks(path, file, max(behind - first, 1), behind - first)
        return Recording(_join(blocks, header.channels), header.rate, header.subtype)


def _read_copy(path: Path, name: str) -> Recording:
    """Decode a temporary file, which is called ``name`` in errors."""
    try:
        check_audio_exists(path)
        with _naming_unreadable(path):
            return _read_file(path)
    except UserError as error:
        raise UserError(str(error).replace(str(path), name)) from None


def _read_archive_entry(audio: str, archive: Path, offset: int) -> Recording:
    """Decode one entry of a Kaldi archive, if it is audio: wav as a file, others with kaldiio (it would also
    unpickle)."""
    with archive.open("rb") as file:
        file.seek(offset)
        head = file.read(8)
    if head[:4] not in (b"RIFF", b"fLaC") and head[:5] != b"AUDIO":
        raise UserError(f"{audio} holds no audio but something else, e.g. features: name a wav archive")
    if head[:4] == b"RIFF":
        entry = Extent(struct.unpack("<I", head[4:])[0], archive.stat().st_size - offset - 8)
        if entry.claimed > entry.actual and not entry.is_open:
            counts = f"the entry should have {entry.claimed + 8} bytes and has {entry.actual + 8}"
            raise truncated(audio, counts)
        with archive.open("rb") as file, tempfile.NamedTemporaryFile(suffix=".wav") as copy:
            file.seek(offset)
            copy.write(file.read() if entry.is_open else file.read(entry.claimed + 8))
            copy.flush()
            if entry.is_open and re.search(rb"\S (RIFF|AUDIO|fLaC)", Path(copy.name).read_bytes()):
                raise UserError(f"the header of {audio} does not say where it ends: write the archive again")
            return _read_copy(Path(copy.name), str(audio))
    try:
        rate, samples = kaldiio.load_mat(audio)
    except Exception as error:  # kaldiio and the decoders below it may raise anything
        raise undecodable(audio, error) from None
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.dtype == np.int16:
        return Recording(samples.astype(np.float32) / 2**15, rate, "PCM_16")
    return Recording(samples.astype(np.float32), rate, "unknown")


def _read_pipe(command: str) -> Recording:
    """Decode the standard output of a shell command."""
    with tempfile.NamedTemporaryFile(suffix=".audio") as output:
        ended = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.removesuffix("|")],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        if ended.returncode:
            said = ended.stderr.decode(errors="replace").strip().split("\n")[-1]
            raise UserError(f"the command {command!r} failed with status {ended.returncode} ({said}): try it")
        return _read_copy(Path(output.name), f"what {command!r} writes")


def read_recording(
    audio: Path | str, allow_pipes: bool = False, start: float = 0.0, end: float | None = None
) -> Recording:
    """Decode ``audio``: a file that libsndfile reads, ``FILE.ark:OFFSET``, or the output of ``COMMAND |``.

    Only the segment from ``start`` to ``end`` (seconds, None = to the end) of a file is read.

    A command runs in a shell, and only with ``allow_pipes``, because it can do anything.

    Raises UserError for a command that is not allowed or fails, and if the audio does not exist, is empty, is
    not audio, is truncated, is shorter than the segment, has no samples, or has samples that are not finite
    or far beyond full scale. Truncation is detected by the sizes in headers (wav, w64, rf64, aiff, au,
    sphere) or by the decoder (flac, ogg, opus), but not in raw streams without either, such as mp3 without a
    Xing header.
    """
    if not is_pipe(audio):
        check_audio_exists(audio)
    elif not allow_pipes:
        raise refuse_pipe(audio)
    with _naming_unreadable(audio):
        entry = None if is_pipe(audio) else find_archive_entry(audio)
        if is_pipe(audio) or entry:
            recording = _read_archive_entry(str(audio), *entry) if entry else _read_pipe(str(audio))
            if len(recording.samples):
                first, behind = find_part(audio, len(recording.samples), recording.rate, start, end)
                recording = replace(recording, samples=recording.samples[first:behind])
        else:
            recording = _read_file(Path(audio), start, end)
    if not len(recording.samples):
        raise no_samples(audio)
    _check_samples(audio, recording.samples)
    return recording


def _check_last_frame(path: Path, file: soundfile.SoundFile, frames: int) -> None:
    """Raise UserError for a cut flac, whose header has no bytes to be compared with those of the file."""
    try:
        file.seek(frames - 1)
    except soundfile.LibsndfileError as error:
        raise truncated(path, str(error).rstrip(".")) from None
    for _ in _read_blocks(path, file, 1, 1):
        pass


def read_header(audio: Path | str) -> Header:
    """Length and rate of ``audio`` from the header of a file; an archive entry or a flac without a length is
    decoded.

    Raises UserError for a command, and for the faults that :func:`read_recording` finds in a header.
    """
    if is_pipe(audio):
        raise refuse_pipe(audio)
    check_audio_exists(audio)
    if find_archive_entry(audio):
        recording = read_recording(audio)
        return Header(len(recording.samples), recording.rate, recording.samples.shape[1])
    with _naming_unreadable(audio):
        file, header = open_file(Path(audio))
        with file:
            frames = header.frames
            if frames and file.format == "FLAC":
                _check_last_frame(Path(audio), file, frames)
            elif frames is None:
                frames = sum(map(len, _read_blocks(Path(audio), file, BLOCK, None)))
    if not frames:
        raise no_samples(audio)
    return Header(frames, header.rate, header.channels, header.miscount)


def _check_samples(audio: Path | str, samples: np.ndarray) -> None:
    peak = max(samples.max(), -samples.min())  # np.abs would copy
    if not np.isfinite(peak):
        count = np.count_nonzero(~np.isfinite(samples))
        raise UserError(f"{audio} has {count} samples that are not finite (NaN or infinity): write it again")
    if peak >= LARGEST_PEAK:
        raise UserError(f"{audio} has float samples up to {peak:.6g} where full scale is 1: rescale the file")


def stream_converted(
    audio: Path | str, fs: int = SAMPLE_RATE, channel: int | None = None, block_seconds: float = 10
) -> Iterator[np.ndarray]:
    """(M,) float32 at ``fs`` in blocks, decoded when they are asked for: together ``read_recording``,
    ``mix_down``, ``convert``, bit for bit, with their errors.

    ``channel`` None is the mean of all. (mp3 differs by the decoder's rounding, 1e-7, which depends on the
    size of blocks.) Errors come with the block that has them; that channels cancel out, at the end. An entry
    of an archive is one block.
    """
    with _naming_unreadable(audio):
        check_audio_exists(audio)
        if find_archive_entry(audio):
            recording = read_recording(audio)
            yield convert(mix_down(audio, recording.samples, channel), recording.rate, fs)
            return
        mixer, count = Mixer(audio, channel), 0
        file, header = open_file(Path(audio))
        with file:
            size = max(1, round(block_seconds * header.rate))
            blocks = _read_blocks(Path(audio), file, size, header.frames)
            for block in _convert_blocks(audio, blocks, mixer, header.rate, fs):
                count += len(block)
                yield block
        if not count:
            raise no_samples(audio)
        mixer.check()


def _convert_blocks(
    audio: Path | str, blocks: Iterator[np.ndarray], mixer: Mixer, rate: int, fs: int
) -> Iterator[np.ndarray]:
    resampler = soxr.ResampleStream(rate, fs, 1, dtype="float32", quality="HQ")
    try:
        for block in blocks:
            _check_samples(audio, block)
            mono = mixer.mix(block)
            yield mono if rate == fs else resampler.resample_chunk(mono)
        if rate != fs:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    finally:
        del resampler  # nanobind complains of what a traceback still holds at the end of the program


def check_rate(fs: int) -> None:
    """Raise UserError for a rate to which nothing can be converted."""
    if fs < 1:
        raise UserError(f"--fs {fs}: the sampling rate must be positive, e.g. {SAMPLE_RATE}")


def convert(samples: np.ndarray, rate: float, fs: int = SAMPLE_RATE) -> np.ndarray:
    """(N,) float32 at ``rate`` -> (M,) float32 at ``fs``.

    It uses soxr's high quality resampler without dither: the same input gives the same bits on the same
    machine. At ``rate == fs`` nothing is changed. Resampling may slightly overshoot full scale.
    """
    if rate == fs:
        return samples
    try:
        return soxr.resample(np.ascontiguousarray(samples), rate, fs, quality="HQ")
    except (RuntimeError, ValueError) as error:
        raise UserError(f"audio at {rate:g} Hz cannot be brought to {fs} Hz ({error})") from None


def quantise(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """float32 -> (int16, number of samples beyond full scale); exact for audio that was stored as int16."""
    scaled = np.rint(samples * np.float32(2**15))
    over = int(np.count_nonzero(np.abs(scaled) > 2**15))
    return np.clip(scaled, -(2**15), 2**15 - 1).astype(np.int16), over


def write_flac(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write int16 (N,) as a mono 16-bit flac."""
    soundfile.write(str(path), samples, rate, format="FLAC", subtype="PCM_16")
