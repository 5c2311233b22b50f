"""Corpora as people have them: tables of all kinds with their oddities, folders, Kaldi directories."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.bin import prepare_corpus
from espnet_wsm.data.corpora.preparation import prepare_sets
from espnet_wsm.data.corpora.tables import read_table
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir

SPLITS = ("train", "dev", "test")


@pytest.fixture
def clips(tmp_path, monkeypatch) -> list[str]:
    """Twenty clips of half a second, in corpus/clips."""
    monkeypatch.chdir(tmp_path)
    Path("corpus/clips").mkdir(parents=True)
    names = [f"clips/clip {number:02}.wav" for number in range(20)]
    for number, name in enumerate(names):
        noise = 0.1 * np.random.default_rng(number).standard_normal(4000)
        soundfile.write(Path("corpus") / name, noise, 8000)
    return names


@pytest.fixture
def prepare(capsys):
    """``prepare(words...)`` prepares a corpus; gives the utterances by split, and what it printed."""

    def run(*words: str) -> tuple[dict[str, list[Utterance]], str]:
        prepare_corpus.main([*words, "--out", "data"])
        return {name: read_data_dir(Path("data") / name) for name in SPLITS}, capsys.readouterr().out

    return run


@pytest.fixture
def fault(capsys):
    """``fault(words...)`` prepares a corpus, which has to fail; gives its error."""

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as stop:
            prepare_corpus.main([*words, "--out", "data"])
        assert stop.value.code == 1
        return capsys.readouterr().err

    return run


def texts_of(splits: dict[str, list[Utterance]]) -> dict[str, str]:
    return {Path(str(each.audio)).name: each.text for used in splits.values() for each in used}


def test_a_table_without_splits_is_split_by_text(clips, prepare):
    rows = [f"{name},word {number % 10}" for number, name in enumerate(clips)]
    Path("corpus/my.csv").write_text("\n".join(["file_name,sentence", *rows]) + "\n")
    splits, said = prepare("--downloads", "corpus/my.csv")
    assert {name: len(used) for name, used in splits.items()} == {"train": 16, "dev": 2, "test": 2}
    assert "splits: test and dev taken from the rest by text" in said
    texts = [{each.text for each in used} for used in splits.values()]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    first = splits["train"][0]
    assert first.id == first.speaker and first.id.startswith("clip_") and " " not in first.id
    again, _ = prepare("--downloads", "corpus/my.csv")
    assert again == splits


def test_paths_of_windows_are_those_with_slashes(clips, prepare):
    found = []
    for separator in ("/", "\\"):
        rows = [f"{name.replace('/', separator)},word {number}" for number, name in enumerate(clips)]
        Path("corpus/my.csv").write_text("\n".join(["path,text", *rows]) + "\n")
        found.append(prepare("--downloads", "corpus/my.csv")[0])
    assert found[0] == found[1]


@pytest.mark.parametrize("names", [("1", "2"), ("A", "B")])
def test_a_column_says_which_channel_an_utterance_is_on(clips, prepare, names):
    rows = [f"{name},word {n} {side},{side}" for n, name in enumerate(clips) for side in names]
    Path("corpus/my.csv").write_text("\n".join(["path,text,channel", *rows]) + "\n")
    splits, _ = prepare("--downloads", "corpus/my.csv")
    found = [each for used in splits.values() for each in used]
    assert len(found) == 2 * len(clips)
    assert all(each.channel == names.index(each.text.split()[-1]) + 1 for each in found)
    assert {each.id.rsplit("-", 1)[1] for each in found} == {"1", "2"}


def test_a_column_channel_of_something_else_is_left_alone_unless_it_is_given(clips, prepare, fault, capsys):
    rows = [f"{name},word {n},podcast" for n, name in enumerate(clips)]
    Path("corpus/my.csv").write_text("\n".join(["path,text,channel", *rows]) + "\n")
    assert "2: channel 'podcast': write 1 or A" in fault(
        "--downloads", "corpus/my.csv", "--columns", "channel=channel"
    )
    prepare_corpus.main(["--downloads", "corpus/my.csv", "--out", "data"])
    assert "the column 'channel' is not used: 'podcast' is no channel" in capsys.readouterr().err
    assert read_data_dir(Path("data/train"))[0].channel is None


def test_with_five_speakers_it_is_split_by_speaker(clips, prepare):
    rows = [
        {
            "audio": {"path": name, "bytes": None},
            "text": "same words",
            "speaker": f"spk {number % 10}",
            "lang": None,
        }
        for number, name in enumerate(clips)
    ]
    Path("corpus/my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    splits, said = prepare("--downloads", "corpus/my.jsonl")
    assert "by speaker" in said
    speakers = [{each.speaker for each in used} for used in splits.values()]
    assert sum(map(len, speakers)) == 10 and all(speakers)
    assert splits["train"][0].id.startswith(f"{splits['train'][0].speaker}-clip_")


def test_a_table_with_splits_keeps_them_and_lacks_none(clips, prepare):
    names = ["Train"] * 16 + ["validation"] * 4
    rows = [f"{name};x {n};{split}" for n, (name, split) in enumerate(zip(clips, names, strict=True))]
    Path("corpus/my.csv").write_text("﻿Path;Text;Split\n" + "\n".join(rows))
    splits, said = prepare("--downloads", "corpus/my.csv")
    assert {name: len(used) for name, used in splits.items()} == {"train": 14, "dev": 4, "test": 2}
    assert "splits: test taken from the rest by text" in said


def test_oddities_of_tables(clips, prepare):
    rows = [
        'clips/clip 00\t"said" she',  # a quote is text in a TSV, and a suffix may lack
        "clips/clip 01.wav\t two  words ",
        "clips/clip 02.wav\t",
        "\tno path",
        "clips/none.wav\tno file",
        *(f"{name}\tword {number}" for number, name in enumerate(clips[3:])),
    ]
    Path("corpus/my.tsv").write_text("path\tsentence\n" + "\r\n".join(rows) + "\r\n")
    splits, said = prepare("--downloads", "corpus/my.tsv")
    texts = texts_of(splits)
    assert texts["clip 00.wav"] == '"said" she' and texts["clip 01.wav"] == "two words" and len(texts) == 19
    assert "left out: 1 no text, 1 no path, 1 no audio file, see data/dropped.txt" in said
    assert "corpus/my.tsv:6 no audio file" in Path("data/dropped.txt").read_text()
    rows = [f'"{name}","he said ""{number}"",\nand left"' for number, name in enumerate(clips)]
    Path("corpus/my.csv").write_text("path,text\n" + "\n".join(rows))
    texts = texts_of(prepare("--downloads", "corpus/my.csv")[0])
    assert texts["clip 07.wav"] == 'he said "7", and left'


def test_parts_of_recordings(clips, prepare):
    rows = [
        {"path": clips[0], "text": f"part {n}", "offset": n * 0.02, "duration": 0.02, "split": split}
        for n, split in enumerate(["train"] * 8 + ["dev", "test"])
    ]
    Path("corpus/nemo.json").write_text("\n".join(map(json.dumps, rows)))
    splits, said = prepare("--downloads", "corpus/nemo.json")
    assert said.endswith("splits: as the corpus says\n")
    second = splits["train"][1]
    assert (second.start, second.end, second.id) == (0.02, 0.04, "clip_00-0000002")
    assert Path("data/train/segments").exists()


def test_a_folder_of_hugging_face(clips, prepare):
    for number, (split, of_set) in enumerate((("train", 16), ("validation", 2), ("test", 2))):
        folder = Path("hf") / split
        folder.mkdir(parents=True)
        rows = []
        for index in range(of_set):
            name = f"{number}{index}.wav"
            soundfile.write(folder / name, np.zeros(4000), 8000)
            rows.append(json.dumps({"file_name": name, "transcription": f"{split} {index}"}))
        (folder / "metadata.jsonl").write_text("\n".join(rows))
    splits, said = prepare("--downloads", "hf")
    assert {name: len(used) for name, used in splits.items()} == {"train": 16, "dev": 2, "test": 2}
    assert "as the corpus says" in said and splits["dev"][0].text.startswith("validation")


@pytest.mark.parametrize("parts", [False, True])
def test_kaldi_directories_one_or_three(clips, prepare, parts):
    end = 0.25 if parts else None
    utterances = [
        Utterance(f"u{n:02}", f"corpus/{name}", f"t {n}", "s", 0.0, end) for n, name in enumerate(clips)
    ]
    write_data_dir(Path("kaldi"), utterances)
    splits, _ = prepare("--downloads", "kaldi")
    assert {name: len(used) for name, used in splits.items()} == {"train": 16, "dev": 2, "test": 2}
    assert {each.end for used in splits.values() for each in used} == {end}
    for name, used in splits.items():
        write_data_dir(Path("three") / name, used)
    assert prepare("--downloads", "three")[0] == splits


def test_files_of_one_name_have_ids_of_their_own(clips, prepare):
    rows = []
    for number in range(20):
        path = Path(f"corpus/s{number}/a.wav")
        path.parent.mkdir()
        soundfile.write(path, np.zeros(4000), 8000)
        rows.append(f"s{number}/a.wav,text {number}")
    Path("corpus/my.csv").write_text("path,text\n" + "\n".join(rows))
    splits, _ = prepare("--downloads", "corpus/my.csv")
    assert {each.id for used in splits.values() for each in used} == {f"s{n}.a" for n in range(20)}


@pytest.mark.parametrize("kind", ["path", "speaker", "id"])
@pytest.mark.parametrize(
    "names", [["कि", "कु", "के", "को"], ["กิ", "กี", "ก่า", "ก้า"], ["a b", "a/b", "a_b", "a b-2"]]
)
def test_names_that_differ_in_marks_or_signs_stay_apart(clips, prepare, kind, names):
    names = [f"{name}{number}" for name in names for number in range(20 // len(names))]
    rows = []
    for clip, name in zip(clips, names, strict=True):
        path = clip
        if kind == "path":
            path = f"{name}.wav"
            (Path("corpus") / path).parent.mkdir(exist_ok=True)
            (Path("corpus") / clip).rename(Path("corpus") / path)
        rows.append({"text": f"w {name}", "path": path} | ({kind: name} if kind != "path" else {}))
    Path("corpus/my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    used = [each for of_split in prepare("--downloads", "corpus/my.jsonl")[0].values() for each in of_split]
    assert len({each.id for each in used}) == len({each.speaker for each in used}) == 20
    for each in used:
        if "a" not in each.text:
            assert each.text.removeprefix("w ") in (each.id, each.speaker)


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        (["a/b,c.wav,t,", "a,b/c.wav,t,", "s,c.wav,t,own"], {"a_b-c", "a-c", "own"}),
        (["a-b,c.wav,t,", "a,b-c.wav,t,"], {"a-b-c", "a-b-c-2"}),
        ([",a.b.wav,t,", ",a.c.wav,t,", ",a/b.wav,t,"], {"a.b", "a.c", "b"}),
        ([",x.wav,t,", ",b.wav,t,x", ",c.wav,t,"], {"x-2", "x", "c"}),
    ],
)
def test_parts_of_ids_that_join_alike_stay_apart(tmp_path, rows, ids):
    for row in rows:
        path = tmp_path / row.split(",")[1]
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.zeros(400), 8000)
    (tmp_path / "my.csv").write_text("\n".join(["speaker,path,text,id", *rows]))
    prepared = prepare_sets({"all": read_table(tmp_path / "my.csv")}, "look")
    assert {each.id for each in prepared.splits["all"]} == ids


@pytest.fixture
def list_durations(clips):
    """``list_durations(form, ...)`` writes a table of a form with durations of the first clips."""

    def write(form: str, *durations: float) -> None:
        rows = [{"path": clip, "text": f"w {n}", "duration": None} for n, clip in enumerate(clips)]
        for row, duration in zip(rows, durations, strict=False):
            row["duration"] = duration
        lines = list(map(json.dumps, rows))
        if form != "jsonl":
            cells = [["" if each is None else str(each) for each in row.values()] for row in rows]
            lines = list(map({"csv": ",", "tsv": "\t"}[form].join, [list(rows[0]), *cells]))
        Path("corpus", f"my.{form}").write_text("\n".join(lines))

    return write


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv"])
def test_a_duration_without_a_start_is_compared_with_the_audio(list_durations, capsys, form):
    list_durations(form, *[0.5] * 10, 0.493, 0.51, 0.2, 0.9, 1.1)
    prepare_corpus.main(["--downloads", f"corpus/my.{form}", "--out", "data"])
    said = capsys.readouterr()
    line = 13 if form == "jsonl" else 14
    assert (
        "warning: 1 row with a duration and longer audio, of which only the beginning is taken: "
        f"corpus/my.{form}:{line} (0.2 of 0.5 s)"
    ) in said.err
    assert "left out: 1 duration beyond the audio" in said.out
    left = f"corpus/my.{form}:{line + 2} (1.1 s, audio 0.5 s) duration beyond the audio\n"
    assert Path("data/dropped.txt").read_text() == left
    used = [each for name in SPLITS for each in read_data_dir(Path("data") / name)]
    assert {each.text: each.end for each in used if each.is_part} == {"w 12": 0.2} and len(used) == 19


def test_durations_may_be_rounded_and_have_to_be_seconds(clips, list_durations, prepare, fault):
    for number, clip in enumerate(clips[:10]):  # 1.4 s, rounded down; the others, of 0.5 s, up
        noise = 0.1 * np.random.default_rng(number).standard_normal(11200)
        soundfile.write(Path("corpus") / clip, noise, 8000)
    list_durations("jsonl", *[1] * 20)
    splits, _ = prepare("--downloads", "corpus/my.jsonl")
    assert not any(each.is_part for used in splits.values() for each in used)
    list_durations("jsonl", *[500] * 20)
    said = fault("--downloads", "corpus/my.jsonl")
    assert "my.jsonl:1: the duration is 500 s, but clips/clip 00.wav has 1.4 s, and 20 of 20 rows are" in said
    list_durations("jsonl", 0)
    assert "my.jsonl:1: from 0 to 0.0 s is not a part" in fault("--downloads", "corpus/my.jsonl")


@pytest.mark.parametrize(("columns", "end"), [("start,end", 0.2), ("offset,duration", 0.18)])
def test_times_a_little_outside_the_audio_are_clipped_and_others_named(clips, fault, capsys, columns, end):
    times = ["-0.02,0.2", "-0.5,0.6", "0,0.7", *["0.1,0.3"] * 17]
    rows = [f"{clip},w {n},{time}" for n, (clip, time) in enumerate(zip(clips, times, strict=True))]
    Path("corpus/my.csv").write_text("\n".join([f"path,text,{columns}", *rows]))
    prepare_corpus.main(["--downloads", "corpus/my.csv", "--out", "data"])
    assert (
        "warning: corpus/my.csv: 2 rows beginning up to 0.5 s before the recording, taken from 0 s on: "
        "line 2, 3"
    ) in capsys.readouterr().err
    used = {each.text: each for name in SPLITS for each in read_data_dir(Path("data") / name)}
    assert (used["w 0"].start, used["w 0"].end) == (0.0, end)
    Path("corpus/my.csv").write_text(f"path,text,{columns}\n{clips[0]},a,-2,3\n")
    said = fault("--downloads", "corpus/my.csv")
    assert "my.csv:2: from -2 to" in said and "s is not a part of a recording: let it begin at 0 or" in said


def test_files_of_a_mac_are_left_out_and_counted(clips, prepare):
    for clip in clips[:2]:
        (Path("corpus/clips") / f"._{Path(clip).name}").write_bytes(b"\0\5\x16\7" + bytes(200))
    names = [*clips, *(f"clips/._clip 0{n}.wav" for n in range(2))]
    rows = [f"{name},w {n}" for n, name in enumerate(names)]
    Path("corpus/my.csv").write_text("\n".join(["path,text", *rows]))
    splits, said = prepare("--downloads", "corpus/my.csv")
    assert sum(map(len, splits.values())) == 20 and "left out: 2 file ._* of a Mac, see" in said
    utterances = [Utterance(f"u{n:02}", f"corpus/{name}", f"t {n}", "s") for n, name in enumerate(names)]
    write_data_dir(Path("kaldi/train"), utterances)
    Path("kaldi/._train").write_bytes(b"x")
    again, said = prepare("--downloads", "kaldi")
    assert sum(map(len, again.values())) == 20 and "left out: 2 file ._* of a Mac, see" in said


def test_three_utterances_are_enough(clips, prepare):
    rows = [f"{name},word {number}" for number, name in enumerate(clips[:3])]
    Path("corpus/my.csv").write_text("path,text\n" + "\n".join(rows))
    splits, _ = prepare("--downloads", "corpus/my.csv")
    assert [len(used) for used in splits.values()] == [1, 1, 1]


def test_columns_of_any_name(clips, prepare, fault):
    rows = [f"{name},word {number}" for number, name in enumerate(clips)]
    Path("corpus/my.csv").write_text("Datei,Satz\n" + "\n".join(rows))
    said = fault("--downloads", "corpus/my.csv")
    assert "corpus/my.csv has no column for path (path, file_name" in said and "it has Datei, Satz" in said
    words = ["--downloads", "corpus/my.csv", "--columns"]
    assert len(texts_of(prepare(*words, "path=Datei,text=Satz")[0])) == 20
    assert "has no column 'Wort'" in fault(*words, "path=Datei,text=Wort")
    assert "--columns word: there are path, text" in fault(*words, "word=Satz")
    assert "'text' is not KIND=NAME" in fault(*words, "text")


@pytest.mark.parametrize(
    "header", ["path,text, speaker, split", "File Name;Transcript;Speaker-ID;SPLIT", "wav| text |spk| Set "]
)
def test_names_of_columns_may_differ_in_case_blanks_and_hyphens(clips, prepare, header):
    mark = next(each for each in ";|," if each in header)
    names = ["train"] * 12 + ["dev"] * 4 + ["test"] * 4
    rows = [mark.join([clip, f" w {n}", " ab", f" {names[n]} "]) for n, clip in enumerate(clips)]
    Path("corpus/my.csv").write_text("\n".join([header, *rows]))
    splits, said = prepare("--downloads", "corpus/my.csv")
    assert {name: len(used) for name, used in splits.items()} == {"train": 12, "dev": 4, "test": 4}
    assert {each.speaker for used in splits.values() for each in used} == {"ab"}
    assert "splits: as the corpus says" in said


def test_columns_that_are_nearly_known_are_named(clips, fault):
    Path("corpus/my.csv").write_text("path,text,speker,Splitt,notes\nx.wav,a,b,c,d\n")
    said = fault("--downloads", "corpus/my.csv")
    assert (
        "warning: corpus/my.csv: the column 'speker' is not used: if it is the speaker, call it so, or give "
        "--columns 'speaker=speker'"
    ) in said
    assert "--columns 'split=Splitt'" in said and "notes" not in said
    Path("corpus/my.jsonl").write_text(json.dumps({"path": "x.wav", "transkript": "a", "comment": "b"}))
    said = fault("--downloads", "corpus/my.jsonl")
    assert "has no column for text (text" in said and "e.g. --columns 'text=transkript'; it has" in said


def test_a_table_without_a_header_has_its_columns_numbered(clips, prepare, fault):
    Path("corpus/wavs").mkdir()
    rows = []
    for number, clip in enumerate(clips):
        (Path("corpus") / clip).rename(f"corpus/wavs/LJ001-{number:04}.wav")
        rows.append(f'LJ001-{number:04}|"In, {number}; so|"In, word {number}; so')
    for name in ("metadata.csv", "my.txt"):
        Path("corpus", name).write_text("\n".join(rows))
        said = fault("--downloads", f"corpus/{name}")
        assert "looks like a row, number the columns: --columns path=1,text=2; it has " in said
        texts = texts_of(prepare("--downloads", f"corpus/{name}", "--columns", "path=1, text=3")[0])
        assert texts["LJ001-0007.wav"] == '"In, word 7; so' and len(texts) == 20
    assert len(texts_of(prepare("--downloads", "corpus", "--columns", "path=1,text=2")[0])) == 20
    Path("corpus/my.txt").write_text("LJ001-0000|same|same")
    assert "'same' is there twice: rename one, or number" in fault("--downloads", "corpus/my.txt")
    words = ["--downloads", "corpus/metadata.csv", "--columns"]
    assert "has no column '4'; it has 1, 2, 3" in fault(*words, "path=1,text=4")
    assert "give all columns by their numbers" in fault(*words, "path=1,text=Satz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("my.csv", b"", "my.csv has no rows"),
        ("my.csv", b"path,text\n", "my.csv has no rows"),
        ("my.csv", b"path,text\n\xff,a\n", "my.csv: not UTF-8"),
        ("my.xlsx", b"PK", "my.xlsx is none of .csv, .tsv, .txt, .jsonl, .json"),
        ("my.jsonl", b'{"path": 1}\n{path}\n', "my.jsonl:2: not JSON"),
        ("my.jsonl", b"[1]\n", "my.jsonl:1: not a JSON object"),
        ("my.csv", b"path,text\nx.wav,a\n", "my.csv:2: corpus/x.wav is no file, and 1 of 1 row are like"),
        ("my.csv", b"path,text,split\nclips/clip 00.wav,a,gold\n", "my.csv:2: split 'gold' is none of train"),
        ("my.csv", b"path,text,start\nclips/clip 00.wav,a,1:20\n", "my.csv:2: start, end or duration is no"),
        (
            "my.csv",
            b"path,text,start,end\nclips/clip 00.wav,a,2,1\n",
            "my.csv:2: from 2 to 1.0 s is not a part",
        ),
        ("my.csv", b"path,text\nclips/clip 00.wav,\n", "my.csv:2: no text, and so for all rows"),
        ("my.csv", b"path,text\n\nclips/clip 00.wav\n", "my.csv:3: the row has fewer fields than the first"),
        (
            "my.csv",
            b"path,text\nclips/clip 00.wav,a, b\n",
            "my.csv:2: the row has more fields than the first line",
        ),
        (
            "my.csv",
            b'path,text\nclips/clip 00.wav,"a\nclips/clip 01.wav,b\n',
            "not a row of a table (unexpected end of data)",
        ),
        ("my.csv", b"path,text,text\nclips/clip 00.wav,a,b\n", "my.csv:1: the column 'text' is there twice"),
        ("my.csv", b"path,text\nclips/clip 00.wav,a\n", "1 utterance with 1 speaker are too few to make"),
        (
            "my.csv",
            b"path,text,id\n" + b"".join(b"clips/clip %02d.wav,%d,x\n" % (n, n) for n in range(4)),
            "1 id given twice: x: ids",
        ),
    ],
)
def test_what_is_no_corpus_is_named(clips, fault, name, content, message):
    (Path("corpus") / name).write_bytes(content)
    said = fault("--downloads", f"corpus/{name}")
    assert message in said and "Traceback" not in said


def test_folders_without_a_corpus_are_named(clips, fault):
    assert "corpus holds none of metadata.csv" in fault("--downloads", "corpus")
    assert "none does not exist" in fault("--downloads", "none")
    for name in ("one", "two"):
        write_data_dir(Path("odd") / name, [Utterance("u", "a.wav", "t", "s")])
    assert "odd/one, odd/two: name Kaldi directories train, dev and test" in fault("--downloads", "odd")
