"""A copy of an .eaf with tiers more is the original but for these, byte for byte."""

import re

import pytest
from drawn_annotations import CONFIDENCES, TEXTS, draw_tiers
from field_eaf import FIELD
from hypothesis import HealthCheck, given, settings
from pympi.Elan import Eaf

from espnet_wsm.annotations import Segment, Tier, Word
from espnet_wsm.annotations.eaf import add_tiers, read
from espnet_wsm.errors import UserError

ADDED = Tier(
    "asr",
    (
        Segment(0.123, 1.001, "ndi <na>", 0.75, words=(Word(0.2, 0.5, "ndi", 0.5),)),
        Segment(2.0, 2.2, 'é"', 0.5),
    ),
    speaker="Anna & co",
)
LAST_ID = re.compile(rb'(<PROPERTY NAME="lastUsedAnnotationId">)\d+')
# One line a new element; white space of the file stands before it.
ELEMENTS = (
    rb'\s*<TIME_SLOT TIME_SLOT_ID="ts(9|1[0-9])" TIME_VALUE="\d+"/>',
    rb'\s*<TIER LINGUISTIC_TYPE_REF="[a-z2 ]+"[^>]* TIER_ID="asr[^>]*>.*?</TIER>',
    rb'\s*<LINGUISTIC_TYPE [^>]*LINGUISTIC_TYPE_ID="(utterances|words in utterances|confidence 2)"[^>]*>',
    rb'\s*<CONSTRAINT [^>]*STEREOTYPE="Included_In"/>',
)


def take_out(content: bytes) -> bytes:
    """The copy without what was added."""
    for element in ELEMENTS:
        content, count = re.subn(element, b"", content, flags=re.DOTALL)
        assert count
    return content


