"""espnet-wsm annotate: what it recognises where, into copies that are otherwise the files."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from field_eaf import FIELD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from praatio import textgrid as praatio
from pympi.Elan import Eaf
from test_transcriber import noise, recipe, trained  # noqa: F401

import espnet_wsm
from espnet_wsm.annotations import (
    Character,
    Recording,
    Segment,
    Tier,
    Word,
    read_annotations,
    write_annotations,
)
from espnet_wsm.annotations.eaf import read
from espnet_wsm.bin import annotate
from espnet_wsm.recognition.stretches import recognise_stretches
from espnet_wsm.recognition.transcript import Transcript


class Scripted:
    """In place of a model: a word at each whole second of a part, and one more that ends with it."""

    def __init__(self):
        self.decoder = SimpleNamespace(calibration=None)
        self.heard: list[int] = []

    def detail_all(self, parts: Iterable[np.ndarray], advance: Callable | None) -> Iterator[Transcript]:
        for samples in parts:
            self.heard.append(len(samples))
            length = len(samples) / 16000
            starts = [second + 0.02 for second in range(int(length))]
            words = [
                Word(start, start + 0.3, "ndi", 0.25, (Character(start, start + 0.1, "n"),))
                for start in starts
            ]
            if length % 1 > 0.1:
                words.append(Word(int(length) + 0.02, length + 0.02, "na", 0.75))
            yield Transcript(" ".join(word.text for word in words), tuple(words), length)


@pytest.fixture
def model(monkeypatch) -> Scripted:
    scripted = Scripted()
    monkeypatch.setattr(annotate, "load_model", lambda args: scripted)
    return scripted


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """talk.eaf, which names audio of another machine that lies beside it, of 5.25 s."""
    monkeypatch.chdir(tmp_path)
    Path("talk.eaf").write_text(FIELD, encoding="utf-8")
    write_audio("talk.wav", 5.25)
    return tmp_path


def write_audio(name: str, seconds: float) -> None:
    soundfile.write(name, np.zeros(round(seconds * 8000), np.int16), 8000)


def removed(one: Path, other: Path) -> list[str]:
    """The lines of a file that another one has not."""
    lines = [path.read_bytes().decode().splitlines(keepends=True) for path in (one, other)]
    return [line[2:] for line in difflib.ndiff(*lines) if line.startswith("- ")]


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        annotate.main(["--model", "m", *words])
    return caught.value.code


def times(tier: Tier) -> list[tuple[float, float]]:
    return [(segment.start, segment.end) for segment in tier.segments]


def test_untranscribed_stretches_are_recognised_into_a_new_tier(model, folder, capsys):
    assert run("talk.eaf") == 0
    said = capsys.readouterr()
    assert said.out == "talk.asr.eaf: 4 utterances in 3.2 s of talk.wav\n"
    assert "confidences are as measured" in said.err
    assert model.heard == [16000, 36000]  # 0 to 1 s, 3 to 5.25 s: transcribed is 1 to 3 s
    old, new = read(Path("talk.eaf")).tiers, read(Path("talk.asr.eaf")).tiers
    assert new[:-1] == old
    assert new[-1] == Tier(
        "ASR",
        (
            Segment(0.02, 0.32, "ndi", 0.25), Segment(3.02, 3.32, "ndi", 0.25),
            Segment(4.02, 4.32, "ndi", 0.25), Segment(5.02, 5.25, "na", 0.75),
        ),
    )  # fmt: skip
    other = Eaf("talk.asr.eaf")
    assert other.get_annotation_data_for_tier("ASR")[-1] == (5020, 5250, "na")
    assert other.get_ref_annotation_data_for_tier("ASR - confidence")[-1][:3] == (5020, 5250, "0.750")


def test_nothing_else_of_the_file_changes(model, folder):
    assert run("talk.eaf", "--words") == 0
    before = (folder / "talk.eaf").read_bytes()
    assert before.decode() == FIELD
    gone = removed(folder / "talk.eaf", folder / "talk.asr.eaf")
    assert len(gone) == 1 and "lastUsedAnnotationId" in gone[0]
    words = [word for segment in read(Path("talk.asr.eaf")).tiers[-1].segments for word in segment.words]
    assert [word.text for word in words] == ["ndi", "ndi", "ndi", "na"]
    assert not any(word.characters for word in words)


def test_tiers_and_lengths_say_what_is_untranscribed(model, folder):
    assert run("talk.eaf", "--tiers", "A_utt", "--out", "a.eaf") == 0
    assert model.heard == [16000, 48800]  # the annotation from 2.2 s on has no text
    model.heard.clear()
    assert run("talk.eaf", "--tiers", "A_utt", "--shortest", "1.5", "--out", "b.eaf") == 0
    assert model.heard == [48800]
    model.heard.clear()
    assert run("talk.eaf", "--where", "all", "--out", "c.eaf", "--tier", "rough", "--pause", "0.6") == 0
    assert model.heard == [84000]
    (tier,) = [tier for tier in read(Path("c.eaf")).tiers if tier.name == "rough"]
    assert len(tier.segments) == 6
    assert run("talk.eaf", "--where", "all", "--out", "d.eaf", "--pause", "0.8") == 0
    assert [segment.text for segment in read(Path("d.eaf")).tiers[-1].segments] == ["ndi ndi ndi ndi ndi na"]
    words = ["--where", "all", "--out", "e.eaf", "--pause", "0.8", "--longest", "3"]
    assert run("talk.eaf", *words) == 0
    assert [segment.text for segment in read(Path("e.eaf")).tiers[-1].segments] == [
        "ndi ndi ndi",
        "ndi ndi na",
    ]


def test_times_count_from_the_place_of_the_audio_that_the_file_begins_at(model, folder, capsys):
    origin = FIELD.replace('MIME_TYPE="audio/x-wav"', 'MIME_TYPE="audio/x-wav" TIME_ORIGIN="500"')
    Path("talk.eaf").write_text(origin, encoding="utf-8")
    assert run("talk.eaf", "--shortest", "0") == 0
    assert model.heard == [16000, 28000]  # annotations are from 1.5 to 3.5 s of the audio
    assert times(read(Path("talk.asr.eaf")).tiers[-1])[0] == (0.52, 0.82)
    assert Eaf("talk.asr.eaf").get_annotation_data_for_tier("ASR")[0] == (20, 320, "ndi")
    Path("talk.wav").rename("talk.mpg")
    write_audio("other.wav", 5)
    assert run("talk.eaf", "--overwrite") == 1
    message = "counts times from another place in talk.mpg than in audio/talk.wav, which is not here"
    assert message in capsys.readouterr().err
    assert run("talk.eaf", "--overwrite", "--audio", "other.wav") == 0


def test_a_textgrid_gets_tiers_too(model, folder):
    tiers = (Tier("anna", (Segment(1.0005, 2, "mhoro"), Segment(2.5, 3, "ehe"))), Tier("clicks"))
    write_annotations(Recording(tiers=tiers, duration=5.0007), "talk.TextGrid")
    assert run("talk.TextGrid", "--shortest", "0.5") == 0
    assert model.heard == [16000, 8000, 32000]
    found = read_annotations("talk.asr.TextGrid")
    assert found.tiers[:2] == tiers and [tier.name for tier in found.tiers[2:]] == ["ASR", "ASR - confidence"]
    expected = [(0.02, 0.32), (2.02, 2.5), (3.02, 3.32), (4.02, 4.32)]
    assert times(found.tiers[2]) == times(found.tiers[3]) == expected
    assert [segment.text for segment in found.tiers[3].segments] == ["0.250", "0.750", "0.250", "0.250"]
    gone = removed(folder / "talk.TextGrid", folder / "talk.asr.TextGrid")
    assert gone == ["size = 2 \n"]
    grid = praatio.openTextgrid("talk.asr.TextGrid", includeEmptyIntervals=False)
    assert [tuple(entry) for entry in grid.getTier("ASR").entries] == [
        (*pair, "na" if pair[0] == 2.02 else "ndi") for pair in expected
    ]


def test_files_that_fail_are_named_and_the_others_written(model, folder, capsys):
    write_annotations(Recording(tiers=(Tier("a"),), duration=1), "lost.TextGrid")
    write_annotations(Recording(tiers=(Tier("ASR"),), duration=1), "done.TextGrid")
    Path("broken.eaf").write_text("<ANNOTATION_DOCUMENT>")
    full = (Tier("anna", (Segment(0, 5.25, "all of it"),)),)
    write_annotations(Recording("talk.wav", full, duration=5.25), "full.eaf")
    words = ["lost.TextGrid", "talk.eaf", "done.TextGrid", "broken.eaf", "full.eaf", "notes.txt", "no.eaf"]
    assert run(*words, "--out_dir", "out/put") == 1
    printed, said = capsys.readouterr()
    assert [path.name for path in Path("out/put").iterdir()] == ["talk.asr.eaf"]
    assert printed == "out/put/talk.asr.eaf: 4 utterances in 3.2 s of talk.wav\n"
    assert "full.eaf: no stretch of 1 s is untranscribed\n" in said
    errors = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
    begins = [
        "audio of the name of lost.TextGrid is",
        "done.TextGrid has a tier ASR already",
        "broken.eaf, line 1",
    ]
    begins += ["notes.txt is neither", "no.eaf cannot be read"]
    for error, begin in zip(errors, begins, strict=True):
        assert error.startswith(begin)


def test_audio_is_looked_for_beside_the_file(model, folder, capsys):
    Path("talk.wav").rename("talk.FLAC")
    assert run("talk.eaf") == 0  # of its own name
    write_audio("talk.ogg", 1)
    capsys.readouterr()
    assert run("talk.eaf", "--overwrite") == 0
    assert "s of talk.FLAC" in "".join(capsys.readouterr()), "of two, what lost nothing, as for import"
    for name in ("talk.FLAC", "talk.ogg"):
        Path(name).unlink()
    assert run("talk.eaf", "--overwrite") == 1
    assert "the audio of talk.eaf, audio/talk.wav, is not on this machine" in capsys.readouterr().err
    for folder in ("audio", "wavs"):  # the path that is named, and a folder where import looks too
        Path(folder).mkdir()
        write_audio(f"{folder}/talk.wav", 5.25)
        assert run("talk.eaf", "--overwrite") == 0
        Path(f"{folder}/talk.wav").unlink()
    Path("elsewhere/in it").mkdir(parents=True)
    write_audio("elsewhere/in it/talk.wav", 5.25)
    assert run("talk.eaf", "--overwrite", "--audio", "elsewhere") == 0
    assert run("talk.eaf", "--overwrite", "--audio", "nowhere") == 1


def test_what_is_there_stays_as_it_is(model, folder, capsys):
    Path("talk.asr.eaf").write_text("mine")
    assert run("talk.eaf") == 1
    assert "talk.asr.eaf is there already: --overwrite replaces it" in capsys.readouterr().err
    assert not model.heard and Path("talk.asr.eaf").read_text() == "mine"
    for place in ("talk.eaf", "./talk.eaf"):
        assert run("talk.eaf", "--out", place, "--overwrite") == 1
        assert "talk.eaf would be written over, and only copies are written" in capsys.readouterr().err
    Path("sub").mkdir()
    Path("sub/talk.eaf").write_text(FIELD, encoding="utf-8")
    write_audio("sub/talk.wav", 5.25)
    assert run("talk.eaf", "talk.eaf", "sub/talk.eaf", "--out_dir", "out") == 1
    assert "talk.eaf and sub/talk.eaf would both be written to out/talk.asr.eaf" in capsys.readouterr().err
    assert Path("out/talk.asr.eaf").exists()
    assert Path("talk.eaf").read_text(encoding="utf-8") == FIELD
    assert run("talk.eaf", "--overwrite") == 0 and Path("talk.asr.eaf").read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["talk.eaf", "b.eaf", "--out", "c.eaf"], "--out is for one FILE, and there are 2"),
        (["talk.eaf", "b.eaf", "--audio", "c.wav"], "--audio is for one FILE"),
        (["talk.eaf", "--out", "c.eaf", "--out_dir", "d"], "--out and --out_dir both say"),
        (["talk.eaf", "--out_dir", "talk.wav"], "--out_dir talk.wav is a file"),
        (["talk.eaf", "--out", "talk.wav", "--overwrite"], "the copy of talk.eaf ends in .eaf too"),
        (["talk.eaf", "--shortest", "-1"], "--shortest -1: give seconds, 0 or more"),
        (["talk.eaf", "--pause", "nan"], "--pause nan: give seconds"),
        (["talk.eaf", "--longest", "-1"], "--longest -1: give seconds, 0 or more"),
        (["talk.eaf", "--tier", " "], "a tier has no name"),
        (["talk.eaf", "--tier", "A_ft"], "talk.eaf has a tier A_ft already: --tier names the new one"),
        (["talk.eaf", "--tiers", "A_utt", "C"], "talk.eaf: there is no tier C: there are A_utt"),
        (["talk.eaf", "--audio", "no.wav"], "no.wav does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_before_a_model_is_loaded(folder, capsys, words, message):
    assert run(*words) == 1
    assert message in capsys.readouterr().err


def test_times_of_words_lie_within_their_stretch():
    class Drawn(Scripted):
        def detail_all(self, parts, advance):
            for part, words in zip(parts, self.words, strict=True):
                yield Transcript("", tuple(words), len(part) / 16000)

    times = st.integers(0, 3000).map(lambda number: number / 1000)
    spans = st.lists(times, min_size=4, max_size=4).map(sorted)

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 900), spans), max_size=4))
    def check(drawn):
        model = Drawn()
        model.words = [
            [Word(one[0], one[1], "a", 0.5), Word(one[2], one[3], "b", 1.0)]
            for start, _, one in drawn if start * 16 < 40_000
        ]  # fmt: skip
        stretches = [(start, start + length) for start, length, _ in drawn]
        found = list(recognise_stretches(model, np.zeros(40_000, np.float32), stretches, pause=float("inf")))
        assert len(found) == len(stretches)
        for (start, end), segments in zip(stretches, found, strict=True):
            assert start * 16 < 40_000 or not segments
            for segment in segments:
                for time in (segment.start, segment.end):
                    assert start <= round(time * 1000) <= end and round(time * 1000) / 1000 == time
                assert segment.start < segment.end

    check()


def test_texts_are_those_of_the_model(recipe):  # noqa: F811
    samples = noise(7)
    soundfile.write("talk.wav", samples, 16000, subtype="FLOAT")
    tiers = (Tier("anna", (Segment(2.5, 4, "mhoro"),)),)
    write_annotations(Recording("talk.wav", tiers, 7), "talk.eaf")
    with pytest.raises(SystemExit) as exit_:
        annotate.main(["--model", "exp/en/asr_x", "--dtype", "float32", "talk.eaf", "--words"])
    assert exit_.value.code == 0
    model = espnet_wsm.load("exp/en/asr_x", dtype="float32")
    parts = [model.detailed(samples[: 2500 * 16]), model.detailed(samples[4000 * 16 :])]
    words = [word for segment in read(Path("talk.asr.eaf")).tiers[-1].segments for word in segment.words]
    assert [word.text for word in words] == [word.text for part in parts for word in part.words]
    assert len(parts[1].words) > 1 and words[-1].start == pytest.approx(4 + parts[1].words[-1].start)
