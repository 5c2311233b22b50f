"""CSV, TSV and JSON lines as various programs write them, with and without quotes."""

import csv
import json

import pytest

from espnet_wsm.data.corpora.table_files import read_records
from espnet_wsm.errors import UserError

SAID = ['a "b" c', '"all of it"', "two\nlines", "a\ttab", "plain", '"', "", "two\n\tlines"]


@pytest.fixture
def read(tmp_path):
    """``read(name, text, ...)`` gives the values of the records."""

    def run(name: str, text: str, *arguments) -> list[list[str]]:
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8"))
        return [list(record.values()) for _, record in read_records(path, *arguments)]

    return run


@pytest.mark.parametrize("name", ["my.tsv", "my.csv"])
@pytest.mark.parametrize("said", [*([text] for text in SAID), SAID])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("column", [1, 2])
def test_what_the_csv_module_writes_is_read_back(tmp_path, name, said, quoting, column):
    rows = [["path", "speaker"], *([f"{number}.wav", "s"] for number in range(len(said)))]
    for row, text in zip(rows, ["text", *said], strict=True):
        row.insert(column, text)
    with (tmp_path / name).open("w", newline="") as file:
        csv.writer(file, delimiter="\t" if name == "my.tsv" else ",", quoting=quoting).writerows(rows)
    assert [list(record.values()) for _, record in read_records(tmp_path / name)] == rows[1:]


@pytest.mark.parametrize("name", ["my.tsv", "my.csv", "my.txt"])
@pytest.mark.parametrize(
    "said",
    [
        ['"all of it"', "x"],
        ['"begins', "x", 'ends"', "y"],
        ['"begins "" so', 'a "" b', 'ends"'],
        ['"No," he said, "not now."', '"', 'x"'],
        ['"a ""b"" c"', '"begins'],
    ],
)
def test_where_nothing_is_quoted_quotes_are_characters(read, name, said):
    mark = "\t" if name == "my.tsv" else "|"
    for rows in ([[f"{n}.wav", text] for n, text in enumerate(said)], [[text, "s"] for text in said]):
        lines = [mark.join(row) for row in [["path", "text"], *rows]]
        assert read(name, "\n".join(lines)) == rows


def test_lines_are_those_where_rows_begin(tmp_path):
    (tmp_path / "my.csv").write_text('path,text\n\na.wav,"one\ntwo"\nb.wav,three\n')
    assert [line for line, _ in read_records(tmp_path / "my.csv")] == [3, 5]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("my.tsv", "path\ttext\na.wav\tx\ty\n", "my.tsv:2: the row has more fields than the first line"),
        ("my.tsv", "path\ttext\n  \na.wav\n", "my.tsv:3: the row has fewer fields than the first line"),
        ("my.tsv", 'path\ttext\na.wav\t"one\nb.wav\tx"\nc.wav\n', "my.tsv:4: the row has fewer fields"),
        ("my.csv", "path,text\na.wav\n", "my.csv:2: the row has fewer fields"),
        ("my.csv", 'path,text\na.wav,x\nb.wav,"x" y\n', "my.csv:3: not a row of a table"),
    ],
)
def test_rows_that_fit_neither_way_are_named(read, name, text, message):
    with pytest.raises(UserError, match=message):
        read(name, text)


def test_blanks_around_names_and_fields_are_no_part_of_them(tmp_path):
    expected = [{"path": "a.wav", "text": "b, c", "speaker": "s"}]
    (tmp_path / "my.csv").write_text('path,text, speaker\na.wav, "b, c" , s \n'.replace('" ,', '",'))
    (tmp_path / "my.tsv").write_text("path \t text\t speaker\na.wav \t b, c\ts \n")
    (tmp_path / "my.jsonl").write_text(json.dumps({"path ": "a.wav", " text": "b, c", "speaker": "s"}))
    for name in ("my.csv", "my.tsv", "my.jsonl"):
        assert [record for _, record in read_records(tmp_path / name)] == expected


def test_the_delimiter_is_the_one_that_cuts_lines_alike(read):
    rows = [["LJ001-0001", "Printing, in the only sense, differs; it"], ["LJ001-0002", "in being, so"]]
    assert read("metadata.csv", "\n".join(map("|".join, rows)), None, True) == rows
    assert read("my.txt", "path;text\na.wav;b, c|d\n") == [["a.wav", "b, c|d"]]
    assert read("my.csv", "a.wav,b; c\nd.wav,e; f\n", None, True) == [["a.wav", "b; c"], ["d.wav", "e; f"]]
