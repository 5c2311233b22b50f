"""From an uploaded file to utterances."""

import numpy as np
import soundfile

from espnet_wsm.annotations import Word
from espnet_wsm.recognition.transcript import Transcript
from espnet_wsm.serve.recogniser import Recogniser


def make_words(*spans: tuple[float, float]) -> tuple[Word, ...]:
    return tuple(Word(start, end, f"w{number}", 0.5) for number, (start, end) in enumerate(spans))


def test_a_file_becomes_utterances_that_can_be_corrected(tmp_path):
    words = make_words((0, 1), (2, 3), *((4 + second, 5 + second) for second in range(20)))

    class Model:
        def detail_all(self, recordings, advance):
            (blocks,) = recordings
            samples = np.concatenate(list(blocks))
            advance(0.5)
            advance(1.5)
            yield Transcript("", words, len(samples) / 16000)

    soundfile.write(tmp_path / "a.wav", [0.1, -0.1] * 8000, 8000)
    shares = []
    found = Recogniser(Model(), 1)(tmp_path / "a.wav", shares.append)
    (tier,) = found.tiers
    assert found.duration == 2.0 and shares == [0.0, 0.25, 1.0]
    assert [(one.start, one.end) for one in tier.segments] == [(0, 1), (2, 3), (4, 14), (14, 24)]
    assert tuple(word for one in tier.segments for word in one.words) == words


def test_one_channel_can_be_taken(tmp_path):
    left = np.full(800, 0.5, np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left / 2], axis=1), 16000, subtype="FLOAT")
    heard = []

    class Model:
        def detail_all(self, recordings, advance):
            (blocks,) = recordings
            heard.append(np.concatenate(list(blocks)))
            yield Transcript("", (), 0.05)

    for channel in (1, None):
        Recogniser(Model(), 1, channel)(tmp_path / "a.wav", lambda share: None)
    assert np.array_equal(heard[0], left) and np.array_equal(heard[1], left / 4)
