"""Parquet with audio in it: shards, splits, and what is not as it should be."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.bin import prepare_corpus
from espnet_wsm.data.corpora.parquet import list_parquet
from espnet_wsm.data.corpora.sources import list_source
from espnet_wsm.data.kaldi.directory import read_data_dir
from espnet_wsm.errors import UserError

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def encode(seconds: float, seed: int = 0, format: str = "WAV") -> bytes:
    noise = 0.1 * np.random.default_rng(seed).standard_normal(round(8000 * seconds))
    content = io.BytesIO()
    soundfile.write(content, noise, 8000, format=format)
    return content.getvalue()


def make_rows(number: int, first: int = 0, **more) -> list[dict]:
    return [
        {
            "client_id": f"s{row % 3}",
            "path": f"common_voice_{row}.mp3",
            "audio": {
                "bytes": encode(0.5 + row / 100, row, "FLAC" if row % 2 else "WAV"),
                "path": f"{row}.flac",
            },
            "sentence": f"mhoro {row}",
            **more,
        }
        for row in range(first, first + number)
    ]


def write(path: Path, rows: list[dict], row_group_size: int = 4, schema=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), path, row_group_size=row_group_size)
    return path


def test_shards_of_splits_become_files_and_data_directories(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(Path("cv/sw/train-00000-of-00002.parquet"), make_rows(6))
    write(Path("cv/sw/train-00001-of-00002.parquet"), make_rows(6, 6))
    write(Path("cv/sw/validation-00000-of-00001.parquet"), make_rows(3, 12))
    write(Path("cv/sw/test-00000-of-00001.parquet"), make_rows(3, 15))
    write(Path("cv/sw/other-00000-of-00001.parquet"), make_rows(3, 18))
    before = {path: path.read_bytes() for path in Path("cv").rglob("*.parquet")}
    prepare_corpus.main(["--downloads", "cv", "--out", "data"])
    said = capsys.readouterr().out
    assert "left out, as they are none of train, dev and test: other-00000-of-00001.parquet" in said
    found = {name: read_data_dir(Path("data") / name) for name in ("train", "dev", "test")}
    assert {name: len(used) for name, used in found.items()} == {"train": 12, "dev": 3, "test": 3}
    for row, content in ((0, "WAV"), (7, "FLAC")):
        each = next(each for each in found["train"] if each.text == f"mhoro {row}")
        assert each.speaker == f"s{row % 3}"
        assert Path(each.audio).read_bytes() == encode(0.5 + row / 100, row, content)  # as it is in the file
        assert Path(each.audio).suffix == f".{content.lower()}"
    assert {path: path.read_bytes() for path in Path("cv").rglob("*.parquet")} == before
    prepare_corpus.main(["--downloads", "cv", "--out", "data"])  # again, in its place
    assert len(list(Path("data/audio").rglob("*.*"))) == 18


def test_folders_of_splits_and_lacking_shards(tmp_path):
    for split in ("train", "validation", "test"):
        write(tmp_path / split / "0000.parquet", make_rows(2))
    rows = list_source(tmp_path, store=tmp_path / "out").rows
    assert [row.split for row in rows] == ["test"] * 2 + ["train"] * 2 + ["dev"] * 2
    lone = write(tmp_path / "more/train-00001-of-00003.parquet", make_rows(2))
    said = list_source(lone).said
    assert said == [
        "shards that are not there: train-00000-of-00003.parquet, train-00002-of-00003.parquet: "
        "download them for the whole corpus"
    ]


def test_nothing_is_written_for_a_preview(tmp_path):
    file = write(tmp_path / "a.parquet", make_rows(3))
    listing = list_source(file)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert listing.seconds == {f"{file} row {row + 1}": pytest.approx(0.5 + row / 100) for row in range(3)}
    assert [row.place for row in listing.rows] == list(listing.seconds)


def test_nulls_and_damaged_audio_are_left_out_with_their_rows(tmp_path):
    rows = make_rows(20)
    rows[3]["sentence"] = None
    rows[4]["audio"] = None
    rows[5]["audio"] = {"bytes": b"nothing", "path": None}
    rows[6]["audio"] = {"bytes": b"", "path": None}
    rows[7]["client_id"] = None
    file = write(tmp_path / "a.parquet", rows)
    listing = list_source(file, store=tmp_path / "out")
    assert listing.dropped == [
        (f"{file} row 6", "audio that cannot be decoded"),
        (f"{file} row 7", "empty audio"),
    ]
    by_place = {row.place: row for row in listing.rows}
    assert by_place[f"{file} row 4"].text == "" and by_place[f"{file} row 5"].path == ""
    assert by_place[f"{file} row 8"].speaker == "" and len(by_place) == 18


def test_paths_in_place_of_bytes_count_from_the_folder_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cv/clips").mkdir(parents=True)
    rows = []
    for row in range(10):
        Path(f"cv/clips/{row}.wav").write_bytes(encode(0.5))
        rows.append({"audio": {"bytes": None, "path": f"clips/{row}.wav"}, "text": f"mhoro {row}"})
    write(Path("cv/a.parquet"), rows)
    write(Path("cv/plain.parquet"), [{"audio": row["audio"]["path"], "text": row["text"]} for row in rows])
    for name in ("a", "plain"):
        prepare_corpus.main(["--downloads", f"cv/{name}.parquet", "--out", name])
        used = read_data_dir(Path(name) / "train")
        assert all(str(each.audio).startswith("cv/clips/") for each in used)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: {"audio": row["audio"], "translation": {"en": "x", "fr": "y"}},
         r"a.parquet has no column for text .* it has audio, translation.en, translation.fr"),
        (lambda row: {"audio": row["audio"], "text": ["a", "b"]}, "the column 'text' for text holds list"),
        (lambda row: {"text": "a"}, "a.parquet has no column for path"),
        (lambda row: {"text": "a", "audio": [0.1, 0.2]}, "'audio' holds list.*bytes or a path are needed"),
        (lambda row: {"text": "a", "audio": {"bytes": b"no audio", "path": "x"}},
         "a.parquet row 1: the audio cannot be decoded, and 5 of 5 rows are like this"),
    ],
)  # fmt: skip
def test_other_columns_are_refused_by_name(tmp_path, change, message):
    write(tmp_path / "a.parquet", [change(row) for row in make_rows(5)])
    with pytest.raises(UserError, match=message):
        list_source(tmp_path / "a.parquet", store=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_part_of_a_nested_column_can_be_named(tmp_path):
    rows = [{"audio": row["audio"], "translation": {"en": "x", "sn": "mhoro"}} for row in make_rows(3)]
    write(tmp_path / "a.parquet", rows)
    listing = list_source(tmp_path / "a.parquet", {"text": "translation.sn"})
    assert [row.text for row in listing.rows] == ["mhoro"] * 3


def test_a_damaged_row_group_is_named_with_its_rows_and_nothing_is_replaced(tmp_path):
    file = write(tmp_path / "a.parquet", make_rows(12), row_group_size=4)
    column = parquet.ParquetFile(file).metadata.row_group(1).column(2)
    content = bytearray(file.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 200] = bytes(200)
    file.write_bytes(content)
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("from before")
    with pytest.raises(
        UserError, match=r"a.parquet: rows 5 to 8 \(row group 2 of 3\) cannot be read .*: download"
    ):
        list_source(file, store=out)
    assert [path.name for path in out.iterdir()] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "out"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1 and no more", "cannot be read as parquet"),
        (b"", "cannot be read as parquet"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_what_is_no_parquet_is_named(tmp_path, content, message):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(UserError, match=message):
        list_source(tmp_path / "a.parquet")


def test_without_rows_there_is_nothing(tmp_path):
    schema = pyarrow.schema([("audio", pyarrow.binary()), ("text", pyarrow.string())])
    write(tmp_path / "a.parquet", [], schema=schema)
    with pytest.raises(UserError, match=r"a.parquet has no rows"):
        list_parquet([tmp_path / "a.parquet"], {}, None)
