"""ELAN's files: those of others are understood, ours are read by pympi, and what is wrong is named."""

import pytest
from drawn_annotations import CONFIDENCES, NAMES, TEXTS, draw_tiers
from field_eaf import FIELD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pympi.Elan import Eaf

from espnet_wsm.annotations import Character, Recording, Segment, Tier, Word, to_milliseconds
from espnet_wsm.annotations.eaf import find_media, read, write
from espnet_wsm.errors import UserError

EXAMPLE = Recording(
    "audio/talk.wav",
    (
        Tier(
            "anna",
            (
                Segment(
                    0.5, 1.25, "hello <you>", 0.75,
                    words=(
                        Word(0.5, 0.8, "hello", 0.5, (Character(0.5, 0.6, "h", 0.25),)),
                        Word(0.9, 1.25, "<you>"),
                    ),
                ),
                Segment(2, 3, ""),
            ),
            speaker="Anna",
        ),
        Tier("alone", (Segment(0, 1, "word"),), "words"),
        Tier("nothing"),
    ),
    language="sn",
)  # fmt: skip


@pytest.fixture
def field(tmp_path):
    path = tmp_path / "field.eaf"

    def write_field(*changes: tuple[str, str], content: str = FIELD):
        for old, new in changes:
            assert old in content
            content = content.replace(old, new, 1)
        path.write_text(content, encoding="utf-8")
        return path

    return write_field


def list_texts(tier):
    return [(segment.start, segment.end, segment.text) for segment in tier.segments]


