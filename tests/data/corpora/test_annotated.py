"""Annotated recordings of all formats become Kaldi data with segments."""

import re
from pathlib import Path

import pytest
from drawn_annotations import draw_tiers, name_tiers_by_speakers
from field_eaf import FIELD
from field_recordings import make_tier, write_noise, write_recording
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espnet_wsm.annotations import FORMATS, Recording, write_annotations
from espnet_wsm.annotations.model import find_spoken_tiers
from espnet_wsm.bin import prepare_corpus
from espnet_wsm.data.corpora.annotation_rules import AnnotationRules
from espnet_wsm.data.corpora.sources import list_source
from espnet_wsm.data.corpora.tier_choice import TierWish
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir

SPLITS = ("train", "dev", "test")
ANNA = make_tier("A", (0.5, 2, "ndi na iwe"), (3, 4, "ehe"), (5.25, 6, "[laughs] mhoro"), speaker="Anna")
BORIS = make_tier("B", (1, 2.5, "mhoro"), (3.5, 4.5, "(?)"), (7, 8, "zvakanaka"), (8, 9, ""), speaker="Boris")


@pytest.fixture
def field(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("field").mkdir()
    return Path("field")


@pytest.fixture
def prepare(field, capsys):
    """``prepare(words...)`` prepares field; gives all utterances and what was printed."""

    def run(*words: str, source: str = "field") -> tuple[list[Utterance], str]:
        prepare_corpus.main(["--downloads", source, "--out", "data", *words])
        used = [each for name in SPLITS for each in read_data_dir(Path("data") / name)]
        return sorted(used, key=lambda each: (str(each.audio), each.start)), capsys.readouterr().out

    return run


@pytest.fixture
def fault(field, capsys):
    """``fault(words...)`` cannot prepare field, and leaves nothing; gives the error."""

    def run(*words: str, source: str = "field") -> str:
        before = {path: path.read_bytes() for path in field.rglob("*") if path.is_file()}
        with pytest.raises(SystemExit) as stop:
            prepare_corpus.main(["--downloads", source, "--out", "data", *words])
        assert stop.value.code == 1 and not Path("data").exists()
        assert {path: path.read_bytes() for path in field.rglob("*") if path.is_file()} == before
        return capsys.readouterr().err

    return run


def show(used: list[Utterance]) -> list[tuple]:
    return [(each.speaker, each.start, each.end, each.text) for each in used]


SAID = [
    ("Anna", 0.5, 2.0, "ndi na iwe"),
    ("Boris", 1.0, 2.5, "mhoro"),
    ("Anna", 3.0, 4.0, "ehe"),
    ("Anna", 5.25, 6.0, "mhoro"),
    ("Boris", 7.0, 8.0, "zvakanaka"),
]


@pytest.mark.parametrize("suffix", [".eaf", ".TextGrid", ".stm", ".vtt", ".srt", ".json"])
def test_each_format_gives_the_same_utterances(field, prepare, suffix):
    write_recording(field / f"talk{suffix}", [ANNA, BORIS])
    used, said = prepare(source="field" if suffix != ".json" else "field/talk.json")
    assert [each[1:] for each in show(used)] == [each[1:] for each in SAID]
    if suffix in (".eaf", ".stm", ".vtt", ".json"):
        assert show(used) == SAID
    assert {str(each.audio) for each in used} == {"field/talk.wav"}
    if suffix != ".srt":  # subtitles of both are one tier
        assert "tiers taken: " in said and "A" in said
    dropped = Path("data/dropped.txt").read_text()
    assert dropped.count("nothing but notes in brackets") == 1
    assert not list(field.glob("*.flac")) and "segments" in [
        path.name for path in Path("data/train").iterdir()
    ]


@pytest.mark.parametrize("name", ["audacity", "elan_table"])
def test_formats_of_text_files_are_named(field, prepare, fault, name):
    lines = {
        "audacity": "{0:.6f}\t{1:.6f}\t{2}\n",
        "elan_table": "A\tAnna\t00:00:0{0:.3f}\t00:00:0{1:.3f}\t{2}\n",
    }[name]
    write_noise(field / "talk.wav", 10)
    (field / "talk.txt").write_text("".join(lines.format(s.start, s.end, s.text) for s in ANNA.segments))
    assert "field holds none of metadata.csv" in fault()
    used, _ = prepare("--format", name)
    assert [each.text for each in used] == ["ndi na iwe", "ehe", "mhoro"]
    assert {each.speaker for each in used} == {"Anna" if name == "elan_table" else "talk"}


def test_words_of_a_ctm_are_joined_at_pauses(field, prepare):
    words = [(0.5 + 0.4 * n + (2 if n > 4 else 0), f"w{n}") for n in range(9)]
    (field / "talk.ctm").write_text("".join(f"talk 1 {start:.2f} 0.30 {word}\n" for start, word in words))
    write_noise(field / "talk.wav", 10)
    (field / "other.ctm").write_text("other 1 1.0 0.5 mhoro\n")
    write_noise(field / "other.wav", 10)
    used, said = prepare()
    assert [each.text for each in used] == ["mhoro", "w0 w1 w2 w3 w4", "w5 w6 w7 w8"]
    assert "10 words joined to utterances at pauses of more than 0.5 s" in said


def test_the_recordings_of_one_stm_are_found_by_their_names(field, prepare):
    lines = [f"talk{n} 1 anna {m} {m + 1} mhoro {n} {m}" for n in range(3) for m in range(2)]
    (field / "all.stm").write_text("\n".join(lines) + "\n")
    for n in range(3):
        write_noise(field / f"audio/TALK{n}.WAV", 5)
    used, _ = prepare()
    assert [Path(str(each.audio)).name for each in used] == [f"TALK{n}.WAV" for n in "001122"]


@pytest.mark.parametrize(
    "place", ["field/Talk.WAV", "field/wav/talk.flac", "audio/talk.wav", "else where/a/talk.mp3"]
)
def test_audio_of_another_machine_is_found_by_its_name(field, place):
    """The .eaf names a video and ``C:/Users/Mine Own/talk.wav``, and ``audio/talk.wav``."""
    (field / "talk.eaf").write_text(FIELD)
    write_noise(Path(place), 5)
    rules = AnnotationRules(audio=Path("else?where") if place.startswith("else") else None)
    rows = list_source(field, rules=rules).rows
    assert {(row.folder / row.path).resolve() for row in rows} == {Path(place).resolve()}


def test_missing_audio_is_an_error_with_the_remedy(field, fault):
    write_recording(field / "talk.TextGrid", [ANNA], audio=None)
    said = fault()
    assert "talk.TextGrid: A at 0.50 s: field/talk is no file, and 3 of 3 rows are like this" in said
    assert "--audio recordings" in said and "ffmpeg" in said
    assert "--audio none is not a folder" in fault("--audio", "none")


def test_audio_of_one_name_in_two_folders_is_not_guessed(field, fault):
    write_recording(field / "talk.srt", [ANNA], audio=None)
    for folder in "ab":
        write_noise(Path("recordings") / folder / "talk.wav", 10)
    assert "recordings/a/talk.wav and recordings/b/talk.wav have one name" in fault("--audio", "recordings")


def test_of_two_audio_files_in_an_eaf_the_first_is_taken_and_said(field):
    text = FIELD.replace("file:///D:/field/talk.mpg", "file:///D:/lapel.wav").replace(
        "video/mpeg", "audio/x-wav"
    )
    (field / "talk.eaf").write_text(text)
    for name in ("talk.wav", "lapel.wav"):
        write_noise(field / name, 5)
    listing = list_source(field)
    assert "names lapel.wav, which is taken, and talk.wav" in listing.said[-1]
    assert {row.path for row in listing.rows} == {"lapel.wav"}


def test_tiers_that_do_not_exist_name_those_that_do(field, fault):
    (field / "talk.eaf").write_text(FIELD)
    write_noise(field / "talk.wav", 5)
    said = fault("--tier", "tx@*")
    assert (
        "field/talk.eaf has no tier for --tier tx@*; it has A_utt (type utt), B_utt (type utt), A_gloss"
        in said
    )
    assert "has no tier for --tier_type nn" in fault("--tier_type", "nn")
    assert "has no tier for --tier_number 9" in fault("--tier_number", "9")
    listing = list_source(field, rules=AnnotationRules(wish=TierWish(("A?ft", "A_utt"), "ft")))
    assert listing.said[0] == "tiers taken: A_ft (type ft, of A_utt)"
    assert listing.said[1].startswith("tiers not taken: A_utt (type utt), B_utt (type utt), A_gloss")
    assert [row.text for row in listing.rows] == ["it's me and you"]


def test_a_file_without_the_tier_is_listed_and_the_others_are_used(field, prepare):
    write_recording(field / "a.eaf", [ANNA])
    write_recording(field / "b.eaf", [BORIS])
    used, said = prepare("--tier", "A")
    assert {each.speaker for each in used} == {
        "Anna"
    } and "tiers taken: A (type utterances) [in 1 of 2]" in said
    assert "field/b.eaf no such tier" in Path("data/dropped.txt").read_text()


@pytest.mark.parametrize(
    ("option", "speakers"),
    [("participant", {"Anna", "talk-C"}), ("tier", {"A", "C"}), ("file", {"talk"})],
)
def test_speakers_are_participants_tiers_or_files(field, prepare, option, speakers):
    nobody = make_tier("C", (4.25, 5, "ehe ehe"), (6.5, 7, "tatenda"))
    write_recording(field / "talk.eaf", [ANNA, nobody])
    used, said = prepare("--speaker", option)
    assert {each.speaker for each in used} == speakers
    assert ("--speaker tier if" in said) == (option == "participant")


@pytest.mark.parametrize(
    ("option", "texts"),
    [
        ("remove", ["ndi na iwe", "ehe", "mhoro"]),
        ("leave_out", ["ndi na iwe", "ehe"]),
        ("keep", ["ndi na iwe", "ehe", "[laughs] mhoro"]),
    ],
)
def test_notes_in_brackets(field, prepare, option, texts):
    filler = make_tier("B", (7, 7.5, "tatenda"), (8, 9, "[not closed"), (9, 9.5, "..."), speaker="B")
    write_recording(field / "talk.eaf", [ANNA, filler])
    used, said = prepare("--notes", option)
    assert [each.text for each in used if each.speaker == "Anna"] == texts
    assert ("removed from 1 utterance" in said) == (option == "remove")
    dropped = Path("data/dropped.txt").read_text()
    assert "nothing but signs" in dropped
    assert ("bracket without its counterpart" in dropped) == (option == "remove")


def test_overlaps_can_be_left_out(field, prepare):
    write_recording(field / "talk.eaf", [ANNA, BORIS])
    used, said = prepare()
    assert "2 utterances overlapping with another for more than 0.2 s; --overlaps leave_out" in said
    assert len(used) == 5
    used, said = prepare("--overlaps", "leave_out")
    assert show(used) == SAID[2:] and "overlapping" not in said
    assert Path("data/dropped.txt").read_text().count("overlaps with another") == 2


def test_padding_joining_and_splitting(field, prepare):
    times = [(1.0, 1.4), (1.5, 2.0), (3.0, 3.5), (3.6, 4.0)]
    long = make_tier("A", (1, 4, "ndi na iwe shamwari", times), (5, 5.5, "ehe"), (5.75, 6.5, "ehe zvakanaka"),
                     (8, 9.95, "tatenda"), speaker="Anna")  # fmt: skip
    write_recording(field / "talk.eaf", [long])
    used, said = prepare("--split_above", "1.9", "--merge_below", "1", "--padding", "0.1")
    assert show(used) == [
        ("Anna", 0.9, 2.5, "ndi na"),
        ("Anna", 2.5, 4.1, "iwe shamwari"),
        ("Anna", 4.9, 6.6, "ehe ehe zvakanaka"),
        ("Anna", 7.9, 10.0, "tatenda"),
    ]
    assert "1 annotation joined with the one before" in said and "1 utterance split at pauses" in said
    assert "1 utterance longer than 1.9 s and without times of words" in said


def test_folders_that_are_called_as_sets_are_the_sets(field, prepare):
    for name in SPLITS:
        write_recording(field / name / f"{name}1.eaf", [ANNA])
    _, said = prepare()
    assert "splits: as the corpus says" in said and "test: 3 utterances" in said


def test_two_formats_of_the_same_annotations_are_not_read_twice(field, fault, prepare):
    write_recording(field / "talk.eaf", [ANNA])
    write_recording(field / "talk.TextGrid", [ANNA], audio=None)
    said = fault()
    assert "field holds 1 .textgrid and 1 .eaf" in said and "--format, one of textgrid, eaf" in said
    assert len(prepare("--format", "eaf")[0]) == 3


def test_the_same_time_and_speaker_twice_is_kept_once(field, prepare):
    twice = make_tier("again", (0.5, 2, "ndi na iwe"), (7, 8, "tatenda"), speaker="Anna")
    write_recording(field / "talk.eaf", [ANNA, twice])
    used, _ = prepare("--tier", "A", "again")
    assert [each.text for each in used].count("ndi na iwe") == 1
    assert "same time and speaker as another" in Path("data/dropped.txt").read_text()


# What is not as it should be: content, and what the error says.
EAF = {
    "missing slot": (lambda text: text.replace('TIME_SLOT_REF2="ts4"', 'TIME_SLOT_REF2="ts99"'),
                     "has the time slot ts99, which is not there"),
    "reversed": (lambda text: text.replace('"ts1" TIME_VALUE="1000"', '"ts1" TIME_VALUE="9000"'),
                 r"talk.eaf, line 26: annotation a1 of tier A_utt ends at 2200 ms, before it starts"),
    "version 4": (lambda text: text.replace('FORMAT="2.7"', 'FORMAT="4.0"'), "is of version 4.0"),
    "cut": (lambda text: text[:2000], "talk.eaf"),
}  # fmt: skip


@pytest.mark.parametrize("name", EAF)
def test_faulty_eafs_are_named_with_line_and_remedy(field, fault, name):
    change, message = EAF[name]
    assert change(FIELD) != FIELD
    (field / "talk.eaf").write_text(change(FIELD))
    write_noise(field / "talk.wav", 5)
    assert re.search(message, fault())


@pytest.mark.parametrize("version", ["2.0", "2.7", "2.8", "3.0"])
def test_eafs_of_all_versions_of_elan_are_read(field, version):
    (field / "talk.eaf").write_text(FIELD.replace('FORMAT="2.7"', f'FORMAT="{version}"'))
    write_noise(field / "talk.wav", 5)
    assert [row.text for row in list_source(field).rows] == ["ndi na", "ehe", "over it"]


def test_textgrids_in_utf_16_and_subtitles_with_tags_marks_and_crlf(field):
    tiers = Recording(tiers=(make_tier("A", (0.5, 2, "ndiní ñ"), (3, 4, "ehe")),), duration=10)
    write_annotations(tiers, field / "talk.TextGrid", encoding="utf-16")
    write_noise(field / "talk.wav", 10)
    assert [row.text for row in list_source(field).rows] == ["ndiní ñ", "ehe"]
    (field / "talk.TextGrid").unlink()
    cue = "\ufeff1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>mhoro</i> {\\an8}<font color=red>ñ</font>\r\n\r\n"
    (field / "talk.srt").write_bytes(cue.encode())
    assert [(row.text, row.start, row.end) for row in list_source(field).rows] == [("mhoro ñ", 1.0, 2.5)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("talk.srt", "1\n00:00:02,000 --> 00:00:01,000\na\n", "talk.srt, line 2: 1 s, where it ends, is"),
        ("talk.stm", "talk 1 anna 2.0 1.0 a\n", "talk.stm, line 1: 1 s, where it ends, is before 2 s"),
        ("talk.ctm", "talk 1 2.0 -1.0 a\n", "talk.ctm, line 1: duration is -1.0"),
        ("talk.vtt", "talk", "talk.vtt, line 1: is not WEBVTT"),
        ("talk.srt", "1\n00:00:01,000 --> 00:00:02,000\n...\n", "talk.srt has no tier with text"),
    ],
)  # fmt: skip
def test_faulty_text_files_are_named_with_line_and_remedy(field, fault, name, content, message):
    (field / name).write_text(content)
    write_noise(field / "talk.wav", 5)
    assert re.search(message, fault())


