"""Corrected utterances in a table that recipes read."""

import csv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from espnet_wsm.annotations import Segment
from espnet_wsm.data.corpora.preparation import read_corpus
from espnet_wsm.errors import UserError
from espnet_wsm.serve.corpus import COLUMNS, Corpus, widen


def noise(seed: int, seconds: float = 2) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16000 * seconds))).astype(np.float32)


def rows(corpus: Corpus) -> list[dict[str, str]]:
    with corpus.table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_utterances_are_rows_with_times_and_the_audio_is_stored_once(tmp_path):
    corpus = Corpus(tmp_path / "c")
    said = [
        Segment(0.5, 0.8, "one,\ntwo"),
        Segment(0.9, 1.0, " "),
        Segment(1.2, 1.4, 'a "third"'),
        Segment(1.4, 1.6, "x"),
    ]
    added = corpus.add(noise(1), "talk.mp3", said, " Anna\tB ")
    assert (added.utterances, added.replaced, added.total) == (3, 0, 3)
    first, second, _ = rows(corpus)
    assert (first["text"], first["speaker"], first["start"], first["end"]) == (
        "one, two",
        "Anna B",
        "0.250",
        "1.000",
    )
    assert (second["text"], second["start"], second["end"]) == ('a "third"', "1.000", "1.400")
    assert first["path"] == second["path"] and first["path"].startswith("audio/talk-")
    samples, rate = soundfile.read(corpus.folder / first["path"], dtype="float32")
    assert rate == 16000 and np.abs(samples - noise(1)).max() <= 2**-16
    found = read_corpus(corpus.table)
    assert sorted(each.text for split in found.splits.values() for each in split) == [
        'a "third"',
        "one, two",
        "x",
    ]
    assert found.dropped == []


def test_a_recording_that_is_added_again_replaces_its_rows(tmp_path):
    corpus = Corpus(tmp_path)
    corpus.add(noise(1), "a.wav", [Segment(0.5, 0.8, "one"), Segment(1, 1.5, "two")])
    corpus.add(noise(2), "a.wav", [Segment(0.5, 0.8, "other")])
    added = Corpus(tmp_path).add(noise(1), "another name.wav", [Segment(0.5, 1.5, "one two")])
    assert (added.utterances, added.replaced, added.total) == (1, 2, 2)
    assert [row["text"] for row in rows(corpus)] == ["other", "one two"]
    assert len(list((tmp_path / "audio").iterdir())) == 2


def test_columns_and_rows_of_others_stay(tmp_path):
    table = tmp_path / "manifest.csv"
    table.write_text('\ufeffid,path,text,speaker,start,end,note\nu1,x.wav,"a, b",s,,,why\n', encoding="utf-8")
    Corpus(tmp_path).add(noise(1), "a.wav", [Segment(0, 1, "c")])
    before, after = rows(Corpus(tmp_path))
    assert before == {
        "id": "u1",
        "path": "x.wav",
        "text": "a, b",
        "speaker": "s",
        "start": "",
        "end": "",
        "note": "why",
    }
    assert after["text"] == "c" and after["id"] == after["note"] == ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"path,text\n", "no column end"),
        (b"path;text;speaker;start;end\n", "with commas"),
        (f"{','.join(COLUMNS)}\na,b\n".encode(), "more or fewer fields"),
        (b"\xff\xff", "name another folder"),
    ],
)
def test_a_table_of_another_kind_is_refused_when_the_server_starts(tmp_path, content, sentence):
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        Corpus(tmp_path)
    assert (tmp_path / "manifest.csv").read_bytes() == content


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "c").write_text("")
    with pytest.raises(UserError, match="is a file: name a folder"):
        Corpus(tmp_path / "c")


def test_many_who_add_at_once_lose_nothing(tmp_path):
    """Each with a lock of its own, as processes have."""

    def add(number: int) -> None:
        Corpus(tmp_path).add(noise(number, 0.2), f"{number}.wav", [Segment(0, 0.1, f"text {number}")])

    with ThreadPoolExecutor(8) as people:
        list(people.map(add, range(16)))
    assert sorted(row["text"] for row in rows(Corpus(tmp_path))) == sorted(f"text {n}" for n in range(16))


def test_utterances_keep_a_part_of_the_pauses_beside_them():
    said = [Segment(0.1, 1.0, "a"), Segment(1.2, 2.0, "b"), Segment(2.0, 3.0, "c"), Segment(5.0, 9.0, "d")]
    spans = widen(said, 6.0)
    assert np.allclose(spans, [(0, 1.1), (1.1, 2.0), (2.0, 3.25), (4.75, 6.0)])


@pytest.mark.parametrize(
    ("folder", "name"), [("a b-c", "a_b_c"), ("2026", "corpus_2026"), ("мова", "corpus")]
)
def test_the_commands_name_a_recipe(tmp_path, folder, name):
    first, second, third = Corpus(tmp_path / folder).commands()
    assert first.startswith(f"tools/new_corpus.sh {name} --lang CODE --manifest ") and folder in first
    assert (second, third) == (f"cd egs/{name}/asr1", "./run.sh")
