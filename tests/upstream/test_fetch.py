"""Upstreams are fetched whole or not at all, into folders of their own."""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from espnet_wsm.bin.fetch_upstream import main
from espnet_wsm.errors import UserError
from espnet_wsm.upstream.fetching import s3prl_names, transfer
from espnet_wsm.upstream.fetching.fetch import fetch_upstream
from espnet_wsm.upstream.fetching.s3prl_names import find_stored, find_urls
from espnet_wsm.upstream.record import read_record


class Server:
    """Serves ``files``; ``cut`` maps a path to how many of its next answers end half way."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.announced: dict[str, str] = {}
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known: Server = self.server.known
        asked_range = self.headers["Range"]
        known.requests.append((self.path, asked_range))
        if self.path not in known.files:
            self.send_error(404)
            return
        body, first = known.files[self.path], 0
        if asked_range and known.ranges:
            first = int(asked_range.removeprefix("bytes=").removesuffix("-"))
        if first and first >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        if self.path in known.announced:
            self.send_header("X-Linked-Etag", f'"{known.announced[self.path]}"')
        self.end_headers()
        rest = body[first:]
        if known.cut.get(self.path, 0):
            known.cut[self.path] -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(transfer, "PIECE_BYTES", 1024)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.known = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield http.known
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def store(monkeypatch, tmp_path) -> Path:
    """An empty folder in the place of S3PRL's downloads."""
    from s3prl.util import download

    monkeypatch.setattr(download, "_download_dir", tmp_path / "store")
    return tmp_path / "store"


def write_checkpoint(file: Path, **content) -> bytes:
    torch.save({"weight": torch.arange(4000.0)} | content, file)
    return file.read_bytes()


@pytest.fixture
def upstream(server, monkeypatch, tmp_path) -> Server:
    """S3PRL's ``wavlm_tiny`` has a checkpoint and a configuration there, ``wavlm_other`` the first."""
    server.files = {
        "/a/model.pt": write_checkpoint(tmp_path / "served.pt"),
        "/a/config.yaml": b"conf: {}\n",
    }
    urls = tuple(server.url + path for path in server.files)
    known = {"wavlm_tiny": urls, "wavlm_other": urls[:1]}
    monkeypatch.setattr(s3prl_names, "find_urls", known.__getitem__)
    return server


def test_fetched_files_are_described_in_the_order_of_their_urls(upstream, tmp_path):
    out = tmp_path / "out"
    assert fetch_upstream("wavlm_tiny", out) == out
    assert {file.name for file in out.iterdir()} == {"model.pt", "config.yaml", "upstream.json"}
    record = json.loads((out / "upstream.json").read_text())
    assert record == read_record(out)
    assert record == {
        "upstream": "wavlm_tiny",
        "files": ["model.pt", "config.yaml"],
        "urls": [f"{upstream.url}/a/model.pt", f"{upstream.url}/a/config.yaml"],
        "sha256": {
            Path(path).name: hashlib.sha256(content).hexdigest() for path, content in upstream.files.items()
        },
    }
    assert (out / "model.pt").read_bytes() == upstream.files["/a/model.pt"]


def test_a_second_run_asks_nobody(upstream, tmp_path, capsys):
    fetch_upstream("wavlm_tiny", tmp_path / "out")
    upstream.requests.clear()
    fetch_upstream("wavlm_tiny", tmp_path / "out")
    assert upstream.requests == []
    assert "already there" in capsys.readouterr().err


def test_a_file_that_changed_since_is_refused(upstream, tmp_path):
    fetch_upstream("wavlm_tiny", tmp_path / "out")
    (tmp_path / "out/config.yaml").write_text("conf: {a: 1}\n")
    with pytest.raises(UserError, match=r"config.yaml is not what was fetched: remove .*out and run again"):
        fetch_upstream("wavlm_tiny", tmp_path / "out")


def test_a_transfer_that_was_cut_off_goes_on_where_it_ended(upstream, tmp_path):
    upstream.cut["/a/model.pt"] = 2
    fetch_upstream("wavlm_tiny", tmp_path / "out")
    size = len(upstream.files["/a/model.pt"])
    first = size // 2 // 1024 * 1024
    second = first + (size - first) // 2 // 1024 * 1024
    asked = [where for path, where in upstream.requests if path == "/a/model.pt"]
    assert asked == [None, f"bytes={first}-", f"bytes={second}-"]
    assert (tmp_path / "out/model.pt").read_bytes() == upstream.files["/a/model.pt"]


def test_a_server_without_ranges_sends_it_all_again(upstream, tmp_path):
    upstream.ranges = False
    upstream.cut["/a/model.pt"] = 1
    fetch_upstream("wavlm_tiny", tmp_path / "out")
    assert (tmp_path / "out/model.pt").read_bytes() == upstream.files["/a/model.pt"]


