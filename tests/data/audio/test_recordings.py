"""Reading audio: real formats come back as they were, cut and broken files are refused by name."""

import os
import struct
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.data.audio.channels import mix_down
from espnet_wsm.data.audio.recordings import (
    convert,
    quantise,
    read_header,
    read_recording,
    stream_converted,
    write_flac,
)
from espnet_wsm.errors import UserError

FORMATS = {
    "pcm16.wav": ("WAV", "PCM_16"),
    "pcm24.wav": ("WAVEX", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "rf64.wav": ("RF64", "PCM_16"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.sph": ("NIST", "PCM_16"),
    "a24.sph": ("NIST", "PCM_24"),
    "ulaw.sph": ("NIST", "ULAW"),
    "a.ogg": ("OGG", "VORBIS"),
    "opus.ogg": ("OGG", "OPUS"),
    "a.aiff": ("AIFF", "PCM_16"),
    "a.au": ("AU", "PCM_16"),
    "a.w64": ("W64", "PCM_16"),
}


def noise(seconds: float = 1.0, rate: int = 16000, channels: int = 1) -> np.ndarray:
    generator = np.random.default_rng(int(seconds * 100) + channels)
    return (0.1 * generator.standard_normal((int(seconds * rate), channels))).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    container, subtype = FORMATS[path.name]
    soundfile.write(path, samples, rate, format=container, subtype=subtype)
    return path


def fault_of(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        read_recording(path)
    return str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_is_read(tmp_path, name, channels):
    recording = read_recording(write(tmp_path / name, noise(channels=channels)))
    samples, rate = recording.samples, recording.rate
    assert samples.shape == (16000, channels) and samples.dtype == np.float32 and rate == 16000
    tolerance = {"OPUS": 0.5, "VORBIS": 0.5, "ULAW": 0.02}.get(FORMATS[name][1], 1 / 2**15)
    assert np.abs(samples - noise(channels=channels)).max() <= tolerance


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("part", [0.97, 0.5])
def test_a_cut_file_is_refused(tmp_path, name, part):
    path = write(tmp_path / name, noise())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    message = fault_of(path)
    assert message.startswith(f"{path} is ") and "leave the utterance out" in message
    # libsndfile refuses to open a cut Opus file at all, so it cannot be told from something else.
    assert ("not audio that can be read" if name == "opus.ogg" else "is truncated or damaged") in message
    with pytest.raises(UserError) as caught:
        read_header(path)
    assert str(caught.value).split("(")[0] == message.split("(")[0]


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("pcm16.wav", "the header claims 32000 bytes of samples and there are 15978"),
        ("a.sph", "the header claims 32000 bytes of samples and there are 15488"),
        ("a.ogg", "the Ogg stream ended unexpectedly"),
        ("a.flac", "is truncated or damaged ("),  # the rest is libsndfile's, and changes with its version
    ],
)
def test_the_message_says_how_the_cut_shows(tmp_path, name, detail):
    path = write(tmp_path / name, noise())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert detail in fault_of(path)


def test_an_ogg_of_many_pages_is_refused_wherever_it_is_cut(tmp_path):
    """libsndfile calls only the shortest of these cut, and decodes the others up to the last whole page."""
    path = write(tmp_path / "a.ogg", noise(10))
    data = path.read_bytes()
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    assert len(pages) > 5
    for size in (*(at + 10 for at in pages[4:]), pages[-1] + 30, len(data) // 3, len(data) - 1):
        path.write_bytes(data[:size])
        assert "the Ogg stream ended unexpectedly" in fault_of(path), size
    path.write_bytes(data)
    assert read_recording(path).samples.shape == (160000, 1) and not read_header(path).miscount


def test_an_ogg_of_whole_pages_without_an_end_is_a_recorded_stream(tmp_path):
    path = write(tmp_path / "a.ogg", noise(10))
    data = path.read_bytes()
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    for size in pages[4:]:
        path.write_bytes(data[:size])
        header = read_header(path)
        assert header.miscount == "the Ogg stream has no end"
        assert len(read_recording(path).samples) == header.num_samples > 16000 * (size / len(data) * 10 - 3)


@pytest.mark.parametrize("name", ["pcm16.wav", "rf64.wav", "a.w64", "a.aiff", "a.au", "a.sph"])
def test_a_frame_that_is_missing_is_noticed_and_more_is_an_error(tmp_path, name):
    path = write(tmp_path / name, noise())
    data = path.read_bytes()
    for missing in (2, 44, 640):
        path.write_bytes(data[:-missing])
        assert len(read_recording(path).samples) == 16000 - missing // 2
        header = read_header(path)
        said = "the header claims a little more than there is"
        assert (header.num_samples, header.miscount) == (16000 - missing // 2, said)
    path.write_bytes(data[:-642])
    assert "truncated" in fault_of(path)


WAV_SIZE = 0  # behind "data"
STREAMS = {  # position of the size, bytes to replace it by
    "pcm16.wav": [
        (WAV_SIZE, struct.pack("<I", size)) for size in (0, 0x7FFF0000, 0x7FFFFFDB, 0x80000000, 0xFFFFFFFF)
    ],
    "float.wav": [(WAV_SIZE, bytes(4))],
    "pcm24.wav": [(WAV_SIZE, bytes(4)), (WAV_SIZE, b"\xff" * 4)],
    "rf64.wav": [(28, bytes(8)), (28, b"\xff" * 8), (28, struct.pack("<Q", 2**63 - 1))],
    "a.w64": [(96, bytes(8)), (96, struct.pack("<Q", 24)), (96, b"\xff" * 8)],
    "a.aiff": [(42, bytes(4)), (42, struct.pack(">I", 8)), (42, b"\x7f" + b"\xff" * 3)],
    "a.au": [(8, bytes(4)), (8, b"\xff" * 4)],
    "a.flac": [(21, b"\xf0" + bytes(4))],
}


@pytest.mark.parametrize(
    ("name", "at", "size"), [(name, *change) for name, changes in STREAMS.items() for change in changes]
)
def test_what_is_written_to_a_pipe_is_whole_whatever_its_header_says(tmp_path, name, at, size):
    path = write(tmp_path / name, noise())
    expected, data = read_recording(path).samples, path.read_bytes()
    assert not read_header(path).miscount
    at = at or data.index(b"data") + 4
    path.write_bytes(data[:at] + size + data[at + len(size) :])
    np.testing.assert_array_equal(read_recording(path).samples, expected)
    np.testing.assert_array_equal(read_recording(path, False, 0.25, 0.5).samples, expected[4000:8000])
    np.testing.assert_array_equal(np.concatenate([*stream_converted(path)]), expected[:, 0])
    header = read_header(path)
    assert (header.num_samples, header.miscount) == (16000, "the header does not say how long it is")


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "GSM610"), ("W64", "GSM610"), ("AIFF", "GSM610"), ("WAV", "NMS_ADPCM_16"), ("AU", "G721_32"),
        ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS"),
        ("FLAC", "PCM_16"),
    ],
)  # fmt: skip
def test_parts_are_those_of_the_whole_in_formats_that_cannot_seek(tmp_path, container, subtype):
    path = tmp_path / "a.audio"
    soundfile.write(path, noise(4, 8000), 8000, format=container, subtype=subtype)
    whole = read_recording(path).samples
    assert read_header(path).num_samples == len(whole)
    for start, end in ((0, 0.5), (1.25, 2.0), (3, None)):
        part = read_recording(path, False, start, end).samples
        # The first frame of mp3 lacks the bits that it shares with the one before it.
        skip = 1200 if container == "MP3" else 0
        expected = whole[round(start * 8000) : end and round(end * 8000)]
        assert len(part) == len(expected)
        np.testing.assert_allclose(part[skip:], expected[skip:], atol=1e-6)
    np.testing.assert_allclose(np.concatenate([*stream_converted(path, 8000)]), whole[:, 0], atol=1e-6)


