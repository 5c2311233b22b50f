"""What a model recognised, as annotations."""

from espnet_wsm.annotations import Word, read_annotations, write_annotations
from espnet_wsm.recognition.transcript import Transcript

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
