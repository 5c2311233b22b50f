"""Names of uploads as names of files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.serve.names import MOST_BYTES, clean_name


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("talk.wav", "talk.wav"),
        ("../../x", "x"),
        ("C:\\Users\\Anna\\my talk.WAV", "my talk.WAV"),
        ("a\0b\n.wav", "ab.wav"),
        ("<script>.wav", "_script_.wav"),
        ("  two   blanks .mp3", "two blanks.mp3"),
        ("zürich и 東京.flac", "zürich и 東京.flac"),
        ("u\u0308.wav", "ü.wav"),
        ("a\u202egnp.wav", "agnp.wav"),
        ("", "recording"),
        ("..", "recording"),
        (".wav", "wav"),
        ("a.b c", "a.b c"),
    ],
)
def test_names_lose_what_could_mean_something(name, cleaned):
    assert clean_name(name) == cleaned


@given(st.text(max_size=300))
def test_any_name_becomes_the_name_of_a_file(name):
    cleaned = clean_name(name)
    assert 0 < len(cleaned.encode()) <= MOST_BYTES
    assert not set('/\\\0\n<>:"|?*') & set(cleaned) and cleaned not in (".", "..")
    assert clean_name(cleaned) == cleaned
