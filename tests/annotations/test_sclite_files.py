"""CTM and STM: sclite scores what is written, and what it would misread is refused."""

import re

import pytest

from espnet_wsm.annotations import Recording, Segment, Tier, Word, ctm, read_annotations, stm
from espnet_wsm.errors import UserError
from espnet_wsm.scoring.sclite import find_sclite, run_program

# Two speakers, two channels, texts that look like labels, comments and other syntax of sclite's.
SPOKEN = {
    "anna": ["hello big world", "<unk> again", ";; no comment", "a;b c/d g\\h (i) j* 50% é ё \u00a0x"],
    "boris": ["<b>", "", 'yes -no- "quoted" \'it'],
}


def make_recording(audio: str, errors: bool = False) -> Recording:
    """Each segment lasts a second; with ``errors`` the last word of each is another one."""
    tiers = []
    for channel, (speaker, texts) in enumerate(SPOKEN.items(), start=1):
        segments = []
        for start, text in enumerate(texts, start=channel):
            words = [word for word in text.split(" ") if word]
            step = 1 / max(1, len(words))
            if errors and words:
                words[-1] = "wrong"
            timed = [
                Word(round(start + index * step, 3), round(start + index * step + 0.02, 3), word, 0.5)
                for index, word in enumerate(words)
            ]
            segments.append(Segment(start, start + 0.999, " ".join(words), words=timed))
        tiers.append(Tier(str(channel), segments, speaker=speaker))
    return Recording(audio, tiers)


def score(folder) -> dict[str, tuple[int, ...]]:
    """sclite's counts (correct, substituted, deleted, inserted) by recording and speaker."""
    options = ["-r", "ref.stm", "stm", "-h", "hyp.ctm", "ctm", "-s", "-e", "utf-8", "-o", "all", "stdout"]
    status, stdout, stderr = run_program([*find_sclite(), *options], folder, timeout=60)
    assert status == 0, stderr
    found: dict[str, tuple[int, ...]] = {}
    for block in stdout.split("\nid: ")[1:]:
        speaker = re.match(r"\((\w+)-", block)[1]
        file = re.search("^File: (.*)$", block, re.MULTILINE)[1]
        counts = map(
            int, re.search(r"^Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", block, re.MULTILINE).groups()
        )
        key = f"{file} {speaker}"
        found[key] = tuple(map(sum, zip(found.get(key, (0, 0, 0, 0)), counts, strict=True)))
    return found


@pytest.mark.sclite
@pytest.mark.parametrize("errors", [False, True])
def test_sclite_takes_both_files(errors, tmp_path):
    stm.write([make_recording("dir/talk b.wav"), make_recording("another.flac")], tmp_path / "ref.stm")
    ctm.write([make_recording("talk b.mp3", errors), make_recording("another", errors)], tmp_path / "hyp.ctm")
    anna, boris = 3 + 2 + 3 + 9, 1 + 0 + 4
    expected = {"anna": (anna - 4, 4, 0, 0), "boris": (boris - 2, 2, 0, 0)} if errors else {
        "anna": (anna, 0, 0, 0), "boris": (boris, 0, 0, 0),
    }  # fmt: skip
    assert score(tmp_path) == {
        f"{file} {speaker}": counts for file in ("another", "talk_b") for speaker, counts in expected.items()
    }


@pytest.mark.sclite
def test_confidences_and_comments_may_be_missing_or_there(tmp_path):
    recording = make_recording("talk")
    stm.write(recording, tmp_path / "ref.stm")
    ctm.write(recording, tmp_path / "hyp.ctm")
    lines = (tmp_path / "hyp.ctm").read_text().splitlines()
    lines[0] = lines[0].removesuffix(" 0.500")
    (tmp_path / "hyp.ctm").write_text(";; comment\n" + "\n".join(lines) + "\n")
    assert score(tmp_path)["talk anna"] == (17, 0, 0, 0)
    first, *others = ctm.read(tmp_path / "hyp.ctm").tiers[0].segments
    assert first.confidence is None and {other.confidence for other in others} == {0.5}


def test_lines_are_sorted_as_sclite_wants_them(tmp_path):
    late, early = (Tier(name, (Segment(start, start + 1, "a"),)) for name, start in (("x", 5), ("y", 2)))
    stm.write([Recording("b", (late, early)), Recording("a", (late,))], tmp_path / "a.stm", channel="A")
    assert (tmp_path / "a.stm").read_text() == (
        "a A x 5.000 6.000 a\nb A y 2.000 3.000 a\nb A x 5.000 6.000 a\n"
    )


def test_several_recordings_are_read_by_name(tmp_path):
    path = tmp_path / "a.stm"
    stm.write([make_recording("one"), make_recording("two")], path)
    assert [one.audio for one in stm.read_all(path)] == ["one", "two"]
    assert read_annotations(path, recording="two").audio == "two"
    with pytest.raises(UserError, match=r"a.stm holds 2 recordings: name one of one, two"):
        read_annotations(path)
    with pytest.raises(UserError, match=r"a.stm holds no recording three: name one of one, two"):
        read_annotations(path, recording="three")


