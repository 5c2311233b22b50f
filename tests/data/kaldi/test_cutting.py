"""Long recordings of a data directory become segments that end in pauses."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.data.kaldi.cutting import cut_long_recordings
from espnet_wsm.data.kaldi.directory import read_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.stages import cut_recordings


@pytest.fixture
def talk(tmp_path) -> Path:
    """A directory: 25 s of noise at 8 kHz with a pause every 3 s, 5 s of it, and what a command writes."""
    rate = 8000
    noise = 0.1 * np.random.default_rng(0).standard_normal((25 * rate, 2))
    for pause in range(3, 25, 3):
        noise[round((pause - 0.2) * rate) : round((pause + 0.2) * rate)] *= 0.01
    soundfile.write(tmp_path / "long.wav", noise, rate)
    soundfile.write(tmp_path / "short.wav", noise[: 5 * rate], rate)
    folder = tmp_path / "talk"
    folder.mkdir()
    lines = f"a {tmp_path}/long.wav\nb {tmp_path}/short.wav\nc cat {tmp_path}/long.wav |\n"
    (folder / "wav.scp").write_text(lines)
    (folder / "utt2spk").write_text("a anna\nb ben\nc anna\n")
    return folder


def test_only_what_is_too_long_is_cut_and_in_pauses(talk, tmp_path):
    summary = cut_long_recordings(talk, tmp_path / "cut", 20, allow_pipes=True)
    assert summary == f"{talk}: 1 recording longer than 20 s cut; 6 utterances"
    found = read_data_dir(tmp_path / "cut", None, allow_pipes=True)
    assert [(each.id, each.speaker) for each in found][-2:] == [("b", "ben"), ("c", "anna")]
    *segments, whole, command = found
    assert (whole.start, whole.end, str(command.audio)[-1]) == (0, None, "|")
    assert {each.speaker for each in segments} == {"anna"} and segments[-1].end is None
    assert [each.start for each in segments] == [0, *(each.end for each in segments[:-1])]
    assert all(abs(each.end / 3 - round(each.end / 3)) < 0.07 for each in segments[:-1])
    assert [each.id for each in segments] == [f"a-{round(1000 * each.start):08d}" for each in segments]


def test_segments_that_are_too_long_are_cut_within_their_times(talk, tmp_path):
    (talk / "wav.scp").write_text(f"talk {tmp_path}/long.wav\n")
    (talk / "segments").write_text("a talk 1.5 4.0\nb talk 4.0 24.01\n")
    (talk / "utt2spk").write_text("a anna\nb ben\n")
    cut_recordings.main(["--data", str(talk), "--out", str(tmp_path / "cut"), "--max_seconds", "10"])
    first, *segments = read_data_dir(tmp_path / "cut", None)
    assert (first.id, first.start, first.end) == ("a", 1.5, 4.0)
    assert (segments[0].start, segments[-1].end) == (4.0, 24.01) and len(segments) > 2
    assert all(abs(each.end / 3 - round(each.end / 3)) < 0.07 for each in segments[:-1])
    assert all(each.end - each.start <= 10 for each in segments)


def test_audio_that_is_not_there_is_named(talk, tmp_path):
    (tmp_path / "long.wav").unlink()
    with pytest.raises(UserError, match=r"long\.wav does not exist"):
        cut_long_recordings(talk, tmp_path / "cut", 20, allow_pipes=True)
    assert not (tmp_path / "cut").exists()