def test_chunks_behind_no_samples_are_no_samples(tmp_path):
    path = write(tmp_path / "pcm16.wav", noise(0))
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    assert "has zero samples" in fault_of(path)


def test_sizes_beyond_2_gib_are_believed(tmp_path):
    path = write(tmp_path / "pcm16.wav", noise())
    data = path.read_bytes()
    path.write_bytes(data[:40] + struct.pack("<I", 0x90000000) + data[44:])
    assert "truncated" in fault_of(path)


def test_a_riff_size_that_is_a_little_off_loses_nothing(tmp_path):
    path = write(tmp_path / "pcm16.wav", noise())
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack("<I", len(data)) + data[8:])
    assert read_recording(path).samples.shape == (16000, 1)


def test_missing_empty_and_foreign_files(tmp_path):
    assert fault_of(tmp_path / "no.wav").startswith(f"{tmp_path}/no.wav does not exist: correct the path")
    assert fault_of(tmp_path) == f"{tmp_path} is not a file: name the audio file itself"
    (tmp_path / "empty.wav").touch()
    assert "empty.wav is empty (0 bytes): fetch it again" in fault_of(tmp_path / "empty.wav")
    (tmp_path / "page.wav").write_text("<html>404</html>" * 100)
    assert fault_of(tmp_path / "page.wav").startswith(f"{tmp_path}/page.wav is a web page: download")
    (tmp_path / "text.wav").write_text("404 " * 100)
    assert fault_of(tmp_path / "text.wav").startswith(
        f"{tmp_path}/text.wav is not audio that can be read (Format not recognised): convert it"
    )
    (tmp_path / "bytes.raw").write_bytes(bytes(3200))
    assert "bytes.raw is not audio that can be read (" in fault_of(tmp_path / "bytes.raw")


