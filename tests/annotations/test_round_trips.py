"""What is written comes back the same, in each format what it holds."""

import re

import pytest
from drawn_annotations import (
    CONFIDENCES,
    LINES,
    NAMES,
    TEXTS,
    WORDS,
    draw_everything,
    draw_tiers,
    name_tiers_by_speakers,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espnet_wsm.annotations import (
    FORMATS,
    Recording,
    Segment,
    Tier,
    read_annotations,
    write_annotations,
)
from espnet_wsm.errors import UserError

# Cues have no blank lines, no space at the ends of lines.
CUES = st.lists(LINES.map(str.strip).filter(lambda line: line.strip(" \t")), max_size=2).map("\n".join)
# What sclite takes: no braces, one space between words.
SCLITE_WORDS = WORDS.map(lambda word: re.sub("[{} ]", "", word))
SCLITE_TEXTS = st.lists(SCLITE_WORDS, max_size=3).map(" ".join)
UNSPACED = st.sampled_from(("anna", "نص", "a-b"))

DRAWN = {
    "json": draw_everything(),
    "tsv": draw_tiers(TEXTS, CONFIDENCES, speakers=st.one_of(st.none(), NAMES)).map(
        lambda tiers: Recording(tiers=tiers)
    ),
    "srt": draw_tiers(CUES, names=st.just("subtitles")).map(lambda tiers: Recording(tiers=tiers)),
    "vtt": draw_tiers(CUES).map(lambda tiers: Recording(tiers=name_tiers_by_speakers(tiers))),
    "textgrid": draw_tiers(TEXTS.filter(bool), words=True).map(
        lambda tiers: Recording(tiers=tiers, duration=20.5)
    ),
    "eaf": draw_tiers(TEXTS, CONFIDENCES, True, st.one_of(st.none(), NAMES)).map(
        lambda tiers: Recording("a/b c.wav", tiers, language="sn")
    ),
    "audacity": draw_tiers(LINES, names=st.just("labels")).map(lambda tiers: Recording(tiers=tiers)),
    "ctm": draw_tiers(SCLITE_WORDS, CONFIDENCES, kind="words", names=st.sampled_from(("1", "2", "A"))).map(
        lambda tiers: Recording("talk", tiers)
    ),
    "stm": draw_tiers(SCLITE_TEXTS, names=UNSPACED).map(
        lambda tiers: Recording("talk", name_tiers_by_speakers(tiers))
    ),
}  # fmt: skip


def sort_tiers(recording: Recording) -> Recording:
    """Formats without tiers list speakers and channels as they come."""
    tiers = tuple(sorted(recording.tiers, key=lambda tier: tier.name))
    return Recording(recording.audio, tiers, recording.duration, recording.language)


def test_every_format_that_is_read_and_written_is_drawn():
    assert {name for name, one in FORMATS.items() if one.read and one.write} == set(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_what_was_written_comes_back(name, tmp_path):
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(DRAWN[name])
    def check(recording):
        path = tmp_path / f"file{FORMATS[name].suffix}"
        options = {"rules": None} if name in ("srt", "vtt") else {}
        write_annotations(recording, path, name, overwrite=True, **options)
        found = read_annotations(path, name)
        if name in ("vtt", "ctm", "stm"):
            found, recording = sort_tiers(found), sort_tiers(recording)
        assert found == recording

    check()


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.write])
def test_a_file_that_is_there_is_replaced_only_when_asked_for(name, tmp_path):
    path = tmp_path / f"file{FORMATS[name].suffix}"
    tier = Tier("1", (Segment(0, 1, "a"),), "words")
    recording = Recording("talk.wav", (tier,))
    path.write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        write_annotations(recording, path, name)
    assert path.read_text() == "mine"
    write_annotations(recording, path, name, overwrite=True)
    assert path.read_text() != "mine"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.read])
def test_what_cannot_be_read_is_named(name, tmp_path):
    path = tmp_path / f"file{FORMATS[name].suffix}"
    with pytest.raises(UserError, match=f"{path.name} cannot be read: No such file"):
        read_annotations(path, name)
    path.write_bytes(b"1\xff\n")
    with pytest.raises(UserError, match=f"{path.name}, line 1: is not utf-8"):
        read_annotations(path, name)
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=r"git lfs pull"):
        read_annotations(path, name)
    for content in ("", "nothing of it\n", "\x00\x00"):
        path.write_text(content)
        if (name, content) not in (("srt", ""), ("audacity", "")):  # neither cues nor labels
            with pytest.raises(UserError, match=path.name):
                read_annotations(path, name)


def test_formats_are_known_by_suffixes(tmp_path):
    with pytest.raises(UserError, match=r"could be audacity or elan_table: name its format"):
        read_annotations(tmp_path / "a.txt")
    with pytest.raises(UserError, match=r"has a suffix, \.doc, of no format"):
        read_annotations(tmp_path / "a.doc")
    with pytest.raises(UserError, match="no format elan_table can be written"):
        write_annotations(Recording(), tmp_path / "a.txt", "elan_table")
    with pytest.raises(UserError, match="json takes no rules: leave it out"):
        write_annotations(Recording(), tmp_path / "a.json", rules=None)
    write_annotations(Recording(), tmp_path / "A.JSON")
    assert read_annotations(str(tmp_path / "A.JSON")) == Recording()