def test_what_lies_behind_the_end_of_the_audio_is_left_out(field):
    write_recording(field / "talk.eaf", [ANNA, BORIS], seconds=5.0)
    listing = list_source(field)
    assert [(row.speaker, row.start, row.end, row.text) for row in listing.rows] == SAID[:3]
    assert ("field/talk.eaf: A at 5.25 s", "behind the end of the audio") in listing.dropped


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "doc"), "--format doc: there are json"),
        (("--speaker", "x"), "--speaker x: there are participant, tier, file"),
        (("--notes", "x"), "--notes x: there are remove, leave_out, keep"),
        (("--encoding", "utf-9", "--format", "srt"), "there is no encoding utf-9"),
    ],
)
def test_options_that_say_nothing_are_refused(field, fault, words, message):
    write_recording(field / "talk.srt", [ANNA])
    assert message in fault(*words)


SPELT = st.lists(
    st.sampled_from(("mhoro", "Straße", "نص", "क्षि", "日本", "e\u0301")), min_size=1, max_size=3
).map(" ".join)


@pytest.mark.parametrize(
    "name", [name for name, one in FORMATS.items() if one.read and one.write and name != "ctm"]
)
def test_what_was_exported_is_imported(name, tmp_path):
    """Texts and times of all tiers, for recordings that are drawn."""
    path = tmp_path / f"talk{FORMATS[name].suffix}"
    write_noise(tmp_path / "talk.wav", 21)
    kept = {"srt": st.just("subtitles"), "audacity": st.just("labels")}.get(
        name, st.sampled_from(("anna", "boris"))
    )

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(draw_tiers(SPELT, names=kept))
    def check(tiers):
        if name == "vtt":  # which knows speakers and no tiers: without them these would be one
            tiers = name_tiers_by_speakers(tiers)
        recording = Recording("talk.wav", tiers, duration=21)
        options = {"rules": None} if name in ("srt", "vtt") else {}
        write_annotations(recording, path, name, overwrite=True, **options)
        rules = AnnotationRules(format=name, wish=TierWish(names=("*",)))
        rows = list_source(path, rules=rules).rows
        expected = [(s.start, s.end, s.text) for tier in find_spoken_tiers(recording) for s in tier.segments]
        assert sorted((row.start, row.end, row.text) for row in rows) == sorted(
            (round(start, 3), round(end, 3), text) for start, end, text in expected
        )

    check()


