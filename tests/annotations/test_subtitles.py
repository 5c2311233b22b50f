"""SubRip and WebVTT as the world writes them, and as players take them."""

import pytest

from espnet_wsm.annotations import Recording, Segment, Tier, read_annotations, write_annotations
from espnet_wsm.errors import UserError

SRT = """\ufeff1
00:00:01,000 --> 00:00:02,500 X1:100 X2:200 Y1:1 Y2:2
<i>Good</i> <font color="#fff">morning</font>,
{\\an8}AT&amp;T &lt;unk&gt; 3 < 4

7
00:00:03.5 --> 00:00:04.000


00:01:02,000 --> 100:00:00,000
no number <unk>
2026


"""
VTT = """WEBVTT - some title
Kind: captions

STYLE
::cue { color: red }

NOTE a comment
on two lines

intro
00:01.000 --> 00:02.500 align:start position:0%
<v.loud Anna B.>Good <c.x>morning</c> &amp; <00:00:02.000>you</v>
- <i>Hi</i> 3 &lt; 4

01:00:03.500 --> 01:00:04.000
nobody <v Anna B.>one
<v Bo &amp; co>two

00:05.000 --> 00:06.000
"""


def read(tmp_path, name, content, **options):
    (tmp_path / name).write_bytes(content.encode(options.pop("written_as", "utf-8")))
    return read_annotations(tmp_path / name, **options)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_subrip_of_any_program_is_read(newline, tmp_path):
    assert read(tmp_path, "a.srt", SRT.replace("\n", newline)).tiers == (
        Tier(
            "subtitles",
            (
                Segment(1, 2.5, "Good morning,\nAT&T <unk> 3 < 4"),
                Segment(3.5, 4, ""),
                Segment(62, 360_000, "no number <unk>\n2026"),
            ),
        ),
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_webvtt_of_any_program_is_read(newline, tmp_path):
    assert read(tmp_path, "a.vtt", VTT.replace("\n", newline)).tiers == (
        Tier(
            "Anna B.",
            (Segment(1, 2.5, "Good morning & you\n- Hi 3 < 4"), Segment(3603.5, 3604, "one")),
            speaker="Anna B.",
        ),
        Tier("subtitles", (Segment(5, 6, ""), Segment(3603.5, 3604, "nobody "))),
        Tier("Bo & co", (Segment(3603.5, 3604, "two"),), speaker="Bo & co"),
    )


def test_old_encodings_are_read_when_named(tmp_path):
    content = SRT.lstrip("\ufeff").replace("Good", "Où")
    with pytest.raises(UserError, match=r"a.srt, line 3: is not utf-8"):
        read(tmp_path, "a.srt", content, written_as="cp1252")
    recording = read(tmp_path, "a.srt", content, written_as="cp1252", encoding="cp1252")
    assert recording.tiers[0].segments[0].text.startswith("Où")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("a.srt", ("02,500", "02,5000"), r"line 2: '00:00:02,5000' is no time: write it as"),
        ("a.srt", ("00:00:02,500", "00:00:61,500"), r"line 2: '00:00:61,500' is no time"),
        (
            "a.srt",
            ("00:00:01,000", "00:00:03,000"),
            r"line 2: 2.5 s, where it ends, is before 3 s, where it starts",
        ),
        (
            "a.srt",
            ("00:00:03.5 -->", "00:00:03.5 ->"),
            r"line 7: '00:00:03.5 -> 00:00:04.000' is no line of times",
        ),
        ("a.srt", ("2026\n", "2026\n00:01:02,000 --> 00:01:03,000\n"), r"line 13: times stand within a cue"),
        ("a.srt", ("morning", "\x01"), r"line 2: text holds the control character U\+0001"),
        ("a.vtt", ("WEBVTT -", "WEBVT -"), r"line 1: is not WEBVTT, with which such a file begins"),
        ("a.vtt", ("00:02.500", "02.500"), r"line 11: '02.500' is no time"),
        ("a.vtt", ("01:00:03.500", "x"), r"line 15: 'x --> 01:00:04.000' is no line of times"),
        ("a.vtt", ("intro", "NOT E"), None),
    ],
)
def test_what_is_wrong_is_named_by_its_line(name, change, message, tmp_path):
    content = {"a.srt": SRT, "a.vtt": VTT}[name]
    assert change[0] in content
    if message is None:
        assert read(tmp_path, name, content.replace(*change, 1)) == read(tmp_path, name, content)
        return
    with pytest.raises(UserError, match=f"{name}, {message}"):
        read(tmp_path, name, content.replace(*change, 1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "a.srt",
            "1\n00:00:01,000 --> 01:00:00,250\nR&D 3 < 4 &lt;i> &amp;lt; &#123;\\an8} --&gt;\nנכון\n\n"
            "2\n00:00:02,000 --> 00:00:02,001\n",
        ),
        (
            "a.vtt",
            "WEBVTT\n\n"
            "00:00:01.000 --> 01:00:00.250\n<v A &amp; &lt;B&gt;>R&amp;D 3 &lt; 4 &lt;i&gt; &amp;lt; "
            "{\\an8} --&gt;\nנכון\n\n"
            "00:00:02.000 --> 00:00:02.001\n<v A &amp; &lt;B&gt;>\n",
        ),
    ],
)
def test_text_that_looks_like_markup_is_escaped(name, expected, tmp_path):
    text = "R&D 3 < 4 <i> &lt; {\\an8} -->\n \nנכון"
    tier = Tier("x", (Segment(1, 3600.25, text), Segment(2, 2.001, "")), speaker="A & <B>")
    write_annotations(Recording(tiers=(tier,)), tmp_path / name, rules=None)
    assert (tmp_path / name).read_text() == expected
    assert read_annotations(tmp_path / name).tiers[0].segments[0].text == text.replace("\n \n", "\n")


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
def test_what_could_not_be_seen_is_refused_without_rules_and_lengthened_with(name, tmp_path):
    recording = Recording(tiers=(Tier("x", (Segment(1, 1, "a"),)),))
    with pytest.raises(UserError, match=r"tier x: 'a' at 1 s lasts less than a millisecond"):
        write_annotations(recording, tmp_path / name, rules=None)
    write_annotations(recording, tmp_path / name)
    assert read_annotations(tmp_path / name).tiers[0].segments == (Segment(1, 1.8, "a"),)


def test_subtitles_of_nothing_are_a_file_without_cues(tmp_path):
    for name, content in (("a.srt", ""), ("a.vtt", "WEBVTT\n")):
        write_annotations(Recording(), tmp_path / name)
        assert (tmp_path / name).read_text() == content
        assert read_annotations(tmp_path / name) == Recording()