def test_a_file_of_field_workers_is_understood(field):
    recording = read(field())
    assert recording.audio == "audio/talk.wav" and recording.duration is None and recording.language is None
    anna, boris, gloss, translation = recording.tiers
    assert (anna.name, anna.speaker, boris.speaker) == ("A_utt", "Anna", None)
    assert list_texts(anna) == [(1.0, 2.2, "ndi na <iwe>"), (2.2, 3.0, "")]
    # Slots without times lie evenly between those that have them, along the words and not along the file.
    assert list_texts(Tier("w", [Segment(w.start, w.end, w.text) for w in anna.segments[0].words])) == [
        (1.0, 1.4, "ndi"), (1.4, 1.8, "na"), (1.8, 2.2, "iwe"),
    ]  # fmt: skip
    assert list_texts(boris) == [(1.5, 3.0, "ehe"), (2.2, 2.6, "over it")]
    assert list_texts(gloss) == [(1.0, 1.2, "1SG"), (1.2, 1.4, "COP")]
    assert list_texts(translation) == [(1.0, 2.2, "it's me and you")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso-8859-1"])
def test_any_declared_encoding_is_read(encoding, tmp_path):
    content = FIELD.replace('"UTF-8"', f'"{encoding.removesuffix("-sig")}"').replace("ehe", "éhé")
    (tmp_path / "a.eaf").write_bytes(content.encode(encoding))
    assert read(tmp_path / "a.eaf").tiers[1].segments[0].text == "éhé"


@pytest.mark.parametrize("version", ["2.0", "2.8", "3.0"])
def test_versions_2_and_3_are_read(version, field):
    assert (
        len(read(field(('VERSION="2.7" FORMAT="2.7"', f'VERSION="{version}" FORMAT="{version}"'))).tiers) == 4
    )


def test_times_count_from_the_beginning_of_the_audio(field):
    path = field(('MIME_TYPE="audio/x-wav"', 'MIME_TYPE="audio/x-wav" TIME_ORIGIN="250"'))
    assert read(path).tiers[0].segments[0].start == 1.25


def test_audio_is_found_on_this_machine(field, tmp_path):
    path = field()
    assert find_media(path) == []
    (tmp_path / "talk.mpg").touch()
    assert find_media(path)[0] == tmp_path / "talk.mpg"
    (tmp_path / "talk.wav").touch()
    assert find_media(path)[0] == tmp_path / "talk.wav"
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/talk.wav").touch()
    assert find_media(path)[0] == tmp_path / "audio/talk.wav"


@pytest.mark.parametrize(
    ("relative", "url", "audio"),
    [
        ("", "file:///C:/Users/Mine%20Own/talk.wav", "C:/Users/Mine Own/talk.wav"),
        ("", "file:///media/a%C3%A9.wav", "/media/aé.wav"),
        ("", "file:/media/b.wav", "/media/b.wav"),
        ("./a b.wav", "x", "a b.wav"),
        ("..\\a.wav", "x", "../a.wav"),
    ],
)
def test_names_of_media_become_paths(relative, url, audio, field):
    old = 'RELATIVE_MEDIA_URL="file:/./audio/talk.wav"'
    path = field((old, f'RELATIVE_MEDIA_URL="{relative}"'), ("file:///C:/Users/Mine%20Own/talk.wav", url))
    assert read(path).audio == audio


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((' TIME_VALUE="2200"', ' TIME_VALUE="-5"'), r"line 19: time slot ts4 is at '-5'"),
        (('TIME_SLOT_ID="ts8"', 'TIME_SLOT_ID="ts7"'), r"time slot ts7 is there twice"),
        (
            ('"ts7" TIME_VALUE="3000"', '"ts7"'),
            r"line \d+: annotation a2 of tier A_utt has the time slot ts7 without a",
        ),
        (
            ('TIME_SLOT_REF1="ts8"', 'TIME_SLOT_REF1="ts9"'),
            r"a3 of tier B_utt has the time slot ts9, which is not there",
        ),
        (
            ('ts4" TIME_VALUE="2200"', 'ts4" TIME_VALUE="900"'),
            r"annotation a1 of tier A_utt ends at 900 ms, before it",
        ),
        (('ANNOTATION_ID="a5"', 'ANNOTATION_ID="a4"'), r"annotation a4 of tier A_words is there twice"),
        (
            ('ANNOTATION_REF="a1"', 'ANNOTATION_REF="a99"'),
            r"annotation a9 of tier A_ft belongs to a99, which is not",
        ),
        (('ANNOTATION_REF="a1"', 'ANNOTATION_REF="a9"'), r"annotation a9 of tier A_ft belongs to itself"),
        (('TIER_ID="B_utt"', 'TIER_ID="A_utt"'), r"line \d+: tier A_utt is there twice"),
        (("ehe<", "e&#x85;h&#1;e<"), r"not well-formed"),
        (('TIME_UNITS="milliseconds"', 'TIME_UNITS="PAL-frames"'), r"line 7: times are in PAL-frames"),
        (('VERSION="2.7" FORMAT="2.7"', 'VERSION="1.0"'), r"is of version 1.0: open and save it"),
        (("ANNOTATION_DOCUMENT>", "X>"), r"not well-formed XML \(mismatched tag\)"),
        (
            ('MIME_TYPE="audio/x-wav"', 'MIME_TYPE="audio/x-wav" TIME_ORIGIN="-1200"'),
            r"a1 .* before the audio begins",
        ),
    ],
)
def test_what_is_wrong_is_named_by_line_and_annotation(change, message, field):
    path = field(change)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_an_annotation_without_length_is_read(field):
    path = field(('TIME_SLOT_REF1="ts5" TIME_SLOT_REF2="ts7"', 'TIME_SLOT_REF1="ts7" TIME_SLOT_REF2="ts7"'))
    assert read(path).tiers[0].segments[1].duration == 0


def test_other_xml_is_refused(tmp_path):
    (tmp_path / "a.eaf").write_text("<TextGrid/>")
    with pytest.raises(UserError, match=r"is no \.eaf but holds <TextGrid>"):
        read(tmp_path / "a.eaf")


@pytest.mark.parametrize(
    "definition",
    [
        '<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">',
        '<!ENTITY c SYSTEM "file:///etc/passwd">',
        '<!ENTITY % p SYSTEM "http://localhost/x.dtd"> %p;',
        "",
    ],
)
def test_entities_are_refused_before_they_unfold(definition, field):
    path = field(
        ("<!-- checked by A. -->", f"<!DOCTYPE ANNOTATION_DOCUMENT [{definition}]>"),
        ("ehe", "&c;" if "c" in definition else "ehe"),
    )
    with pytest.raises(UserError, match=r"line 2: has a document type"):
        read(path)


