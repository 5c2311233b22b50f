"""The model refuses what no format can hold, and says what a format loses of it."""

import pytest

from espnet_wsm.annotations import (
    FORMATS,
    Character,
    Recording,
    Segment,
    Tier,
    Word,
    describe_losses,
    from_milliseconds,
    read_annotations,
    select_tiers,
    to_milliseconds,
    write_annotations,
)
from espnet_wsm.annotations.losses import FEATURES
from espnet_wsm.errors import UserError

ONE = Tier("1", (Segment(0, 1, "x", words=(Word(0, 1, "x"),)),))
TWO = (
    Tier("1", ONE.segments, speaker="Anna"),
    Tier("b", (Segment(3, 4, "y", words=(Word(3, 4, "y"),)),), speaker="Anna"),
)
FULL = Recording("talk", (*TWO, Tier("c", (Segment(0, 1.0004, "", 0.5, "Dan"),))), 9, "sn")


def make(*segments: Segment, **options) -> Recording:
    return Recording("talk", (Tier("1", segments, **options),))


# For each feature a recording that has it.
HAVING = {
    "audio": Recording("talk", (ONE,)),
    "folder": Recording("dir/talk.wav", (ONE,)),
    "duration": Recording("talk", (ONE,), 9),
    "language": Recording("talk", (ONE,), None, "sn"),
    "tiers": Recording("talk", TWO),
    "other tiers": Recording("talk", (ONE, Tier("w", (Segment(0, 1, "x"),), "words"))),
    "kinds": make(Segment(0, 1, "x"), kind="words"),
    "speakers": make(*ONE.segments, speaker="Anna"),
    "speakers of segments": make(Segment(0, 1, "x", None, "Dan", (Word(0, 1, "x"),)), *TWO[1].segments),
    "confidences": make(Segment(0, 1, "x", 0.5), kind="words"),
    "confidences of segments": make(Segment(0, 1, "x", 0.5, words=(Word(0, 1, "x"),))),
    "words": make(*ONE.segments),
    "characters": make(Segment(0, 1, "x", words=(Word(0, 1, "x", None, (Character(0, 1, "x"),)),))),
    "empty": make(*ONE.segments, Segment(2, 3, "")),
    "line breaks": make(Segment(0, 1, "x\ty", words=(Word(0, 1, "x"),))),
    "fine times": make(Segment(0, 1.0004, "x"), kind="words"),
}
# Another loss of a format that takes this feature along.
IMPLIED = {
    "folder": "audio",
    "other tiers": "kinds",
    "speakers of segments": "speakers",
    "confidences of segments": "confidences",
}


def test_milliseconds_come_back_from_seconds():
    assert all(to_milliseconds(from_milliseconds(number)) == number for number in range(0, 10**7, 997))
    assert from_milliseconds(to_milliseconds(1.23449)) == 1.234


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Segment(-0.1, 1, ""), "start is -0.1 s, before the audio begins"),
        (lambda: Segment("1", 2, ""), "start is 1, which is no time in seconds"),
        (lambda: Segment(1, 2e8, ""), "end is 200000000.0, which is no time in seconds"),
        (lambda: Segment(2, 1, ""), "1 s, where it ends, is before 2 s"),
        (lambda: Segment(1, 2, "a\rb"), r"text holds the control character U\+000D at place 2"),
        (lambda: Segment(1, 2, None), "text is None, which is no text"),
        (lambda: Segment(1, 2, "", 1.01), "confidence is 1.01: it has to be from 0 to 1"),
        (lambda: Segment(1, 2, "", float("nan")), "confidence is nan"),
        (lambda: Segment(1, 2, "", speaker="a\nb"), r"speaker is 'a\\nb'"),
        (lambda: Segment(1, 2, "", words=(Word(1, 2.1, "x"),)), "the word 'x' from 1 to 2.1 s is not within"),
        (
            lambda: Segment(1, 2, "", words=(Word(1.5, 2, "x"), Word(1, 2, "y"))),
            "the word 'y' at 1 s comes after one at 1.5 s",
        ),
        (
            lambda: Word(1, 2, "", characters=(Character(0, 1, "x"),)),
            "the character 'x' from 0 to 1 s is not within",
        ),
        (lambda: Tier("", ()), "a tier has no name"),
        (lambda: Tier("a", (Segment(2, 3, ""), Segment(1, 2, ""))), "tier a: the segment at 1 s comes after"),
        (lambda: Tier("a", (), "phones"), "tier a is of kind 'phones'"),
        (lambda: Recording(tiers=(Tier("a"), Tier("a"))), "two tiers are named a"),
        (lambda: Recording(language=""), "language is ''"),
        (lambda: select_tiers(FULL, ["b", "dan"]), "there is no tier dan: there are 1, b, c"),
    ],
)
def test_what_no_format_can_hold_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_times_that_were_rounded_may_stick_out_by_a_millisecond():
    assert Segment(1, 2, "", words=(Word(0.9995, 1.5, "x"), Word(1.5, 2.0009, "y"))).words[1].duration > 0.5


def test_tiers_are_selected_in_the_order_of_their_names():
    chosen = select_tiers(FULL, ["b", "1"])
    assert [tier.name for tier in chosen.tiers] == ["b", "1"] and chosen.duration == 9


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.read and one.write])
@pytest.mark.parametrize("feature", HAVING)
def test_a_format_loses_what_it_says_and_nothing_else(name, feature, tmp_path):
    if name == "ctm" and feature in ("other tiers", "words", "line breaks"):
        return  # words are all it holds, from whichever tiers
    if name in ("vtt", "stm") and feature == "speakers of segments":
        return  # each speaker becomes a tier
    path = tmp_path / f"a{FORMATS[name].suffix}"
    write_annotations(HAVING[feature], path, name)
    measure = FEATURES[feature][1]
    before, after = measure(HAVING[feature]), measure(read_annotations(path, name))
    lost = {feature, IMPLIED.get(feature)} & set(FORMATS[name].loses)
    assert before and (after != before) == bool(lost)


def test_losses_are_those_of_the_recording():
    assert describe_losses(FULL, FORMATS["eaf"].loses) == [
        "duration of the audio", "speakers of single segments (1)", "times finer than a millisecond (1)",
    ]  # fmt: skip
    assert describe_losses(Recording(tiers=(Tier("a", (Segment(0, 1, "x"),)),)), FORMATS["eaf"].loses) == []
