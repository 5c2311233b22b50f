"""Folders of corpora are found, and what is not there is named; each recipe's tests go further."""

import re
from pathlib import Path

import pytest

from espnet_wsm.data.corpora import librispeech, trees
from espnet_wsm.data.corpora.preparation import prepare_sets
from espnet_wsm.data.corpora.tables import Row
from espnet_wsm.data.corpora.trees import (
    find_language,
    list_files,
    read_utf8,
    refuse_tree,
    require_sets,
)
from espnet_wsm.errors import UserError


@pytest.fixture
def downloads(tmp_path) -> Path:
    for folder in ("sw", "release-1/cs", "release-2/sw"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "train.tsv").touch()
    return tmp_path


def test_a_language_is_found_above_and_below(downloads):
    assert find_language(downloads, "sw", "train.tsv") == downloads / "sw"
    assert find_language(downloads / "sw", "sw", "train.tsv") == downloads / "sw"
    assert find_language(downloads, "cs", "train.tsv", ("", "release-*")) == downloads / "release-1/cs"


def test_a_language_that_is_not_there_or_twice_is_named(downloads):
    with pytest.raises(UserError, match=r"--lang pl: .* holds sw: choose one, or unpack pl there"):
        find_language(downloads, "pl", "train.tsv")
    with pytest.raises(UserError, match=r"holds sw twice: name .*/release-2/sw or .*/sw$"):
        find_language(downloads, "sw", "train.tsv", ("", "release-*"))
    with pytest.raises(UserError, match=r"sw/dev\.tsv is expected in it, and it holds train.tsv"):
        find_language(downloads / "sw", "sw", "dev.tsv")


def test_what_is_said_of_another_tree(downloads):
    assert "a/b is expected in it, and it holds train.tsv; see" in str(refuse_tree(downloads / "sw", "a/b"))
    assert "and it is not a folder" in str(refuse_tree(downloads / "none", "a/b"))


def test_sets_that_are_needed_have_to_be_there():
    require_sets(["dev"], ["train", "dev"], Path("x"))
    with pytest.raises(UserError, match="test cannot be made of x, but train, dev: unpack what is missing"):
        require_sets(["dev", "test"], ["train", "dev"], Path("x"))


def test_an_utterance_of_two_sets_has_one_id_and_an_empty_set_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.wav", "a/1.wav"):
        (tmp_path / name).write_bytes(bytes(100))
    one, other = (Row(name, tmp_path, name, "text") for name in ("1.wav", "a/1.wav"))
    prepared = prepare_sets({"small": [one], "large": [one]}, "unpack it")
    assert [[each.id for each in used] for used in prepared.splits.values()] == [["1"], ["1"]]
    prepared = prepare_sets({"small": [one], "large": [one, other]}, "unpack it")
    assert [[each.id for each in used] for used in prepared.splits.values()] == [["1"], ["1", "a.1"]]
    with pytest.raises(UserError, match="nothing is left of large: unpack it"):
        prepare_sets({"small": [one], "large": []}, "unpack it")


def test_files_of_a_mac_are_not_listed_but_counted(tmp_path, capsys):
    for name in ("b/x.wav", "b/._x.wav", "._y.wav", "a.wav", "._a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path, "**/*.wav") == [tmp_path / "a.wav", tmp_path / "b/x.wav"]
    assert capsys.readouterr().err == f"warning: {tmp_path}: 2 files ._*.wav of a Mac left out\n"
    assert list_files(tmp_path, "*.flac") == [] and not capsys.readouterr().err
    assert "it holds a.wav, b;" in str(refuse_tree(tmp_path, "sw/train.tsv"))


def test_a_text_that_is_a_pointer_is_named_as_one(tmp_path):
    path = tmp_path / "1-2.trans.txt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(UserError, match=r"1-2.trans.txt is a git-lfs pointer.*run `git lfs pull`"):
        librispeech.read_chapter(path, set(), whole=True)
    path.write_text("\ufeff1-2-0 TEXT\n", encoding="utf-8")
    assert read_utf8(path) == "1-2-0 TEXT\n"


def test_all_corpora_read_their_texts_in_this_way():
    package = Path(trees.__file__).parent
    loose = {path.name for path in package.glob("*.py") if ".read_text(" in path.read_text()}
    assert loose == {"trees.py"}


def test_all_corpora_list_their_files_in_this_way():
    package = Path(trees.__file__).parent
    loose = {path.name for path in package.glob("*.py") if re.search(r"glob\([^)]*\*\.", path.read_text())}
    assert loose <= {"debian.py"}  # archives that it fetched itself