def test_an_interrupted_fetch_leaves_nothing_that_looks_whole_and_is_taken_up_again(upstream, tmp_path):
    out = tmp_path / "out"
    upstream.cut["/a/model.pt"] = 99
    with pytest.raises(UserError, match=r"/a/model.pt cannot be fetched: .*; run this on a machine with net"):
        fetch_upstream("wavlm_tiny", out)
    assert {file.name for file in out.iterdir()} == {".unfinished", ".model.pt.partial"}
    upstream.cut.clear()
    upstream.requests.clear()
    fetch_upstream("wavlm_tiny", out)
    assert upstream.requests[0][1].startswith("bytes=")
    assert {file.name for file in out.iterdir()} == {"model.pt", "config.yaml", "upstream.json"}


@pytest.mark.parametrize("left", [b"another version", b"x" * 100_000], ids=["shorter", "longer"])
def test_a_rest_of_another_version_is_not_mixed_in(upstream, tmp_path, left):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".unfinished").write_text("wavlm_tiny\n")
    (out / ".model.pt.partial").write_bytes(left)
    upstream.announced["/a/model.pt"] = hashlib.sha256(upstream.files["/a/model.pt"]).hexdigest()
    fetch_upstream("wavlm_tiny", out)
    assert (out / "model.pt").read_bytes() == upstream.files["/a/model.pt"]


def test_another_upstream_is_not_put_into_the_same_folder(upstream, tmp_path):
    fetch_upstream("wavlm_tiny", tmp_path / "out")
    with pytest.raises(UserError, match="holds the upstream wavlm_tiny, not wavlm_other: give another"):
        fetch_upstream("wavlm_other", tmp_path / "out")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/.unfinished").write_text("wavlm_tiny\n")
    with pytest.raises(UserError, match="holds the upstream wavlm_tiny, not wavlm_other: give another"):
        fetch_upstream("wavlm_other", tmp_path / "begun")


