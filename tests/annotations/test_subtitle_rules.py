"""Cues keep to the rules whatever is said, lose no word, and are broken where readers expect it."""

from itertools import pairwise

import pytest
from drawn_annotations import LINES, TEXTS, draw_tiers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espnet_wsm.annotations import Recording, Segment, SubtitleRules, Tier, Word
from espnet_wsm.annotations.subtitle_rules import count_characters, lay_out
from espnet_wsm.errors import UserError

SENTENCES = (
    "When the rain had stopped, we went down to the river. The boats were gone. Nobody knew where they "
    "had been taken, and so we waited until it was dark."
)


def speak(
    text: str, start: float = 0.0, per_character: float = 0.07, pauses: dict[int, float] | None = None
) -> Segment:
    """A segment whose words last as long as they are long; ``pauses`` are seconds behind the n-th word."""
    words, time = [], start
    for index, word in enumerate(text.split()):
        end = time + per_character * len(word)
        words.append(Word(round(time, 3), round(end, 3), word))
        time = end + per_character + (pauses or {}).get(index, 0)
    return Segment(start, words[-1].end, text, words=tuple(words))


def lay_out_segments(*segments: Segment, rules: SubtitleRules = SubtitleRules()):  # noqa: B008
    return lay_out(Recording(tiers=(Tier("x", segments),)), rules)


def check_rules(cues, rules):
    for cue in cues:
        assert 1 <= len(cue.lines) <= rules.max_lines
        assert all(0 < count_characters(line) <= rules.max_line_length for line in cue.lines)
        assert all(line == line.strip(" ") for line in cue.lines)
        duration = cue.end - cue.start
        assert round(1000 * rules.min_duration) <= duration <= round(1000 * rules.max_duration)
    for one, other in pairwise(cues):
        assert other.start - one.end >= round(1000 * rules.min_gap)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(draw_tiers(TEXTS, words=True), draw_tiers(st.lists(LINES, max_size=30).map("  ".join))),
    st.sampled_from(
        (SubtitleRules(), SubtitleRules(8, 1, 10, 0.5, 2, 0, 0.2), SubtitleRules(30, 3, 5, 2, 4, 1, 9))
    ),
)
def test_any_speech_is_broken_by_the_rules_and_no_character_is_lost(tiers, rules):
    cues = lay_out(Recording(tiers=tiers), rules)
    check_rules(cues, rules)
    for tier in tiers:
        alone = lay_out(Recording(tiers=(tier,)), rules)
        shown = "".join("".join(cue.lines) for cue in alone)
        said = "".join(segment.text for segment in tier.segments)
        assert "".join(shown.split(" ")) == "".join(said.replace("\t", " ").replace("\n", " ").split(" "))
    assert sum(len("".join(cue.lines).replace(" ", "")) for cue in cues) == sum(
        len(segment.text.replace("\t", "").replace("\n", "").replace(" ", ""))
        for tier in tiers
        for segment in tier.segments
    )


def test_long_speech_is_broken_at_sentences_and_clauses():
    cues = lay_out_segments(speak(SENTENCES))
    assert [cue.lines for cue in cues] == [
        ("When the rain had stopped, we went down", "to the river. The boats were gone."),
        ("Nobody knew where they had been taken,", "and so we waited until it was dark."),
    ]
    check_rules(cues, SubtitleRules())


def test_cues_begin_and_end_with_their_words():
    segment = speak(f"{SENTENCES} {SENTENCES}", start=3.0)
    cues = lay_out_segments(segment)
    starts = {round(1000 * word.start) for word in segment.words}
    assert len(cues) > 2 and all(cue.start in starts for cue in cues)
    assert cues[0].start == 3000


def test_a_pause_breaks_a_cue_though_it_would_fit():
    (one,) = lay_out_segments(speak("we waited there", pauses={1: 0.2}))
    assert one.lines == ("we waited there",)
    first, second = lay_out_segments(speak("we waited there", pauses={1: 2.0}))
    assert (first.lines, second.lines) == (("we waited",), ("there",))


def test_lines_are_as_equal_as_they_can_be():
    (cue,) = lay_out_segments(speak("a cue of two lines that are about as long as each other"))
    assert cue.lines == ("a cue of two lines that are", "about as long as each other")


