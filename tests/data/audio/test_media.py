"""Sound of videos and phones: decoded by ffmpeg where it is, and refused with a remedy where it is not."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.data.audio import media
from espnet_wsm.data.audio.opening import open_file
from espnet_wsm.data.audio.recordings import read_header, read_recording, stream_converted
from espnet_wsm.errors import UserError

RATE = 22050
HOLDS_ALL = {"a.mka": "flac", "b.mov": "pcm_s16le", "h.avi": "pcm_s16le"}  # of what goes in, to the last bit
HOLDS_MUCH = {"c.mp4": "aac", "d.m4a": "aac", "e.aac": "aac", "f.webm": "libopus", "g.wma": "wmav2"}
VIDEO = ["-f", "lavfi", "-i", "color=size=16x16:rate=5:duration=2"]


def tone(seconds: float = 2.0, channels: int = 2) -> np.ndarray:
    """A tone that swells, louder in the first channel."""
    times = np.arange(int(seconds * RATE)) / RATE
    mono = 0.4 * times / seconds * np.sin(2 * np.pi * 440 * times)
    return np.rint(np.stack([mono / (1 + c) for c in range(channels)], 1) * 2**15) / 2**15


def run(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One recording in many formats, videos without it, and what is broken."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed (Debian: apt-get install ffmpeg)")
    folder = tmp_path_factory.mktemp("media")
    soundfile.write(folder / "source.wav", tone(), RATE)
    for name, codec in (HOLDS_ALL | HOLDS_MUCH).items():
        run(
            "-i",
            folder / "source.wav",
            "-c:a",
            codec,
            *(["-ar", "48000"] if codec == "libopus" else []),
            folder / name,
        )
    run(*VIDEO, "-c:v", "mpeg4", folder / "silent.mp4")
    run("-i", folder / "source.wav", *VIDEO, "-c:v", "mpeg4", "-movflags", "+faststart", folder / "video.mp4")
    run(
        "-itsoffset",
        "0.5",
        "-i",
        folder / "source.wav",
        *VIDEO,
        "-c:a",
        "flac",
        "-c:v",
        "mpeg4",
        folder / "late.mkv",
    )
    for name in ("video.mp4", "d.m4a", "a.mka"):
        data = (folder / name).read_bytes()
        (folder / f"cut_{name}").write_bytes(data[: 3 * len(data) // 4])
    (folder / "text.mp4").write_text("not a film\n")
    (folder / "empty.mp4").touch()
    return folder


def fault_of(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        list(stream_converted(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [*HOLDS_ALL, *HOLDS_MUCH, "video.mp4"])
def test_sound_comes_at_its_own_rate_with_all_channels(folder, name):
    recording = read_recording(folder / name)
    assert recording.samples.dtype == np.float32 and recording.samples.shape[1] == 2
    assert recording.rate == (48000 if name == "f.webm" else RATE)
    seconds = len(recording.samples) / recording.rate
    assert read_header(folder / name).seconds == seconds and 2 <= seconds < 2.2
    if name in HOLDS_ALL:
        np.testing.assert_array_equal(recording.samples, tone().astype(np.float32))
    first, second = np.sqrt((recording.samples**2).mean(axis=0))
    assert first == pytest.approx(2 * second, rel=0.1) and first == pytest.approx(0.163, rel=0.1)


@pytest.mark.parametrize("channel", [None, 2])
def test_blocks_are_those_of_a_wav_of_the_same_samples(folder, channel):
    blocks = list(stream_converted(folder / "b.mov", channel=channel, block_seconds=0.3))
    assert len(blocks) > 6 and max(map(len, blocks)) < 0.5 * 16000
    same = list(stream_converted(folder / "source.wav", channel=channel))
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(same))
    part = read_recording(folder / "b.mov", False, 0.5, 1.0).samples
    np.testing.assert_array_equal(part, tone()[RATE // 2 : RATE].astype(np.float32))


def test_times_are_those_that_a_player_shows(folder):
    """Sound that begins half a second after the film."""
    samples = read_recording(folder / "late.mkv").samples
    first = round(0.5 * RATE)
    assert not samples[: first - 50].any()
    assert len(samples) == pytest.approx(first + 2 * RATE, abs=50)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("silent.mp4", "silent.mp4 has no sound in it: name the recording that belongs to it"),
        (
            "text.mp4",
            "text.mp4 is not audio that can be read (ffmpeg: Invalid data found when processing input)",
        ),
        ("empty.mp4", "empty.mp4 is empty (0 bytes)"),
        ("cut_d.m4a", "cut_d.m4a is not audio that can be read (ffmpeg: "),
        ("cut_video.mp4", "cut_video.mp4 is truncated or damaged (ffmpeg: "),
        ("cut_a.mka", "cut_a.mka is truncated or damaged (ffmpeg: "),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(folder, name, message):
    assert fault_of(folder / name).startswith(f"{folder}/{message}")


@pytest.mark.parametrize(
    "name", ["-vn.mp4", "http:a.mp4", "concat:a|b.mp4", "pipe:0.mp4", "a:b'c\".m4a", "caf\udce9.mp4"]
)
def test_a_name_is_no_option_and_no_address(folder, tmp_path, monkeypatch, name):
    shutil.copy(folder / "c.mp4", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read_recording(name).samples) == len(read_recording(folder / "c.mp4").samples)
    assert "does not exist" in fault_of("http://localhost/a.mp4")


def test_a_list_of_addresses_is_not_followed(tmp_path, folder):
    (tmp_path / "a.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    assert "a.mp4 is not audio that can be read (ffmpeg: " in fault_of(tmp_path / "a.mp4")


def test_a_film_by_another_name_is_read_and_rubbish_keeps_its_message(folder, tmp_path):
    shutil.copy(folder / "c.mp4", tmp_path / "phone.wav")
    assert read_recording(tmp_path / "phone.wav").samples.shape[1] == 2
    (tmp_path / "text.wav").write_text("404 " * 100)
    assert "text.wav is not audio that can be read (Format not recognised): convert" in fault_of(
        tmp_path / "text.wav"
    )


def test_ffmpeg_ends_with_its_reader(folder):
    file, header = open_file(folder / "c.mp4")
    process = file._process
    assert header.frames is None and file.read(10).shape == (10, 2)
    file.close()
    assert process.returncode is not None
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    before = children.read_text().split()
    blocks = stream_converted(folder / "c.mp4", block_seconds=0.1)
    next(blocks)
    assert len(children.read_text().split()) == len(before) + 1
    blocks.close()
    assert children.read_text().split() == before


def test_without_ffmpeg_it_is_said_what_it_would_do(tmp_path, monkeypatch):
    monkeypatch.setattr(media.shutil, "which", lambda name: None)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    message = f"{tmp_path}/a.mp4 is not audio that libsndfile reads; with ffmpeg installed (Debian: apt-get "
    assert fault_of(tmp_path / "a.mp4").startswith(message)
    (tmp_path / "a.wav").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    assert "a.wav is not audio that can be read (Format not recognised)" in fault_of(tmp_path / "a.wav")
