"""TextGrids: praatio reads ours, we read those of any program, and intervals that cannot be are named."""

from itertools import pairwise

import pytest
from drawn_annotations import TEXTS, draw_tiers
from hypothesis import HealthCheck, given, settings
from praatio import textgrid as praatio

from espnet_wsm.annotations import Character, Recording, Segment, Tier, Word
from espnet_wsm.annotations.textgrid import read, write
from espnet_wsm.errors import UserError

EXAMPLE = Recording(
    tiers=(
        Tier(
            "anna",
            (
                Segment(
                    0.25, 1.5, 'she said "yes"\nתודה',
                    words=(
                        Word(0.25, 0.5, "she", characters=(Character(0.25, 0.3, "s"),)),
                        Word(0.5, 1.5, 'said "yes"'),
                    ),
                ),
                Segment(1.5, 2, "intervals [1]: xmin = 3"),
            ),
        ),
        Tier('bo"ris', (Segment(0, 10.001, "!"),)),
        Tier("clicks", (Segment(0.125, 0.125, '"'), Segment(3, 3, "b"))),
        Tier("nothing"),
    ),
    duration=10.001,
)  # fmt: skip
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5 ! a comment "with" 3 tokens
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "A"
        xmin = 0
        xmax = 2.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 1
            text = ""
        intervals [2]:
            xmin = 1
            xmax = 1.75
            text = "a ""b"" "
        intervals [3]:
            xmin = 1.75
            xmax = 2.5
            text = "c"
    item [2]:
        class = "TextTier"
        name = "A"
        xmin = 0
        xmax = 2.5
        points: size = 2
        points [1]:
            number = 0.5
            mark = ""
        points [2]:
            number = 1
            mark = "x"
"""
SHORT = """File type = "ooTextFile short"
"TextGrid"

