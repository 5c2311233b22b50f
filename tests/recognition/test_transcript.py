"""What a model recognised, as annotations."""

from espnet_wsm.annotations import Word, read_annotations, write_annotations
from espnet_wsm.recognition.transcript import Transcript, split_utterances

WORDS = (
    Word(0.5, 0.9, "one", 0.9),
    Word(1.0, 1.4, "two", 0.7),
    Word(2.0, 2.5, "three", 0.8),
    Word(3.2, 3.3, "four", 0.6),
)
TRANSCRIPT = Transcript("one two three four", WORDS, 4.0)


def test_utterances_end_at_pauses():
    (tier,) = TRANSCRIPT.to_recording("a.wav", pause=0.6).tiers
    spans = [(segment.start, segment.end, segment.text) for segment in tier.segments]
    assert spans == [(0.5, 1.4, "one two"), (2.0, 2.5, "three"), (3.2, 3.3, "four")]
    assert [round(segment.confidence, 3) for segment in tier.segments] == [0.8, 0.8, 0.6]
    (whole,) = TRANSCRIPT.to_recording(pause=1.0).tiers[0].segments
    assert whole.text == TRANSCRIPT.text and whole.words == WORDS


def test_silence_has_no_words():
    silence = Transcript("", (), 1.0)
    assert silence.confidence is None and silence.to_recording().tiers[0].segments == ()
    assert round(TRANSCRIPT.confidence, 3) == 0.75


def test_its_recording_goes_into_a_file_and_back(tmp_path):
    recording = TRANSCRIPT.to_recording("a.wav")
    write_annotations(recording, tmp_path / "a.json")
    assert read_annotations(tmp_path / "a.json") == recording


def make_words(*spans: tuple[float, float]) -> tuple[Word, ...]:
    return tuple(Word(start, end, f"w{number}", 0.5) for number, (start, end) in enumerate(spans))


def texts(parts) -> list[str]:
    return [" ".join(word.text for word in part) for part in parts]


def test_long_utterances_are_parted_at_their_longest_pauses():
    words = make_words((0, 2), (2, 4), (4.3, 6), (6.1, 8), (8, 12))
    assert texts(split_utterances(words, longest=20)) == ["w0 w1 w2 w3 w4"]
    assert texts(split_utterances(words, longest=10)) == ["w0 w1", "w2 w3 w4"]
    assert texts(split_utterances(words, longest=5)) == ["w0 w1", "w2", "w3", "w4"]


def test_without_pauses_they_are_parted_in_the_middle():
    words = make_words(*((second, second + 1) for second in range(8)))
    assert texts(split_utterances(words, longest=5)) == ["w0 w1 w2 w3", "w4 w5 w6 w7"]
    assert texts(split_utterances(make_words((0, 30)), longest=5)) == ["w0"]


def test_hours_without_a_pause_are_parted_too():
    words = make_words(*((0.3 * place, 0.3 * place + 0.29) for place in range(20_000)))
    parts = list(split_utterances(words, pause=9.0, longest=15.0))
    assert sum(map(len, parts)) == len(words) and all(part[-1].end - part[0].start <= 15 for part in parts)
    assert [word for part in parts for word in part] == list(words)