FORMS = {
    "as it was": FIELD.encode(),
    "lines of Windows": FIELD.replace("\n", "\r\n").encode(),
    "without line breaks": re.sub(r"\n\s*", " ", FIELD).replace("> <", "><").encode(),
    "with tabs and a mark": b"\xef\xbb\xbf" + FIELD.replace("    ", "\t").encode(),
    "latin-1": FIELD.replace("UTF-8", "ISO-8859-1").replace("ehe", "éhé").encode("latin-1"),
    "utf-16": FIELD.replace("UTF-8", "UTF-16").encode("utf-16"),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_but_the_new_tiers_stays_as_it_is(form, tmp_path):
    source, out = tmp_path / "a.eaf", tmp_path / "b.eaf"
    source.write_bytes(FORMS[form])
    source.chmod(0o444)
    add_tiers(source, out, [ADDED])
    assert source.read_bytes() == FORMS[form]
    old, new = FORMS[form], out.read_bytes()
    if form == "utf-16":
        assert new.startswith(old[:2])
        old, new = (content.decode("utf-16").encode() for content in (old, new))
    assert LAST_ID.search(old)[0].endswith(b">40") and LAST_ID.search(new)[0].endswith(b">46")
    assert take_out(LAST_ID.sub(rb"\g<1>40", new)) == old
    if form == "lines of Windows":
        assert new.count(b"\n") == new.count(b"\r\n")
    assert read(out).tiers == (*read(source).tiers, ADDED)


def test_everything_between_the_new_elements_is_found_by_the_test():
    with pytest.raises(AssertionError):
        take_out(FIELD.encode())


def test_the_copy_is_read_by_pympi(tmp_path):
    (tmp_path / "a.eaf").write_text(FIELD, encoding="utf-8")
    add_tiers(tmp_path / "a.eaf", tmp_path / "b.eaf", [ADDED])
    old, new = Eaf(tmp_path / "a.eaf"), Eaf(tmp_path / "b.eaf")
    assert new.get_annotation_data_for_tier("asr") == [(123, 1001, "ndi <na>"), (2000, 2200, 'é"')]
    assert [one[:3] for one in new.get_ref_annotation_data_for_tier("asr - confidence")] == [
        (123, 1001, "0.750"), (2000, 2200, "0.500"),
    ]  # fmt: skip
    # The type that is called confidence in this file is another one.
    assert new.get_parameters_for_tier("asr - confidence")["LINGUISTIC_TYPE_REF"] == "confidence 2"
    for name in old.get_tier_names():
        assert new.tiers[name] == old.tiers[name]
    times = [time for time in new.timeslots.values() if time is not None]
    assert times == sorted(times) and len(new.timeslots) == len(old.timeslots) + 6


def test_ids_are_new_and_types_are_shared(tmp_path):
    paths = [tmp_path / f"{number}.eaf" for number in range(3)]
    paths[0].write_text(FIELD.replace(">40<", "><"), encoding="utf-8")
    for number, name in ((1, "asr"), (2, "again")):
        tier = Tier(name, ADDED.segments)
        add_tiers(paths[number - 1], paths[number], [tier])
    content = paths[2].read_text(encoding="utf-8")
    ids = re.findall(r'(?:ANNOTATION_ID|TIME_SLOT_ID)="(\w+)"', content)
    assert len(ids) == len(set(ids)) and "a31" in ids
    assert len(re.findall("<LINGUISTIC_TYPE ", content)) == 5 + 3
    assert read(paths[2]).tiers[-1] == Tier("again", ADDED.segments)


@pytest.mark.parametrize(
    "order", ["<TIME_ORDER/>", "<TIME_ORDER></TIME_ORDER>", "<TIME_ORDER>\n    </TIME_ORDER>"]
)
def test_a_file_without_annotations_gets_some(order, tmp_path):
    head, rest = FIELD.split("<TIME_ORDER>")
    (tmp_path / "a.eaf").write_text(
        head + order + "\n" + rest[rest.index("    <LINGUISTIC_TYPE") :], encoding="utf-8"
    )
    add_tiers(tmp_path / "a.eaf", tmp_path / "b.eaf", [ADDED])
    assert read(tmp_path / "b.eaf").tiers == (ADDED,)
    content = (tmp_path / "b.eaf").read_text(encoding="utf-8")
    names = re.findall(r"\n    <(\w+)", content)
    assert names.index("TIME_ORDER") < names.index("TIER") < names.index("LINGUISTIC_TYPE")


def test_new_elements_stand_where_the_schema_wants_them(tmp_path):
    bare = re.sub(r"    <(LOCALE|CONSTRAINT) .*\n", "", FIELD)
    (tmp_path / "a.eaf").write_text(bare, encoding="utf-8")
    add_tiers(tmp_path / "a.eaf", tmp_path / "b.eaf", [ADDED])
    names = re.findall(r"\n    <(\w+)", (tmp_path / "b.eaf").read_text(encoding="utf-8"))
    order = [
        "LICENSE",
        "HEADER",
        "TIME_ORDER",
        "TIER",
        "LINGUISTIC_TYPE",
        "CONSTRAINT",
        "CONTROLLED_VOCABULARY",
    ]
    assert list(dict.fromkeys(names)) == order
    assert names == sorted(names, key=order.index) and names.count("CONSTRAINT") == 2


def test_times_are_those_of_the_audio(tmp_path):
    origin = FIELD.replace('MIME_TYPE="audio/x-wav"', 'MIME_TYPE="audio/x-wav" TIME_ORIGIN="500"')
    (tmp_path / "a.eaf").write_text(origin, encoding="utf-8")
    tier = Tier("asr", (Segment(0.75, 1, "x"),))
    add_tiers(tmp_path / "a.eaf", tmp_path / "b.eaf", [tier])
    assert Eaf(tmp_path / "b.eaf").get_annotation_data_for_tier("asr") == [(250, 500, "x")]
    assert read(tmp_path / "b.eaf").tiers[-1] == tier
    early = Tier("asr", (Segment(0.25, 1, "x"),))
    with pytest.raises(UserError, match=r"'x' at 0.25 s lies before 0.5 s, where the file's times begin"):
        add_tiers(tmp_path / "a.eaf", tmp_path / "c.eaf", [early])


def test_nothing_is_written_where_it_must_not(tmp_path):
    source = tmp_path / "a.eaf"
    source.write_text(FIELD, encoding="utf-8")
    (tmp_path / "link.eaf").symlink_to(source)
    for out in (source, tmp_path / "link.eaf"):
        with pytest.raises(UserError, match="is the file that is copied"):
            add_tiers(source, out, [ADDED], overwrite=True)
    (tmp_path / "b.eaf").write_text("mine")
    with pytest.raises(UserError, match=r"b\.eaf is there already"):
        add_tiers(source, tmp_path / "b.eaf", [ADDED])
    with pytest.raises(UserError, match=r"a.eaf: there is a tier A_utt already: name the new one otherwise"):
        add_tiers(source, tmp_path / "c.eaf", [Tier("A_utt")])
    assert source.read_text(encoding="utf-8") == FIELD and (tmp_path / "b.eaf").read_text() == "mine"
    assert not (tmp_path / "c.eaf").exists()


def test_any_tiers_come_back_from_a_copy(tmp_path):
    # ELAN makes no slots without a time but those between annotations that follow each other.
    sound = FIELD.replace('"ts6"/>', '"ts6" TIME_VALUE="2600"/>')
    (tmp_path / "a.eaf").write_text(sound, encoding="utf-8")
    before = read(tmp_path / "a.eaf").tiers

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(draw_tiers(TEXTS, CONFIDENCES, words=True))
    def check(tiers):
        add_tiers(tmp_path / "a.eaf", tmp_path / "b.eaf", tiers, overwrite=True)
        assert read(tmp_path / "b.eaf").tiers == (*before, *tiers)

    check()