def test_a_folder_with_something_else_is_left_alone(upstream, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/model.pt").write_text("mine")
    for path in (tmp_path / "out", tmp_path / "out/model.pt"):
        with pytest.raises(UserError, match="holds something else, not the upstream wavlm_tiny: give a new"):
            fetch_upstream("wavlm_tiny", path)
    assert (tmp_path / "out/model.pt").read_text() == "mine" and upstream.requests == []


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_description_that_cannot_be_read_is_named(upstream, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/upstream.json").write_text(text)
    with pytest.raises(UserError, match=r"upstream\.json does not describe an upstream"):
        fetch_upstream("wavlm_tiny", tmp_path / "out")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_can_run_code_is_taken_only_with_trust(upstream, tmp_path, zipped):
    pickled = {"weight": torch.ones(3), "args": argparse.Namespace(layers=2)}
    torch.save(pickled, tmp_path / "risky.pt", _use_new_zipfile_serialization=zipped)
    upstream.files["/a/model.pt"] = (tmp_path / "risky.pt").read_bytes()
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"out/model\.pt can run code .*argparse\.Namespace .*kept.*--trust"):
        fetch_upstream("wavlm_tiny", out)
    assert (out / "model.pt").exists() and not (out / "upstream.json").exists()
    upstream.requests.clear()
    fetch_upstream("wavlm_tiny", out, trust=True)
    assert read_record(out)["upstream"] == "wavlm_tiny"
    assert [path for path, _ in upstream.requests] == ["/a/config.yaml"]


@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"<!doctype html>log in", lambda whole: whole[: len(whole) // 2], lambda whole: b""],
    ids=["a web page", "half", "empty"],
)
def test_what_is_no_checkpoint_is_refused_even_with_trust(upstream, tmp_path, damage):
    upstream.files["/a/model.pt"] = damage(upstream.files["/a/model.pt"])
    with pytest.raises(
        UserError, match=r"model\.pt is (damaged or not a checkpoint|a web page).*: remove .*model\.pt, then"
    ):
        fetch_upstream("wavlm_tiny", tmp_path / "out", trust=True)


def test_what_s3prl_has_stored_is_copied(upstream, store, tmp_path):
    model, config = find_stored("wavlm_tiny")
    assert model.parent == store and model.name.endswith(".model.pt")
    model.write_bytes(upstream.files["/a/model.pt"])
    fetch_upstream("wavlm_tiny", tmp_path / "out")
    assert [path for path, _ in upstream.requests] == ["/a/config.yaml"] and not config.exists()
    assert (tmp_path / "out/model.pt").read_bytes() == upstream.files["/a/model.pt"]


def test_the_file_is_fetched_where_s3prl_asks_for_the_page_about_it(upstream, monkeypatch, tmp_path):
    upstream.files = {"/resolve/main/config.yaml": b"conf: {}\n", "/blob/main/config.yaml": b"<html>"}
    monkeypatch.setattr(s3prl_names, "find_urls", lambda name: (f"{upstream.url}/blob/main/config.yaml",))
    (page,) = find_stored("espnet_hubert_large_gs_ll60k")
    page.write_bytes(b"<html>")
    fetch_upstream("espnet_hubert_large_gs_ll60k", tmp_path / "out")
    assert (tmp_path / "out/config.yaml").read_bytes() == b"conf: {}\n"
    assert read_record(tmp_path / "out")["urls"] == [f"{upstream.url}/resolve/main/config.yaml"]


def test_a_file_that_the_server_does_not_have_is_asked_for_once(upstream, tmp_path):
    del upstream.files["/a/config.yaml"]
    with pytest.raises(UserError, match=r"/a/config\.yaml cannot be fetched: its server says 404"):
        fetch_upstream("wavlm_tiny", tmp_path / "out")
    assert [path for path, _ in upstream.requests].count("/a/config.yaml") == 1


def test_without_network_the_message_says_where_to_run_it(upstream, monkeypatch, tmp_path):
    with socket.socket() as deaf:  # nobody else gets its port meanwhile
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        monkeypatch.setattr(s3prl_names, "find_urls", lambda name: (f"http://127.0.0.1:{port}/model.pt",))
        message = f"127.0.0.1:{port}/model.pt cannot be .*with network.*https_proxy"
        with pytest.raises(UserError, match=message):
            fetch_upstream("wavlm_tiny", tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(upstream, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/out cannot be written"):
        fetch_upstream("wavlm_tiny", tmp_path / "file/out")


@pytest.mark.parametrize("hub", s3prl_names.HUBS)
def test_every_s3prl_name_of_the_families_gives_urls_without_network(hub, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("network used")

    import s3prl.hub

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    module = sys.modules[f"s3prl.upstream.{hub}.hubconf"]
    before = module._urls_to_filepaths
    functions = [
        name
        for name in s3prl.hub.options(only_registered_ckpt=True)
        if getattr(getattr(s3prl.hub, name), "__module__", None) == module.__name__
    ]
    assert functions
    for name in functions:
        urls = find_urls(name)
        assert urls and all(url.startswith("https://huggingface.co/") for url in urls), name
        assert len({Path(url).name for url in urls}) == len(urls), name
    assert module._urls_to_filepaths is before


def test_urls_are_those_that_s3prl_would_fetch():
    assert find_urls("xls_r_300m") == (
        "https://huggingface.co/s3prl/converted_ckpts/resolve/main/xlsr2_300m.pt",
    )
    assert [Path(url).name for url in find_urls("espnet_hubert_base_iter1")] == [
        "valid.loss.ave.pth",
        "config.yaml",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "wavlm_huge",
            "'wavlm_huge' is unknown to the installed S3PRL, .*; similar are wavlm.*facebook/mms-300m",
        ),
        (
            "whisper_bass",
            "'whisper_bass' is unknown .* none of whisper_base, whisper_tiny_en; similar are whisper_base",
        ),
        ("Path", "'Path' is unknown"),
        ("a/b/c", "'a/b/c' is unknown"),
        ("wavlm_local", "wavlm_local takes the path of a checkpoint"),
        ("hf_hubert_custom", "hf_hubert_custom takes the path of a checkpoint"),
        ("fbank", "fbank cannot be fetched: only those of S3PRL's data2vec, "),
        ("pase_plus", "pase_plus cannot be fetched"),
    ],
)
def test_a_name_with_nothing_to_fetch_is_refused_and_leaves_no_folder(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        fetch_upstream(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def hub(monkeypatch):
    """Hugging Face's client with ``files`` of one repository; ``calls`` are the downloads asked for."""
    import huggingface_hub

    def model_info(id, timeout):
        assert 0 < timeout < 60
        if hub.error:
            raise hub.error
        return SimpleNamespace(sha="c0ffee", siblings=[SimpleNamespace(rfilename=f) for f in hub.files])

    def snapshot_download(id, *, revision, local_dir, allow_patterns):
        hub.calls.append((id, revision, allow_patterns))
        for file in hub.arriving if hub.arriving is not None else allow_patterns:
            (local_dir / file).write_text(hub.config if file == "config.json" else file)

    config = json.dumps({"model_type": "wav2vec2"})
    hub = SimpleNamespace(files=[], calls=[], error=None, arriving=None, config=config)
    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return hub


SETTINGS = ["config.json", "preprocessor_config.json"]


@pytest.mark.parametrize(
    ("offered", "weights"),
    [
        (["model.safetensors", "pytorch_model.bin", "adapter.abk.safetensors"], ["model.safetensors"]),
        (
            ["model-00001-of-00001.safetensors", "model.safetensors.index.json"],
            ["model-00001-of-00001.safetensors", "model.safetensors.index.json"],
        ),
        (["pytorch_model.bin", "onnx/model.safetensors"], ["pytorch_model.bin"]),
    ],
)
def test_a_hugging_face_model_comes_with_its_revision(hub, tmp_path, offered, weights):
    hub.files = ["README.md", *SETTINGS, *offered]
    fetch_upstream("facebook/mms-300m", tmp_path / "out")
    files = [*SETTINGS, *weights]
    assert hub.calls == [("facebook/mms-300m", "c0ffee", asked) for asked in (["config.json"], files)]
    assert read_record(tmp_path / "out") == {
        "upstream": "hf_custom",
        "id": "facebook/mms-300m",
        "revision": "c0ffee",
        "files": files,
        "sha256": {
            file: hashlib.sha256((hub.config if file == "config.json" else file).encode()).hexdigest()
            for file in files
        },
    }
    fetch_upstream("facebook/mms-300m", tmp_path / "out")
    assert len(hub.calls) == 2
    with pytest.raises(UserError, match="holds the upstream facebook/mms-300m, not facebook/mms-1b"):
        fetch_upstream("facebook/mms-1b", tmp_path / "out")


@pytest.mark.parametrize(
    ("offered", "settings"),
    [
        (["processor_config.json"], ["config.json", "processor_config.json"]),
        (["preprocessor_config.json", "processor_config.json"], SETTINGS),
    ],
)
def test_the_feature_extractor_of_a_processor_comes_along(hub, tmp_path, offered, settings):
    hub.files = ["config.json", *offered, "model.safetensors"]
    fetch_upstream("facebook/mms-300m", tmp_path / "out")
    assert read_record(tmp_path / "out")["files"] == [*settings, "model.safetensors"]


def test_what_would_be_refused_is_refused_before_its_weights_come(hub, upstream, tmp_path):
    hub.files, hub.config = [*SETTINGS, "model.safetensors"], json.dumps({"model_type": "sew"})
    with pytest.raises(UserError, match="holds a sew model, which is not supported: it squeezes time"):
        fetch_upstream("asapp/sew-tiny-100k", tmp_path / "hf")
    assert [asked for _, _, asked in hub.calls] == [["config.json"]]
    with pytest.raises(UserError, match="wav2vec2_conformer_relpos is not supported: the convolution"):
        fetch_upstream("wav2vec2_conformer_relpos", tmp_path / "s3prl")
    assert not upstream.requests and not (tmp_path / "s3prl").exists()


def test_a_repository_without_weights_is_refused(hub, tmp_path):
    hub.files = [*SETTINGS, "model.onnx"]
    with pytest.raises(UserError, match=r"/some/one holds no transformers model"):
        fetch_upstream("some/one", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_hugging_face_without_network_is_not_taken_for_done(hub, tmp_path):
    hub.error = ConnectionError("no route")
    with pytest.raises(UserError, match=r"/some/one cannot be fetched: .*no route; run this on a machine"):
        fetch_upstream("some/one", tmp_path / "out")
    hub.error, hub.files, hub.arriving = None, [*SETTINGS, "model.safetensors"], SETTINGS
    with pytest.raises(UserError, match=r"some/one: model\.safetensors did not arrive"):
        fetch_upstream("some/one", tmp_path / "out")
    assert not (tmp_path / "out/upstream.json").exists()


def test_the_command_says_how_to_use_what_it_fetched(upstream, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["wavlm_tiny"])
    assert capsys.readouterr().out == (
        "upstreams/wavlm_tiny: wavlm_tiny, 17.5kB; use it with --upstream upstreams/wavlm_tiny\n"
    )
    main(["wavlm_tiny", "--to", "elsewhere"])
    assert "--upstream elsewhere\n" in capsys.readouterr().out


def test_the_command_fails_in_one_sentence(upstream, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    with pytest.raises(SystemExit) as exit:
        main(["wavlm_tiny", "--to", str(tmp_path / "full")])
    assert exit.value.code == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'full'} holds something else")


def test_the_command_reports_in_one_line_what_the_client_of_hugging_face_refuses(tmp_path):
    # In a process of its own: what the client has imported depends on who used it before.
    result = subprocess.run(
        [sys.executable, "-m", "espnet_wsm.bin.fetch_upstream", "some/one", "--to", str(tmp_path / "out")],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1 and not (tmp_path / "out").exists()
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: https://huggingface.co/some/one cannot be fetched: OfflineModeIsEnabled: ")