def overlap_sets() -> list[tuple[Utterance, Utterance]]:
    """Utterances of training, and of dev or test, that overlap."""
    sets = {name: read_data_dir(Path("data") / name) for name in SPLITS}
    return [
        (each, other)
        for each in sets["train"]
        for other in (*sets["dev"], *sets["test"])
        if each.audio == other.audio and each.start < other.end and other.start < each.end
    ]


def talk_over_each_other(path: Path, first: int = 0, last: int = 20, pause: float = 0.0) -> None:
    """Two who speak in turns, each beginning before the other ends; after every fourth turn is a pause."""
    said = {"anna": [], "boris": []}
    begin = 0.0
    for turn in range(first, last):
        said[("anna", "boris")[turn % 2]].append((begin, begin + 1.25, f"turn {path.stem} {turn}"))
        begin += 1 + (0.5 + pause if turn % 4 == 3 and pause else 0)
    tiers = [make_tier(name, *spans, speaker=name) for name, spans in said.items()]
    write_recording(path, tiers, seconds=begin + 1)


@pytest.mark.parametrize(
    ("recordings", "pause", "lost"),
    [(3, 0.0, False), (1, 0.5, False), (1, 0.0, True)],  # the last is one stretch from beginning to end
)
def test_what_overlaps_is_not_in_training_and_in_test(field, prepare, recordings, pause, lost):
    for number in range(recordings):
        talk_over_each_other(field / f"talk{number}.eaf", pause=pause)
    used, said = prepare()
    assert not overlap_sets()
    assert "taken from the rest by text" in said
    dropped = Path("data/dropped.txt").read_text().splitlines()
    assert len(used) + len(dropped) == 20 * recordings
    assert bool(dropped) == lost
    assert all("of train, and overlaps with test or dev" in line for line in dropped)


def test_stretches_are_kept_together_where_texts_are_the_same_everywhere(field, prepare):
    for number in range(4):
        talk_over_each_other(field / f"talk{number}.eaf", pause=0.5)
    for file in field.glob("*.eaf"):
        file.write_text(
            re.sub(r"turn talk\d (\d+)", lambda found: f"turn {int(found[1]) % 2}", file.read_text())
        )
    _, said = prepare()
    assert not overlap_sets() and "by stretches in which utterances overlap" in said
    assert not Path("data/dropped.txt").read_text()
