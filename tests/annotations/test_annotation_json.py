"""JSON: its form is fixed by its version, and whatever else stands in it is named by its place."""

import json

import pytest

from espnet_wsm.annotations import (
    Character,
    Recording,
    Segment,
    Tier,
    Word,
    read_annotations,
    write_annotations,
)
from espnet_wsm.errors import UserError

FULL = {
    "format": "espnet_wsm annotations",
    "version": 1,
    "audio": "talk.wav",
    "duration": 10,
    "language": "sn",
    "tiers": [
        {
            "name": "anna",
            "kind": "utterances",
            "speaker": "Anna",
            "segments": [
                {
                    "start": 0.5,
                    "end": 1.25,
                    "text": "hi\tyou\n",
                    "speaker": "Boris",
                    "confidence": 0.75,
                    "words": [
                        {
                            "start": 0.5,
                            "end": 1,
                            "text": "hi",
                            "confidence": 1,
                            "characters": [{"start": 0.5, "end": 0.75, "text": "h", "confidence": 0}],
                        },
                    ],
                },
            ],
        },
    ],
}  # fmt: skip


def change(place: str, value) -> dict:
    """``FULL`` with another value at a place like ``tiers.0.name``; without the key where it is ``...``."""
    content = json.loads(json.dumps(FULL))
    *keys, last = [int(key) if key.isdecimal() else key for key in place.split(".")]
    inner = content
    for key in keys:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


def read(tmp_path, content) -> Recording:
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_annotations(path)


def test_the_form_of_version_1_is_kept(tmp_path):
    expected = Recording(
        "talk.wav",
        (
            Tier(
                "anna",
                (
                    Segment(
                        0.5, 1.25, "hi\tyou\n", 0.75, "Boris",
                        (Word(0.5, 1, "hi", 1, (Character(0.5, 0.75, "h", 0),)),),
                    ),
                ),
                "utterances",
                "Anna",
            ),
        ),
        10,
        "sn",
    )  # fmt: skip
    assert read(tmp_path, FULL) == expected
    write_annotations(expected, tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text()) == FULL


def test_what_may_be_missing_is_not_known(tmp_path):
    content = {
        "format": FULL["format"],
        "version": 1,
        "tiers": [{"name": "x", "segments": [], "speaker": None}],
    }
    assert read(tmp_path, content) == Recording(tiers=(Tier("x"),))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("format", "annotations", "is not one of these files"),
        ("version", 2, "is of version 2, and only 1 can be read here"),
        ("version", True, "is of version True"),
        ("colour", 1, "the key 'colour' is unknown: there are format, version, tiers, audio"),
        ("tiers", ..., "the key 'tiers' is missing"),
        ("duration", "10", "duration is a string, and has to be a number"),
        ("duration", -1, "-1 s, where it ends, is before 0 s"),
        ("tiers.0", [], r"tiers\[0\]: is an array where an object has to be"),
        ("tiers.0.name", ..., r"tiers\[0\]: the key 'name' is missing"),
        ("tiers.0.name", " ", r"tiers\[0\]: a tier has no name"),
        (
            "tiers.0.kind",
            "word",
            r"tiers\[0\]: tier anna is of kind 'word': it has to be utterances, words, characters",
        ),
        ("tiers.0.segments.0.end", ..., r"tiers\[0\].segments\[0\]: the key 'end' is missing"),
        ("tiers.0.segments.0.start", True, r"segments\[0\]: start is true, and has to be a number"),
        (
            "tiers.0.segments.0.start",
            float("nan"),
            r"segments\[0\]: start is nan, which is no time in seconds",
        ),
        ("tiers.0.segments.0.end", float("inf"), r"segments\[0\]: end is inf, which is no time in seconds"),
        ("tiers.0.segments.0.end", 10**400, r"segments\[0\]: end is 1000.*, which is no time in seconds"),
        ("tiers.0.segments.0.text", None, r"segments\[0\]: text is null, and has to be a string"),
        (
            "tiers.0.segments.0.text",
            "\ud800",
            r"segments\[0\]: text holds the control character U\+D800 at place 1",
        ),
        ("tiers.0.segments.0.words.0.confidence", 1.5, r"segments\[0\].words\[0\]: confidence is 1.5"),
        (
            "tiers.0.segments.0.words.0.end",
            2,
            r"tiers\[0\].segments\[0\]: the word 'hi' from 0.5 to 2 s is not within",
        ),
        (
            "tiers.0.segments.0.words.0.characters.0.speaker",
            "x",
            r"tiers\[0\].segments\[0\].words\[0\].characters\[0\]: the key 'speaker' is unknown",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_place(place, value, message, tmp_path):
    with pytest.raises(UserError, match=f"a.json: .*{message}"):
        read(tmp_path, change(place, value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format":\n', "a.json, line 2: is not JSON"),
        ('{"format": 1, "format": 2}', "a.json: the key 'format' is there twice in one object"),
        ("[" * 100_000, "a.json: is nested too deeply"),
        ('{"a": 1' + "0" * 5000 + "}", "a.json: holds a number that is none"),
        ("[]", "a.json: is not one of these files"),
    ],
)
def test_what_is_no_json_of_ours_is_refused(content, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


def test_two_tiers_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"a.json: two tiers are named anna"):
        read(tmp_path, change("tiers", FULL["tiers"] * 2))