0
2.5
<exists>
2
"IntervalTier"
"A"
0
2.5
3
0
1
""
1
1.75
"a ""b"" "
1.75 2.5 "c"
"TextTier" "A" 0 2.5 2 0.5 "" 1 "x"
"""
READ = Recording(
    tiers=(
        Tier("A", (Segment(1, 1.75, 'a "b" '), Segment(1.75, 2.5, "c"))),
        Tier("A (2)", (Segment(0.5, 0.5, ""), Segment(1, 1, "x"))),
    ),
    duration=2.5,
)


@pytest.mark.parametrize("content", [LONG, SHORT, LONG.replace("\n", "\r\n"), SHORT.replace("\n", "\r")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_both_forms_are_read_in_any_encoding(content, encoding, tmp_path):
    (tmp_path / "a.TextGrid").write_bytes(content.replace('"a ', '"é ').encode(encoding))
    changed = Tier("A", (Segment(1, 1.75, 'é "b" '), Segment(1.75, 2.5, "c")))
    assert read(tmp_path / "a.TextGrid") == Recording(None, (changed, READ.tiers[1]), 2.5)


def test_old_encodings_are_named_or_asked_for(tmp_path):
    (tmp_path / "a.TextGrid").write_bytes(LONG.replace('"c"', '"é"').encode("mac_roman"))
    with pytest.raises(
        UserError, match=r"a.TextGrid, line 26: is not utf-8: save it as UTF-8, or name the encoding"
    ):
        read(tmp_path / "a.TextGrid")
    assert read(tmp_path / "a.TextGrid", encoding="mac_roman").tiers[0].segments[1].text == "é"
    with pytest.raises(UserError, match="there is no encoding klingon"):
        read(tmp_path / "a.TextGrid", encoding="klingon")


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_is_written_is_read_by_praatio(short, encoding, tmp_path):
    write(EXAMPLE, tmp_path / "a.TextGrid", short=short, encoding=encoding)
    assert read(tmp_path / "a.TextGrid") == EXAMPLE
    if not short:  # praatio takes a text for the header that it looks like
        tiers = (Tier("anna", (EXAMPLE.tiers[0].segments[0],)), *EXAMPLE.tiers[1:])
        write(Recording(None, tiers, 10.001), tmp_path / "a.TextGrid", encoding=encoding, overwrite=True)
    grid = praatio.openTextgrid(
        str(tmp_path / "a.TextGrid"), includeEmptyIntervals=True, reportingMode="error"
    )
    assert grid.tierNames == ("anna", "anna - words", "anna - characters", 'bo"ris', "clicks", "nothing")
    assert grid.maxTimestamp == 10.001
    entries = [tuple(entry) for entry in grid.getTier("anna").entries]
    assert entries[:2] == [(0, 0.25, ""), (0.25, 1.5, 'she said "yes"\nתודה')]
    assert all(one[1] == other[0] for one, other in pairwise(entries))
    assert entries[-1] == (2.0 if short else 1.5, 10.001, "")
    assert [tuple(entry) for entry in grid.getTier("anna - words").entries][1:3] == [
        (0.25, 0.5, "she"), (0.5, 1.5, 'said "yes"'),
    ]  # fmt: skip
    assert [entry.time for entry in grid.getTier("clicks").entries] == [0.125, 3]


def test_any_tiers_are_read_by_praatio(tmp_path):
    def is_plain(text):  # praatio takes the others for headers
        return text.strip() and "item [" not in text and '"IntervalTier"' not in text

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(draw_tiers(TEXTS.filter(is_plain)))
    def check(tiers):
        write(Recording(tiers=tiers, duration=20), tmp_path / "a.TextGrid", short=True, overwrite=True)
        grid = praatio.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=False)
        for tier in tiers:
            found = [tuple(entry) for entry in grid.getTier(tier.name.strip()).entries]
            assert found == [(one.start, one.end, one.text.strip()) for one in tier.segments]

    check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("xmax = 1.75", "xmax = 0.75"),
            r"line 22, tier A: 0.75 s, where it ends, is before 1 s, where it starts",
        ),
        (
            ("xmin = 1.75", "xmin = 1.5"),
            r"line 26: tier A: the interval from 1.5 to 2.5 s begins before the one before",
        ),
        (('text = "c"', 'text = "c'), r"line 26: a text begins with a double quote and does not end"),
        (
            ("intervals: size = 3", "intervals: size = 4"),
            r"line 28: there is \"TextTier\" where the time of an entry",
        ),
        (("size = 2\n", "size = 3\n"), r"line 38: the file ends where the class of a tier should follow"),
        (("size = 2\n", "size = 2.5\n"), r"line 7: the number of tiers is 2.5"),
        (('"TextTier"', '"Pitch 1"'), r"line 28: a tier is of the class 'Pitch 1'"),
        (('"TextGrid"', '"Sound"'), r"is no TextGrid"),
        (('name = "A"', 'name = "A\n\tb"'), r"name of a tier is 'A\\n\\tb'"),
        (("number = 0.5", "number = -0.5"), r"line 35, tier A: start is -0.5 s"),
        (('mark = "x"', 'mark = "\x07"'), r"line 38, tier A: text holds the control character U\+0007"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(change, message, tmp_path):
    assert change[0] in LONG
    (tmp_path / "a.TextGrid").write_text(LONG.replace(*change, 1))
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / "a.TextGrid")
    assert "a.TextGrid" in str(caught.value)


def test_the_binary_form_is_named(tmp_path):
    (tmp_path / "a.TextGrid").write_bytes(b"ooBinaryFile\x08TextGrid\x00\xff")
    with pytest.raises(UserError, match="is in Praat's binary form: open it in Praat and save it as text"):
        read(tmp_path / "a.TextGrid")


def test_a_file_without_tiers_has_a_duration(tmp_path):
    (tmp_path / "a.TextGrid").write_text('"ooTextFile" "TextGrid" 0 2.5 <absent>')
    assert read(tmp_path / "a.TextGrid") == Recording(duration=2.5)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (
            (Segment(1, 2, "x"), Segment(1.5, 3, "y")),
            r"tier a: 'y' at 1.5 s begins before the one before it ends, at 2 s",
        ),
        (
            (Segment(1, 2, "x"), Segment(2, 2, "y")),
            r"tier a: 'y' at 2 s has no length, others of the tier have",
        ),
        ((), r"there is no tier, or no time for it"),
    ],
)
def test_what_a_textgrid_cannot_hold_is_refused_and_nothing_written(segments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        write(Recording(tiers=(Tier("a", segments),)), tmp_path / "a.TextGrid")
    assert list(tmp_path.iterdir()) == []


def test_words_without_their_utterances_stay_a_tier(tmp_path):
    tiers = (
        Tier("anna", (Segment(1, 2, "x"),)),
        Tier("anna - words", (Segment(1.5, 2.5, "x"),), "words"),
        Tier("boris - words", (Segment(1.5, 2.5, "x"),), "words"),
        Tier("characters", (Segment(1.5, 2.5, "x"),), "characters"),
    )
    write(Recording(tiers=tiers, duration=3), tmp_path / "a.TextGrid")
    assert read(tmp_path / "a.TextGrid").tiers == tiers