def test_labels_and_what_is_not_scored_are_left_out(tmp_path):
    path = tmp_path / "a.stm"
    path.write_text(
        ";; LABEL \"o\" \"all\"\n"
        "talk A anna 0 1.5 <o,f0,female> hello  there\n"
        "talk A anna 2 3 IGNORE_TIME_SEGMENT_IN_SCORING\n"
        "talk\tB anna 3 4 <NA>\n"
    )  # fmt: skip
    assert stm.read(path).tiers == (
        Tier("anna (A)", (Segment(0, 1.5, "hello  there"),), speaker="anna"),
        Tier("anna (B)", (Segment(3, 4, ""),), speaker="anna"),
    )


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("a.stm", "talk 1 anna 0.5", "there are 4 fields, and at least 5 are needed"),
        ("a.stm", "talk 1 anna 0.5 x a", "end is 'x', which is no number"),
        ("a.stm", "talk 1 anna 2 1 a", "1 s, where it ends, is before 2 s"),
        ("a.ctm", "talk 1 0.5 0.1", "there are 4 fields, and 5 or 6 are needed"),
        ("a.ctm", "talk 1 0.5 0.1 a 0.5 b", "there are 7 fields"),
        ("a.ctm", "talk 1 0.5 -0.1 a", "duration is -0.1"),
        ("a.ctm", "talk 1 nan 0.1 a", "start is 'nan', which is no number"),
        ("a.ctm", "talk 1 0.5 0.1 a NA", "confidence is 'NA', which is no number"),
        ("a.ctm", "talk 1 0.5 0.1 a 1.5", r"confidence is 1.5: it has to be from 0 to 1"),
        ("a.ctm", "talk 1 * * <ALT_BEGIN>", r"alternatives \(<ALT>\) cannot be read"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(name, line, message, tmp_path):
    (tmp_path / name).write_text(f";; comment\n\n{line}\n")
    with pytest.raises(UserError, match=f"{name}, line 3: {message}"):
        read_annotations(tmp_path / name)
    (tmp_path / name).write_text(";; comment\n")
    with pytest.raises(UserError, match=f"{name} holds no recording"):
        read_annotations(tmp_path / name)


@pytest.mark.parametrize("line", ["t\x16 1 0.5 0.1 a", "t\x16 1 anna 0.5 1 a"])
def test_a_name_that_cannot_be_is_told_with_its_file(line, tmp_path):
    path = tmp_path / ("a.stm" if "anna" in line else "a.ctm")
    path.write_text(line)
    with pytest.raises(
        UserError, match=rf"{path.name}, the whole file: audio holds the control character U\+0016"
    ):
        read_annotations(path)


@pytest.mark.parametrize("module", [stm, ctm])
@pytest.mark.parametrize(
    ("audio", "text", "message"),
    [
        (None, "a", "the name of the audio is not known"),
        (";;x", "a", "begins like a comment"),
        ("talk", "w" * 901, "has more than 900 bytes, and sclite hangs"),
    ],
)
def test_what_sclite_would_misread_is_refused(module, audio, text, message, tmp_path):
    recording = Recording(audio, (Tier("a", (Segment(0, 1, text, words=(Word(0, 1, text),)),)),))
    with pytest.raises(UserError, match=message):
        module.write(recording, tmp_path / "a")
    with pytest.raises(UserError, match="channel is 'a b'"):
        module.write(Recording("talk"), tmp_path / "a", channel="a b")
    assert list(tmp_path.iterdir()) == []


def test_alternatives_of_sclite_are_refused():
    def make(text):
        return Recording(
            "talk", (Tier("a", (Segment(0, 1, text, words=(Word(0, 1, text.replace(" ", "_")),)),)),)
        )

    with pytest.raises(UserError, match=r"talk, segment at 0 s: the word \{ holds a brace"):
        stm.format_stm(make("{ a / b }"))
    with pytest.raises(UserError, match=r"talk, word at 0 s: the word <ALT> would begin alternatives"):
        ctm.format_ctm(make("<ALT>"))


def test_words_come_from_utterances_and_from_tiers_of_words():
    timed = Tier("a", (Segment(0, 1, "x y", words=(Word(0, 0.5, "x"), Word(0.5, 1, "y", 1.0))),))
    separate = Tier("B", (Segment(0.25, 0.5, "z"), Segment(0.5, 1, "")), "words")
    lines = "talk 1 0.000 0.500 x\ntalk 1 0.500 0.500 y 1.000\n"
    assert ctm.format_ctm(Recording("talk", (timed,))) == lines
    assert ctm.format_ctm(Recording("talk", (timed, separate))) == lines + "talk B 0.250 0.250 z\n"
    with pytest.raises(UserError, match=r"tier a: the segment at 0 s has no times of words: align it first"):
        ctm.format_ctm(Recording("talk", (Tier("a", (Segment(0, 1, "x y"),)),)))
    with pytest.raises(UserError, match=r"the word 'x y' holds white space"):
        ctm.format_ctm(Recording("talk", (Tier("a", (Segment(0, 1, "x y"),), "words"),)))
