"""Upstreams from the package index: whole or not at all, by the pip of the user, and no code is run."""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ctranslate2_models import SIZES, convert_whisper, make_whisper, write_ctranslate2
from transformers import WhisperFeatureExtractor, WhisperModel

from espnet_wsm.bin.fetch_upstream import main
from espnet_wsm.errors import UserError
from espnet_wsm.upstream.fetching import fetch, wheels
from espnet_wsm.upstream.fetching.fetch import fetch_upstream
from espnet_wsm.upstream.fetching.wheels import Source, Wheel, read_sources
from espnet_wsm.upstream.record import read_record

NAME = "whisper_small"
FILES = {"LICENSE", "config.json", "preprocessor_config.json", "model.safetensors"}


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return make_whisper()


@pytest.fixture(scope="module")
def content(model, tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("model") / "model.bin"
    write_ctranslate2(file, convert_whisper(model))
    return file.read_bytes()


@pytest.fixture(scope="module")
def pip(tmp_path_factory) -> list[str]:
    """A pip that is made once for these tests where the environment has none."""
    return wheels._find_pip(tmp_path_factory.mktemp("pip"))


class Index:
    """A folder of wheels, which pip is set to."""

    def __init__(self, folder: Path, content: bytes):
        self.folder, self.content = folder, content
        half = len(content) // 2
        for number, part in ((1, content[:half]), (2, content[half:])):
            self.offer(f"part_{number}", {f"part_{number}/data/model.bin.{number}": part})
        members = tuple(Wheel(f"part-{n}==1.0", f"part_{n}/data/model.bin.{n}", half) for n in (1, 2))
        digest = hashlib.sha256(content).hexdigest()
        self.source = Source("some/whisper", members, digest, "MIT", "MIT License\n\nCopyright Somebody\n")

    def file(self, name: str) -> Path:
        return self.folder / f"{name}-1.0-py3-none-any.whl"

    def offer(self, name: str, members: dict[str, bytes]) -> None:
        """Put a wheel with these members there, importing which fails."""
        about = f"{name}-1.0.dist-info"
        texts = {
            f"{name}/__init__.py": b"raise SystemExit('run')",
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": b"",
        }
        with zipfile.ZipFile(self.file(name), "w") as wheel:
            for member, data in (members | texts).items():
                wheel.writestr(member, data)


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def copied(tmp_path, content, temporary, monkeypatch) -> Index:
    """``NAME`` is in the wheels of a folder, which are copied from there; the hub does not answer."""
    import huggingface_hub

    def refuse(*_, **__):
        raise ConnectionError("no route")

    def copy(pip: list[str], wheel: Wheel, folder: Path) -> Path:
        assert pip == ["a pip"]
        folder.mkdir()
        return shutil.copy(index.file(wheel.requirement.removesuffix("==1.0").replace("-", "_")), folder)

    (tmp_path / "index").mkdir()
    index = Index(tmp_path / "index", content)
    monkeypatch.setattr(fetch, "read_sources", lambda: {NAME: index.source})
    monkeypatch.setattr(huggingface_hub, "model_info", refuse)
    monkeypatch.setattr(wheels, "_find_pip", lambda folder: ["a pip"])
    monkeypatch.setattr(wheels, "_download", copy)
    return index


DOWNLOAD = wheels._download


@pytest.fixture
def index(copied, pip, monkeypatch) -> Index:
    """The same, but they are downloaded by pip, which is set to the folder as users do."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(copied.folder))
    monkeypatch.setattr(wheels, "_find_pip", lambda folder: pip)
    monkeypatch.setattr(wheels, "_download", DOWNLOAD)
    return copied


def test_the_wheels_become_a_directory_of_transformers(
    index, model, temporary, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    main([NAME])
    out = tmp_path / "upstreams" / NAME
    said = capsys.readouterr()
    assert said.out.startswith(f"upstreams/{NAME}: {NAME}, ") and f"--upstream upstreams/{NAME}\n" in said.out
    assert f"{NAME}: from the package index, since the hub fails (no route)" in said.err
    assert "part-1==1.0: 100%" in said.err and "part-2==1.0: 100%" in said.err
    assert {file.name for file in out.iterdir()} == FILES | {"upstream.json"}
    assert list(temporary.iterdir()) == []

    loaded = WhisperModel.from_pretrained(out, local_files_only=True)
    assert {key: getattr(loaded.config, key) for key in SIZES} == SIZES
    expected, found = model.encoder.state_dict(), loaded.encoder.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == torch.float16 and torch.equal(found[name], value), name
    wav = np.random.default_rng(0).normal(size=16000).astype("float32")
    theirs, ours = (
        extractor(wav, sampling_rate=16000)["input_features"]
        for extractor in (
            WhisperFeatureExtractor(feature_size=5),
            WhisperFeatureExtractor.from_pretrained(out, local_files_only=True),
        )
    )
    assert np.array_equal(theirs, ours)
    assert (out / "LICENSE").read_text() == index.source.licence_text
    assert {file.stat().st_mode for file in out.iterdir()} == {(out / "upstream.json").stat().st_mode}


def test_the_record_says_where_it_is_from(copied, tmp_path):
    out = fetch_upstream(NAME, tmp_path / "out")
    record = read_record(out)
    assert json.loads((out / "upstream.json").read_text()) == record
    digests = {file: hashlib.sha256((out / file).read_bytes()).hexdigest() for file in record["files"]}
    assert record == {
        "upstream": "hf_custom",
        "id": NAME,
        "files": record["files"],
        "licence": "MIT",
        "source": {
            "wheels": ["part-1==1.0", "part-2==1.0"],
            "members": ["part_1/data/model.bin.1", "part_2/data/model.bin.2"],
            "sha256": copied.source.sha256,
        },
        "sha256": digests,
    }
    assert set(record["files"]) == FILES


def test_twice_gives_the_same_bytes(copied, tmp_path):
    first, second = (fetch_upstream(NAME, tmp_path / name) for name in ("first", "second"))
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_a_second_run_asks_nobody(copied, tmp_path, monkeypatch, capsys):
    fetch_upstream(NAME, tmp_path / "out")
    monkeypatch.setattr(wheels, "_find_pip", lambda folder: pytest.fail("pip asked"))
    capsys.readouterr()
    fetch_upstream(NAME, tmp_path / "out")
    assert capsys.readouterr().err == f"{tmp_path / 'out'}: already there\n"


@pytest.fixture
def hub(monkeypatch) -> list[str]:
    """The hub answers, with a Whisper; the downloads that it was asked for."""
    import huggingface_hub

    from espnet_wsm.upstream.fetching import hugging_face

    asked = []
    files = ["config.json", "model.safetensors", "preprocessor_config.json"]

    def model_info(id, timeout):
        asked.append(id)
        return SimpleNamespace(sha="c0ffee", siblings=[SimpleNamespace(rfilename=file) for file in files])

    def snapshot_download(id, *, revision, local_dir, allow_patterns):
        for file in allow_patterns:
            (local_dir / file).write_text(json.dumps({"model_type": "whisper"}))

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hugging_face, "find_model_family", lambda directory: None)
    return asked


def test_the_hub_is_taken_if_it_answers(copied, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "_find_pip", lambda folder: pytest.fail("pip asked"))
    record = read_record(fetch_upstream(NAME, tmp_path / "out"))
    assert hub == ["some/whisper"]
    assert (record["id"], record["revision"], record["source"]) == (NAME, "c0ffee", {"hub": "some/whisper"})
    fetch_upstream(NAME, tmp_path / "out")
    assert hub == ["some/whisper"]
    with pytest.raises(UserError, match=f"holds the upstream {NAME}, not some/whisper: give another folder"):
        fetch_upstream("some/whisper", tmp_path / "out")


def test_from_chooses_the_place(copied, hub, tmp_path, monkeypatch):
    main([NAME, "--from", "wheels", "--to", str(tmp_path / "wheels")])
    assert hub == [] and "wheels" in read_record(tmp_path / "wheels")["source"]
    main([NAME, "--from", "hub", "--to", str(tmp_path / "hub")])
    assert hub == ["some/whisper"] and "hub" in read_record(tmp_path / "hub")["source"]
    fetch_upstream(NAME, tmp_path / "hub", place="hub")
    with pytest.raises(UserError, match=f"hub holds {NAME} from the other place, not from wheels: remove it"):
        fetch_upstream(NAME, tmp_path / "hub", place="wheels")


def test_from_the_hub_alone_fails_when_that_does(copied, tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "_find_pip", lambda folder: pytest.fail("pip asked"))
    with pytest.raises(UserError, match="/some/whisper cannot be fetched: ConnectionError: no route"):
        fetch_upstream(NAME, tmp_path / "out", place="hub")
    assert not (tmp_path / "out").exists()


def test_from_is_refused_where_there_is_no_choice(copied, tmp_path):
    with pytest.raises(UserError, match=f"xls_r_300m is in one place only: a choice is there for {NAME}"):
        fetch_upstream("xls_r_300m", tmp_path / "out", place="wheels")


def remove_both(index: Index) -> None:
    index.file("part_1").unlink()
    index.file("part_2").unlink()


def offer_sources(index: Index) -> None:
    """In place of a wheel, a source distribution, of which pip would run the code."""
    index.file("part_1").unlink()
    setup = index.folder / "setup.py"
    setup.write_text(f"open({str(index.folder / 'run')!r}, 'w')\n")
    with tarfile.open(index.folder / "part-1-1.0.tar.gz", "w:gz") as archive:
        archive.add(setup, "part-1-1.0/setup.py")


def change_a_byte(index: Index) -> None:
    whole = bytearray(index.file("part_2").read_bytes())
    whole[len(whole) // 2] ^= 1
    index.file("part_2").write_bytes(whole)


def cut(index: Index) -> None:
    index.file("part_2").write_bytes(index.file("part_2").read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            remove_both,
            r"part-1==1\.0 cannot be fetched: pip says: No matching distribution found for part-1==1",
        ),
        (offer_sources, r"part-1==1\.0 cannot be fetched: pip says: No matching"),
        (cut, r"part-2==1\.0 cannot be fetched: pip says: Wheel 'part-2' .* is invalid"),
    ],
    ids=["no index", "sources alone", "cut"],
)
def test_what_pip_does_not_get_is_said_in_one_sentence_and_nothing_is_left(
    index, temporary, tmp_path, spoil, message
):
    check_refusal(index, temporary, tmp_path / "out", spoil, message)
    assert not (index.folder / "run").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            change_a_byte,
            r"part-2==1\.0 came damaged \(Bad CRC-32 .*\): run this again, with PIP_NO_CACHE_DIR=1",
        ),
        (cut, r"part-2==1\.0 came damaged \(File is not a zip file\)"),
        (
            lambda index: index.offer("part_2", {"part_2/other": b"x"}),
            r"part-2==1\.0 has no part_2/data/model\.bin\.2: take the upstream from the hub or",
        ),
        (
            lambda index: index.offer("part_2", {"part_2/data/model.bin.2": b"x"}),
            r"part-1==1\.0 and part-2==1\.0 hold another model than expected: its SHA-256 is ",
        ),
    ],
    ids=["damaged", "cut", "no member", "another model"],
)
def test_wheels_that_are_not_as_known_are_refused_and_nothing_is_left(
    copied, temporary, tmp_path, spoil, message
):
    check_refusal(copied, temporary, tmp_path / "out", spoil, message)


def check_refusal(index: Index, temporary: Path, out: Path, spoil, message: str) -> None:
    spoil(index)
    with pytest.raises(UserError, match=message) as error:
        fetch_upstream(NAME, out)
    assert "\n" not in str(error.value)
    assert not out.exists() and list(temporary.iterdir()) == []


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_downloaded(
    copied, tmp_path, monkeypatch
):
    monkeypatch.setattr(wheels, "_find_pip", lambda folder: pytest.fail("pip asked"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/a/b cannot be written: .*Not a directory"):
        fetch_upstream(NAME, tmp_path / "file/a/b", place="wheels")


def test_an_environment_for_pip_that_finds_no_room_says_so(temporary, mount, monkeypatch, tmp_path):
    mount(temporary, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"No space left on device.*: set TMPDIR to a folder on a disk with room"
    ):
        with wheels.download_model(read_sources()["whisper_base"]):
            pass


def test_without_network_pip_says_why(index, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(
        UserError, match=r"part-1==1\.0 cannot be fetched: pip says: .*; set pip's index or pro"
    ):
        fetch_upstream(NAME, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_before_pip_is_done_is_named(index, temporary, mount, tmp_path):
    mount(temporary, "-t", "tmpfs", "-o", "size=600k", "tmpfs")
    with pytest.raises(UserError, match=r"No space left on device: .*: set TMPDIR to a folder on a disk"):
        fetch_upstream(NAME, tmp_path / "out")
    assert not (tmp_path / "out").exists() and list(temporary.iterdir()) == []


def test_a_disk_that_is_full_after_pip_is_done_is_named(copied, temporary, mount, tmp_path):
    mount(temporary, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    with pytest.raises(
        UserError, match=r"temporary files cannot be .*No space left on device.*: set TMPDIR to"
    ):
        fetch_upstream(NAME, tmp_path / "out")
    assert not (tmp_path / "out").exists() and list(temporary.iterdir()) == []


def test_a_full_disk_of_upstreams_is_named_and_the_same_command_goes_on(copied, mount, tmp_path):
    small, out = tmp_path / "small", tmp_path / "small/out"
    mount(small, "-t", "tmpfs", "-o", "size=12k", "tmpfs")
    with pytest.raises(UserError, match=r"small/out cannot be written: .*No space left on device"):
        fetch_upstream(NAME, out)
    assert not (out / "upstream.json").exists() and not list(out.glob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=10m", str(small)], check=True)
    fetch_upstream(NAME, out)
    assert {file.name for file in out.iterdir()} == FILES | {"upstream.json"}


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 1, "error: interrupted: run the same command again"),
        (signal.SIGTERM, 143, ""),
    ],
)
def test_interrupted_it_stops_pip_and_leaves_nothing(
    copied, temporary, tmp_path, monkeypatch, capsys, number, status, said
):
    write_id = (
        f"import os, time; open({str(tmp_path / 'pip.id')!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    )
    monkeypatch.setattr(wheels, "_find_pip", lambda folder: [sys.executable, "-c", write_id])
    monkeypatch.setattr(wheels, "_download", DOWNLOAD)

    def interrupt(folder):
        if (tmp_path / "pip.id").exists() and (tmp_path / "pip.id").read_text():
            os.kill(os.getpid(), number)
        return 0

    monkeypatch.setattr(wheels, "_find_largest", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as exit:
            main([NAME, "--to", str(tmp_path / "out")])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert exit.value.code == status and said in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and list(temporary.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pip.id").read_text()), 0)


def test_without_pip_and_without_venv_it_is_said_what_to_install(tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="", stdout="ensurepip is not\n\navailable\n")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        UserError, match=r"has no pip, and venv makes none \(ensurepip is not available\): inst"
    ):
        wheels._find_pip(tmp_path)


def test_the_pip_of_the_environment_is_taken_if_it_has_one(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert wheels._find_pip(tmp_path) == [sys.executable, "-m", "pip"]
    assert list(tmp_path.iterdir()) == []


def test_the_table_is_complete_and_the_help_names_all_of_it(capsys):
    sources = read_sources()
    with pytest.raises(SystemExit):
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "whisper_base" in sources
    for name, source in sources.items():
        assert name in said
        assert source.hub.count("/") == 1 and len(bytes.fromhex(source.sha256)) == 32
        assert source.licence == "MIT" and "Copyright (c) 2022 OpenAI" in source.licence_text
        for wheel in source.wheels:
            package, version = wheel.requirement.split("==")
            assert version and wheel.member.startswith(package.replace("-", "_")) and wheel.bytes > 1e6