@pytest.mark.parametrize(
    "error", [RuntimeError, ValueError, TypeError, OSError, soundfile.SoundFileRuntimeError]
)
@pytest.mark.parametrize("method", ["read", "seek"])
def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch, error, method):
    path = write(tmp_path / "pcm16.wav", noise())

    def fail(*args, **options):
        raise error("Seek attempted on unseekable file type")

    monkeypatch.setattr(soundfile.SoundFile, method, fail)
    with pytest.raises(UserError, match=rf"^{path} .*Seek attempted on unseekable file type"):
        read_recording(path, False, 0.5)
    if method == "read":
        with pytest.raises(UserError, match=rf"^{path} .*Seek attempted on unseekable file type"):
            list(stream_converted(path))


@pytest.mark.parametrize("name", ["pcm16.wav", "a.flac"])
def test_a_file_that_is_cut_while_it_is_read_is_named(tmp_path, name):
    path = write(tmp_path / name, noise(20))
    blocks = stream_converted(path, block_seconds=1)
    assert len(next(blocks)) == 16000
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match=rf"^{path} is truncated or damaged \("):
        list(blocks)


def test_zero_samples(tmp_path):
    assert "has zero samples" in fault_of(write(tmp_path / "pcm16.wav", noise(0)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(tmp_path, value):
    samples = noise()
    samples[[3, 5]] = value
    assert "has 2 samples that are not finite" in fault_of(write(tmp_path / "float.wav", samples))


def test_float_samples_on_the_scale_of_integers(tmp_path):
    message = fault_of(write(tmp_path / "float.wav", np.full((100, 1), -12345.0)))
    assert "float samples up to 12345 where full scale is 1: rescale" in message


@pytest.fixture
def archive(tmp_path) -> tuple[Path, list[str], np.ndarray]:
    """A Kaldi wav archive, its entries ``FILE.ark:OFFSET``, and the int16 audio in each."""
    audio = quantise(noise()[:, 0])[0]
    path = tmp_path / "wav.ark"
    kaldiio.save_ark(str(path), {"a": (16000, audio), "b": (8000, audio)}, scp=str(tmp_path / "wav.scp"))
    return path, [line.split()[1] for line in (tmp_path / "wav.scp").read_text().splitlines()], audio


def test_kaldi_archives_are_read(archive):
    _, entries, audio = archive
    for entry, rate in zip(entries, (16000, 8000), strict=True):
        recording = read_recording(entry)
        assert (recording.rate, recording.subtype) == (rate, "PCM_16")
        assert np.array_equal(recording.samples[:, 0] * 2**15, audio)


def test_faults_of_archives(archive, tmp_path):
    path, entries, _ = archive
    assert "does not exist" in fault_of(f"{tmp_path}/no.ark:12")
    assert "beyond the end of the archive" in fault_of(f"{path}:99999999")
    assert "holds no audio but something else" in fault_of(f"{path}:0")
    path.write_bytes(path.read_bytes()[:-2])
    assert "is truncated or damaged (the entry should have 32044 bytes and has 32042)" in fault_of(entries[1])
    assert read_recording(entries[0]).samples.shape == (16000, 1)
    kaldiio.save_ark(str(path), {"a": np.zeros((3, 4), np.float32)}, scp=str(tmp_path / "wav.scp"))
    assert "holds no audio" in fault_of((tmp_path / "wav.scp").read_text().split()[1])


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_stream_in_an_archive_does_not_take_what_follows(archive, size):
    path, entries, audio = archive
    data = bytearray(path.read_bytes())
    first, second = (int(entry.rsplit(":")[1]) for entry in entries)
    for at in (first, second):
        data[at + 40 : at + 44] = struct.pack("<I", size)
    path.write_bytes(data)
    for entry in entries:
        assert np.array_equal(read_recording(entry).samples[:, 0] * 2**15, audio)
    for at in (first, second):
        data[at + 4 : at + 8] = struct.pack("<I", size)
    path.write_bytes(data)
    assert "does not say where it ends: write the archive again" in fault_of(entries[0])
    assert np.array_equal(read_recording(entries[1]).samples[:, 0] * 2**15, audio)


def test_an_archive_cannot_run_code(tmp_path):
    kaldiio.save_ark(
        str(tmp_path / "x.ark"), {"a": {"any": "object"}}, scp=str(tmp_path / "s"), write_function="pickle"
    )
    assert "holds no audio" in fault_of((tmp_path / "s").read_text().split()[1])


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50))
@settings(deadline=None, max_examples=50)
def test_16_bit_audio_survives_unchanged(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("flac") / "a.flac"
    write_flac(path, np.array(values, np.int16), 16000)
    recording = read_recording(path)
    samples, over = quantise(convert(mix_down(path, recording.samples), 16000, 16000))
    assert samples.tolist() == values and over == 0 and recording.subtype == "PCM_16"


def test_quantise_counts_what_goes_over_full_scale():
    samples, over = quantise(np.array([1.5, 1.0, -1.0, -1.1, 0.5], np.float32))
    assert samples.tolist() == [32767, 32767, -32768, -32768, 16384] and over == 2


def test_channels_are_averaged():
    stereo = np.stack([np.full(10, 0.5), np.full(10, -0.25)], axis=1).astype(np.float32)
    assert np.array_equal(convert(mix_down("a.wav", stereo), 16000, 16000), np.full(10, 0.125, np.float32))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_tone_keeps_its_pitch_length_and_level(rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    resampled = convert(tone, rate, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert resampled.shape == (16000,) and resampled.dtype == np.float32
    assert np.abs(resampled - expected)[800:-800].max() < 1e-3
    assert convert(tone, rate, 16000).tobytes() == resampled.tobytes()


@pytest.mark.parametrize("name", [*FORMATS, "a.mp3"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_reading_by_blocks_gives_the_same_bits(tmp_path, name, rate):
    path = tmp_path / name
    rate = 48000 if "opus" in name and rate == 44100 else rate
    if name == "a.mp3":
        soundfile.write(path, noise(3, rate, 2), rate)
    else:
        write(path, noise(3, rate, 2), rate)
    recording = read_recording(path)
    whole = convert(mix_down(path, recording.samples), recording.rate)
    tolerance = 1e-6 if name == "a.mp3" else 0
    np.testing.assert_allclose(
        np.concatenate([*stream_converted(path, block_seconds=0.7)]), whole, rtol=0, atol=tolerance
    )


def test_a_name_that_is_not_utf8_is_read(tmp_path):
    path = write(tmp_path / "a.flac", noise())
    path.rename(tmp_path / b"caf\xe9.flac".decode(errors="surrogateescape"))
    assert len(read_recording(next(tmp_path.iterdir())).samples) == 16000
