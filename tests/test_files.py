"""What stands in place of a file is named as what it is, whichever file it is."""

import shutil

import pytest

from espnet_wsm.data.audio.opening import open_file
from espnet_wsm.data.corpora.tables import read_table
from espnet_wsm.data.kaldi.lists import read_list
from espnet_wsm.data.text.language_model import is_model, load_model
from espnet_wsm.errors import UserError
from espnet_wsm.files import find_stand_in, read_yaml
from espnet_wsm.upstream import load_upstream
from espnet_wsm.upstream.weights.pickles import open_pickle

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 377607901\n"
LFS = "a git-lfs pointer, not the file itself: run `git lfs pull`"
PAGE = "a web page: download the file again"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (POINTER, LFS),
        (b"<!DOCTYPE html>\n<html>", PAGE),
        (b"\xef\xbb\xbf\r\n<HTML lang=en>", PAGE),
        (b"<!-- saved -->\n<!doctype html>", PAGE),
        (b"../../.git/annex/objects/Xk/9Z/SHA256E-s3--1/SHA256E-s3--1\n", "a git-annex pointer"),
        (b"/annex/objects/SHA256E-s3--1\n", "a git-annex pointer"),
        (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code>", "a server's message of an error"),
        (b"Entry not found", "a server's message of an error"),
        (b"404: Not Found\n", "a server's message of an error"),
        (b"version of the text\n", None),
        (b"Entry not found by the reader\n", None),
        (b"<s> a </s>\n", None),
        (b"", None),
    ],
)
def test_pointers_and_pages_are_recognised(tmp_path, content, fault):
    file = tmp_path / "file"
    file.write_bytes(content)
    found = find_stand_in(file)
    assert found is None if fault is None else found.startswith(f"{file} is {fault}")


def read_as_list(path) -> None:
    problems: list[str] = []
    assert read_list(path, problems) == {}
    raise UserError(*problems)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("model.pt", lambda path: load_upstream(str(path))),
        ("model.ckpt", lambda path: load_upstream(str(path), trust=True)),
        ("checkpoint.pth", lambda path: open_pickle(path, trust=False)),
        ("audio.wav", open_file),
        ("table.csv", read_table),
        ("table.jsonl", read_table),
        ("text", read_as_list),
        ("lm.arpa", load_model),
        ("lm.bin", is_model),
        ("train.yaml", read_yaml),
    ],
)
@pytest.mark.parametrize(("content", "fault"), [(POINTER, LFS), (b"<!DOCTYPE html><html>", PAGE)])
def test_every_reader_names_them(tmp_path, name, read, content, fault):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as refusal:
        read(tmp_path / name)
    assert str(refusal.value).startswith(f"{tmp_path}/{name} is {fault}")
    assert "trust" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("hf_hubert", name) for name in ("config.json", "preprocessor_config.json", "model.safetensors")),
        ("hf_hubert", "pytorch_model.bin"),
        ("espnet_hubert", "config.yaml"),
    ],
)
def test_every_file_of_an_upstream_is_looked_at(upstream_path, tmp_path, kind, name):
    copy = shutil.copytree(upstream_path(kind, True), tmp_path / "copy")
    if name == "pytorch_model.bin":
        (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(POINTER)
    with pytest.raises(UserError) as refusal:
        load_upstream(str(copy))
    assert str(refusal.value).startswith(f"{copy}/{name} is {LFS}")