def test_what_is_written_is_read_by_pympi(tmp_path):
    path = tmp_path / "a.eaf"
    write(EXAMPLE, path)
    other = Eaf(path)
    assert other.media_descriptors[0]["RELATIVE_MEDIA_URL"] == "./audio/talk.wav"
    assert other.media_descriptors[0]["MEDIA_URL"] == (tmp_path / "audio/talk.wav").as_uri()
    assert other.get_annotation_data_for_tier("anna") == [(500, 1250, "hello <you>"), (2000, 3000, "")]
    assert other.get_annotation_data_for_tier("anna - words") == [(500, 800, "hello"), (900, 1250, "<you>")]
    assert other.get_ref_annotation_data_for_tier("anna - confidence") == [
        (500, 1250, "0.750", "hello <you>")
    ]
    assert other.get_parameters_for_tier("anna - words")["PARENT_REF"] == "anna"
    assert other.get_parameters_for_tier("anna")["PARTICIPANT"] == "Anna"
    types = {
        one: other.get_parameters_for_linguistic_type(one).get("CONSTRAINTS")
        for one in other.linguistic_types
    }
    assert types["confidence"] == "Symbolic_Association" and types["words in utterances"] == "Included_In"
    assert set(types.values()) - {None} <= set(other.constraints)
    assert dict(other.properties)["lastUsedAnnotationId"] == str(other.maxaid)
    assert read(path) == EXAMPLE


def test_any_tiers_are_read_by_pympi(tmp_path):
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(draw_tiers(TEXTS, CONFIDENCES, True, st.one_of(st.none(), NAMES)))
    def check(tiers):
        write(Recording("a.wav", tiers), tmp_path / "a.eaf", overwrite=True)
        other = Eaf(tmp_path / "a.eaf")
        for tier in tiers:
            assert sorted(other.get_annotation_data_for_tier(tier.name)) == [
                (to_milliseconds(one.start), to_milliseconds(one.end), one.text) for one in tier.segments
            ]

    check()


@pytest.mark.parametrize(
    ("tier", "message"),
    [
        (Tier("a", (Segment(1, 1, "x"),)), r"tier a: 'x' at 1 s lasts less than a millisecond"),
        (Tier("a", (Segment(1, 1.0003, "x"),)), r"lasts less than a millisecond"),
        (
            Tier("a", (Segment(1, 2, "x"), Segment(1.9, 3, "y"))),
            r"'y' at 1.9 s begins before the one before it ends",
        ),
        (
            Tier("a", (Segment(1, 2, "x", words=(Word(1, 1.6, "p"), Word(1.5, 2, "q"))),)),
            r"tier a - words: 'q' at 1.5 s begins before",
        ),
    ],
)
def test_what_elan_cannot_hold_is_refused_and_nothing_written(tier, message, tmp_path):
    with pytest.raises(UserError, match=message):
        write(Recording("a.wav", (tier,)), tmp_path / "a.eaf")
    assert list(tmp_path.iterdir()) == []


def test_names_that_would_meet_are_refused(tmp_path):
    tiers = (Tier("a", (Segment(1, 2, "x", 0.5),)), Tier("a - confidence", (Segment(1, 2, "x"),)))
    with pytest.raises(UserError, match="there is a tier a - confidence already"):
        write(Recording("a.wav", tiers), tmp_path / "a.eaf")


def test_a_tier_that_is_called_confidence_and_is_none_stays_a_tier(tmp_path):
    path = tmp_path / "a.eaf"
    write(Recording(tiers=(Tier("a", (Segment(1, 2, "x", 0.5),)),)), path)
    path.write_text(path.read_text().replace("0.500", "high"))
    assert [tier.name for tier in read(path).tiers] == ["a", "a - confidence"]
    assert read(path).tiers[0].segments[0].confidence is None


def test_a_word_outside_of_all_utterances_leaves_its_tier_alone(tmp_path):
    path = tmp_path / "a.eaf"
    write(Recording(tiers=(Tier("a", (Segment(1, 2, "x", words=(Word(1, 1.5, "x"),)),)),)), path)
    assert len(read(path).tiers) == 1
    path.write_text(path.read_text().replace('TIME_VALUE="1500"', 'TIME_VALUE="2500"'))
    assert [(tier.name, tier.kind) for tier in read(path).tiers] == [
        ("a", "utterances"),
        ("a - words", "words"),
    ]