def test_short_segments_are_shown_together_and_others_apart():
    short = [speak("yes", start) for start in (0.0, 0.3, 0.6)]
    (cue,) = lay_out_segments(*short)
    assert cue.lines == ("yes yes yes",)
    long = [speak("that is what I said", start) for start in (0.0, 2.0)]
    assert len(lay_out_segments(*long)) == 2


def test_fast_speech_stays_as_long_as_it_takes_to_read():
    rules = SubtitleRules()
    fast = speak("this was said at once and quickly", per_character=0.02)
    (cue,) = lay_out_segments(fast)
    assert cue.end - cue.start == round(1000 * len(fast.text) / rules.max_chars_per_second)
    later = speak("and then", start=fast.end + 0.9)
    cue, other = lay_out_segments(fast, later)
    assert (cue.end, other.start) == (1480, 1560) and other.lines == ("and then",)


def test_text_without_times_of_words_shares_the_time_by_its_length():
    cues = lay_out_segments(Segment(0, 20, SENTENCES))
    check_rules(cues, SubtitleRules())
    assert " ".join(line for cue in cues for line in cue.lines) == SENTENCES
    middle = cues[len(cues) // 2]
    told = len(" ".join(line for cue in cues[: len(cues) // 2] for line in cue.lines)) / len(SENTENCES)
    assert middle.start == pytest.approx(20_000 * told, abs=200)


def test_punctuation_of_the_text_stays_with_its_words():
    words = (Word(0, 0.5, "yes"), Word(0.5, 1, "we"), Word(1, 1.5, "can"))
    (cue,) = lay_out_segments(Segment(0, 1.5, "«Yes», we can!", words=words))
    assert cue.lines == ("«Yes», we can!",)


def test_text_with_more_in_it_than_its_words_is_broken_at_its_spaces():
    segment = Segment(0, 5, "never mind him he says no", words=(Word(4, 5, "no"),))
    cues = lay_out_segments(segment, rules=SubtitleRules(max_line_length=10, max_lines=1, min_duration=0.1))
    assert [cue.lines for cue in cues] == [("never mind",), ("him he",), ("says no",)]


def test_writing_without_spaces_is_broken_at_its_words_and_marks_stay_on_their_letters():
    words = [
        Word(index, index + 1, text)
        for index, text in enumerate(("今日", "は", "とても", "いい", "天気", "です"))
    ]
    text = "".join(word.text for word in words)
    cues = lay_out_segments(
        Segment(0, 6, text, words=words), rules=SubtitleRules(max_line_length=5, max_lines=1)
    )
    assert ["".join(cue.lines) for cue in cues] == ["今日は", "とてもいい", "天気です"]
    marked = "e\u0301" * 10
    cues = lay_out_segments(Segment(0, 6, marked), rules=SubtitleRules(max_line_length=4, max_lines=1))
    assert [cue.lines[0] for cue in cues] == ["e\u0301" * 4, "e\u0301" * 4, "e\u0301" * 2]


def test_two_who_speak_at_once_are_shown_one_after_the_other_with_their_names():
    tiers = (
        Tier("a", (speak("what do you say to that", 0.0),), speaker="Anna"),
        Tier("b", (speak("wait", 0.2),), speaker="Boris"),
        Tier("words", (Segment(0, 1, "not shown"),), "words"),
    )
    cues = lay_out(Recording(tiers=tiers), SubtitleRules())
    assert [(cue.speaker, cue.lines) for cue in cues] == [
        ("Anna", ("what do you say to that",)),
        ("Boris", ("wait",)),
    ]
    check_rules(cues, SubtitleRules())


def test_a_recording_of_words_alone_is_shown_too():
    segments = tuple(Segment(word.start, word.end, word.text) for word in speak(SENTENCES).words)
    cues = lay_out(Recording(tiers=(Tier("1", segments, "words"),)), SubtitleRules())
    check_rules(cues, SubtitleRules())
    assert " ".join(line for cue in cues for line in cue.lines) == SENTENCES
    assert len(cues) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_line_length": 3}, "max_line_length is 3: it has to be at least 4"),
        ({"max_lines": 0}, "max_lines is 0: it has to be above 0"),
        ({"max_chars_per_second": float("nan")}, "max_chars_per_second is nan"),
        ({"min_gap": -1}, "min_gap is -1"),
        ({"min_duration": 4}, "max_duration is 7 and min_duration 4: the first has to be twice the second"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        SubtitleRules(**changes)
