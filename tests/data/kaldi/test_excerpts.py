"""Which speech is taken from data directories and files, and what is refused."""

import numpy as np
import pytest
import soundfile

from espnet_wsm.data.kaldi.excerpts import choose_excerpts
from espnet_wsm.errors import UserError


def write_audio(path, seconds: float, rate: int = 8000, channels: int = 1) -> str:
    """A ramp, which tells where a stretch of it is from; a second channel is half of it."""
    ramp = np.linspace(0, 0.5, round(seconds * rate), endpoint=False)
    soundfile.write(path, np.stack([ramp, ramp / 2][:channels], axis=1), rate, subtype="FLOAT")
    return str(path)


@pytest.fixture
def data(tmp_path):
    """Utterances of 1 to 4 s, with a text that is faulty."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [f"u{n} {write_audio(tmp_path / f'u{n}.wav', n)}\n" for n in range(1, 5)]
    (folder / "wav.scp").write_text("".join(lines))
    (folder / "text").write_bytes(b"u2 \xff\nu1\n\n")
    return folder


def test_texts_are_not_read_and_the_choice_is_always_the_same(data):
    every = choose_excerpts([data], 10)
    assert sorted(each.seconds for each in every) == [1, 2, 3, 4]
    names = [each.audio for each in every]
    assert names != sorted(names)
    some = choose_excerpts([data], (every[0].seconds + 0.5) / 60)
    assert some == every[:2] == choose_excerpts([data], (every[0].seconds + 0.5) / 60)
    assert [len(each.read()) for each in every] == [each.seconds * 16000 for each in every]


def test_parts_of_recordings_are_read_from_their_places(tmp_path, data):
    (data / "segments").write_text("a u4 1.0 2.5\nb u4 2.5 -1\n")
    parts = {each.where.rpartition(" ")[2]: each for each in choose_excerpts([data], 10)}
    assert (parts["a"].start, parts["a"].end) == (1.0, 2.5) and (parts["b"].start, parts["b"].end) == (2.5, 4)
    assert parts["a"].read()[8000] == pytest.approx(0.5 * 1.5 / 4, abs=1e-3)
    assert parts["a"].where == f"{data / 'segments'}: id a"


def test_long_audio_comes_in_pieces_after_the_first_one_of_each_file(tmp_path):
    long = write_audio(tmp_path / "long.wav", 65.05, rate=2000)
    other = write_audio(tmp_path / "other.wav", 31, rate=2000)
    taken = choose_excerpts([tmp_path / "long.wav", tmp_path / "other.wav"], 10)
    assert {each.audio.name for each in taken[:2]} == {"long.wav", "other.wav"}
    spans = {name: [] for name in (long, other)}
    for each in taken:
        spans[str(each.audio)].append((each.start, each.end))
    assert spans == {long: [(0, 30), (30, 60), (60, 65.05)], other: [(0, 30), (30, 31)]}
    assert len(choose_excerpts([tmp_path / "long.wav"], 0.8)) == 2


def test_a_channel_can_be_chosen(tmp_path):
    stereo = tmp_path / "s.wav"
    write_audio(stereo, 1, rate=16000, channels=2)
    middle = [float(choose_excerpts([stereo], 1, channel)[0].read()[8000]) for channel in (1, 2, None)]
    assert middle == pytest.approx([0.25, 0.125, 0.1875], abs=1e-4)
    with pytest.raises(UserError, match=r"s.wav has 2 channels and no channel 3"):
        choose_excerpts([stereo], 1, 3)


def test_what_cannot_be_heard_is_refused_with_its_place(tmp_path, data):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        UserError, match=r"empty has no wav.scp, so it is no data directory: name one, or the audio"
    ):
        choose_excerpts([empty], 3)
    with pytest.raises(UserError, match=r"none.wav: .*none.wav does not exist: correct the path"):
        choose_excerpts([tmp_path / "none.wav"], 3)
    write_audio(tmp_path / "click.wav", 0.05)
    with pytest.raises(UserError, match=r"click.wav: there is no utterance of 0.1 s or more: give other"):
        choose_excerpts([tmp_path / "click.wav"], 3)
    (data / "wav.scp").write_text(f"a {tmp_path / 'gone.wav'}\n")
    with pytest.raises(UserError, match=r"data/wav.scp: id a: .*gone.wav does not exist"):
        choose_excerpts([data], 3)
    (data / "wav.scp").write_text("a sox x.wav -t wav - |\n")
    with pytest.raises(UserError, match=r"wav.scp: id a: 'sox .*' is a command, and none is run here: give"):
        choose_excerpts([data], 3)
