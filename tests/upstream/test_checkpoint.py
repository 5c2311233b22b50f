"""What a name or a path stands for is found without loading it; what cannot be used is refused and why."""

import argparse
import functools
import hashlib
import json
import os
import pickle
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from checkpoints import CHECKPOINTS, ESPNET_WEIGHTS, POST_NORM, PRE_NORM
from checkpoints import REFUSED as REFUSED_CHECKPOINTS

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import find_checkpoint, load_upstream
from espnet_wsm.upstream.checkpoint import locate
from espnet_wsm.upstream.families.contract import FamilyContract, FileFamily
from espnet_wsm.upstream.families.hf import GENERIC
from espnet_wsm.upstream.families.registry import FAMILIES, REFUSED, find_family, is_name
from espnet_wsm.upstream.fetching.fetch import fetch_upstream
from espnet_wsm.upstream.fetching.s3prl_names import find_stored
from espnet_wsm.upstream.fetching.wheels import read_sources
from espnet_wsm.upstream.record import read_record

# Torch and ESPnet say so whenever a file is trusted, and tests of trust need nothing of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD:UserWarning"),
    pytest.mark.filterwarnings("ignore:.* with weights_only=False:UserWarning"),
]

LOADERS = {
    "wav2vec2": "wav2vec2_local",
    "hubert": "hubert_local",
    "data2vec": "data2vec_local",
    "distiller": "distiller_local",
    "wavlm": "wavlm_local",
    "unispeech_sat": "unispeech_sat_local",
    "espnet_hubert": "espnet_hubert_custom",
    "hf_hubert": "hf_hubert_custom",
    "hf_wav2vec2": "hf_wav2vec2_custom",
    "hf_wavlm": "hf_custom",
    "hf_generic": "hf_custom",
    "hf_wav2vec2_bert": "hf_custom",
    "whisper": "whisper_local",
}
# Parts of the list of what is supported, which ends most refusals.
LIST = r"\. Supported: wav2vec2, .*xls_r_\*, .*wavlm_\*, .*transformers models: hubert, .*whisper$"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Callable[..., Path]:
    """``written(family, variant)`` is one of ``CHECKPOINTS``, ``written(name)`` one that is refused."""
    root: Path = tmp_path_factory.mktemp("checkpoints")

    @functools.cache
    def write(*key: str) -> Path:
        place = root / re.sub(r"\W+", "_", "_".join(key))
        return (CHECKPOINTS[key] if key in CHECKPOINTS else REFUSED_CHECKPOINTS[key[0]])(place)

    return write


@pytest.fixture(scope="module")
def hub_names() -> list[str]:
    """The names of the upstreams that the installed S3PRL has checkpoints for."""
    from s3prl import hub

    return hub.options(only_registered_ckpt=True)


@pytest.fixture(autouse=True)
def no_network(monkeypatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def store(monkeypatch, tmp_path) -> Path:
    """An empty folder in the place of S3PRL's downloads, and another one to work in."""
    from s3prl.util import download

    monkeypatch.setattr(download, "_download_dir", tmp_path / "store")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "store"


def copy(path: Path, place: Path) -> Path:
    """A copy of a file or a directory, to be changed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return Path((shutil.copytree if path.is_dir() else shutil.copy)(path, place))


def list_files(path: Path) -> list[Path]:
    """The files of a checkpoint, weights first, which is the order of S3PRL's URLs."""
    return [path / ESPNET_WEIGHTS, path / "config.yaml"] if path.is_dir() else [path]


def store_upstream(name: str, path: Path) -> tuple[Path, ...]:
    """Let S3PRL have downloaded ``path`` as its ``name``."""
    stored = find_stored(name)
    for file, place in zip(list_files(path), stored, strict=True):
        copy(file, place)
    return stored


def refusal(upstream: Path | str, trust: bool = False) -> str:
    """The message of the refusal, the same whether the checkpoint is looked for or loaded."""
    with pytest.raises(UserError) as found:
        find_checkpoint(str(upstream), trust)
    with pytest.raises(UserError) as loaded:
        load_upstream(str(upstream), trust)
    assert str(found.value) == str(loaded.value)
    assert "\n" not in str(found.value)
    return str(found.value)


# Checkpoints of one's own


def test_every_family_has_a_checkpoint_here():
    assert {family for family, _ in CHECKPOINTS} == {family.name for family in FAMILIES} == set(LOADERS)


@pytest.mark.parametrize(("family", "variant"), CHECKPOINTS)
def test_a_checkpoint_is_recognised_and_loads_in_eval_mode(written, family, variant):
    path = written(family, variant)
    found = find_checkpoint(str(path))
    assert (found.family.name, found.name) == (family, LOADERS[family])
    assert found.place == path and all(file.is_file() for file in found.files)
    before = torch.get_rng_state()
    expert, loaded = load_upstream(str(path))
    assert loaded == found
    assert not any(module.training for module in expert.modules())
    assert {parameter.device.type for parameter in expert.parameters()} == {"cpu"}
    assert torch.equal(torch.get_rng_state(), before)


def test_finding_imports_neither_s3prl_nor_transformers_nor_espnet(written):
    keys = [("wav2vec2", POST_NORM), ("hf_wavlm", PRE_NORM), ("espnet_hubert", PRE_NORM)]
    paths = [written(*key) for key in keys]
    code = (
        "import sys\n"
        "from espnet_wsm.upstream.checkpoint import find_checkpoint\n"
        "for path in sys.argv[1:]: print(find_checkpoint(path))\n"
        "print([*{'s3prl', 'transformers', 'espnet2', 'torchaudio'} & sys.modules.keys()])\n"
    )
    process = [sys.executable, "-c", code, *map(str, paths)]
    *found, imported = subprocess.run(process, capture_output=True, text=True, check=True).stdout.splitlines()
    assert imported == "[]"
    assert found == [str(find_checkpoint(str(path))) for path in paths]
    assert re.fullmatch(r"wav2vec2_local \(digest [0-9a-f]{12}\)", found[0])


def test_a_file_in_the_older_form_of_torch_is_found_and_loads(written, tmp_path):
    content = torch.load(written("hubert", POST_NORM))
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    _, found = load_upstream(str(tmp_path / "old.pt"))
    assert found.family.name == "hubert"


def test_a_relative_path_does(written, monkeypatch):
    path = written("wavlm", POST_NORM)
    monkeypatch.chdir(path.parent.parent)
    expert, found = load_upstream(str(path.relative_to(path.parent.parent)))
    assert found.digest == find_checkpoint(str(path)).digest and not expert.training


def test_a_folder_of_one_file_stands_for_the_file(written, tmp_path):
    path = copy(written("data2vec", "post-norm, layer norm"), tmp_path / "folder/any.ckpt")
    (tmp_path / "folder/notes.txt").write_text("")
    _, found = load_upstream(str(tmp_path / "folder"))
    assert found == find_checkpoint(str(path)) and found.files == (path,)


# The digest


def change_byte(file: Path) -> None:
    """Change the last byte but keep the size."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    time_ns = file.stat().st_mtime_ns
    file.write_bytes(content)
    os.utime(file, ns=(time_ns, time_ns + 1))


def test_the_digest_of_a_file_follows_its_content_and_not_its_name(written, tmp_path):
    path = copy(written("wav2vec2", PRE_NORM), tmp_path / "one.pt")
    digest = find_checkpoint(str(path)).digest
    assert digest == find_checkpoint(str(written("wav2vec2", PRE_NORM))).digest
    assert re.fullmatch("[0-9a-f]{32}", digest)
    renamed = path.rename(tmp_path / "other.pt")
    assert find_checkpoint(str(renamed)).digest == digest
    assert digest != find_checkpoint(str(written("wav2vec2", POST_NORM))).digest
    change_byte(renamed)  # of the list of contents at the end of the file, which does not hinder loading
    assert find_checkpoint(str(renamed)).digest != digest


def test_the_digest_of_a_directory_follows_what_makes_the_model(written, tmp_path):
    path = copy(written("hf_hubert", PRE_NORM), tmp_path / "hubert")
    digest = find_checkpoint(str(path)).digest
    for extra in ("README.md", ".gitattributes", "vocab.json", "upstream.txt"):
        (path / extra).write_text("text")
    assert find_checkpoint(str(path)).digest == digest
    moved = path.rename(tmp_path / "moved")
    assert find_checkpoint(str(moved)).digest == digest
    for file in ("config.json", "preprocessor_config.json", "model.safetensors"):
        before = find_checkpoint(str(moved)).digest
        with (moved / file).open("ab") as end:
            end.write(b" ")
        assert find_checkpoint(str(moved)).digest != before


def test_the_digest_of_an_experiment_follows_weights_and_configuration(written, tmp_path):
    path = copy(written("espnet_hubert", PRE_NORM), tmp_path / "exp")
    digest = find_checkpoint(str(path)).digest
    (path / "train.log").write_text("text")
    assert find_checkpoint(str(path)).digest == digest
    with (path / "config.yaml").open("a") as config:
        config.write("# a comment\n")
    changed = find_checkpoint(str(path)).digest
    assert changed != digest
    change_byte(path / ESPNET_WEIGHTS)
    assert find_checkpoint(str(path)).digest != changed


# Experiments of ESPnet


def test_an_experiment_is_given_as_its_folder_or_as_one_of_its_models(written, tmp_path):
    path = copy(written("espnet_hubert", POST_NORM), tmp_path / "exp")
    copy(path / ESPNET_WEIGHTS, path / "5epoch.pth")
    copy(path / ESPNET_WEIGHTS, path / "checkpoint.pth")  # the trainer's state, not a model
    found = find_checkpoint(str(path))
    assert found.files == (path / ESPNET_WEIGHTS, path / "config.yaml") and found.place == path
    assert found == find_checkpoint(str(path / ESPNET_WEIGHTS))
    expert, found = load_upstream(str(path / "5epoch.pth"))
    assert found.files == (path / "5epoch.pth", path / "config.yaml")
    assert found.family.name == "espnet_hubert" and not expert.training


def test_the_only_model_of_an_experiment_may_have_any_name(written, tmp_path):
    path = copy(written("espnet_hubert", POST_NORM), tmp_path / "exp")
    (path / ESPNET_WEIGHTS).rename(path / "valid.acc_m.ave_10best.pth")
    (path / "checkpoint.pth").write_bytes(b"the trainer's state")
    assert find_checkpoint(str(path)).files[0] == path / "valid.acc_m.ave_10best.pth"


def test_an_experiment_with_several_models_asks_for_one(written, tmp_path):
    path = copy(written("espnet_hubert", POST_NORM), tmp_path / "exp")
    copy(path / ESPNET_WEIGHTS, path / "5epoch.pth")
    (path / ESPNET_WEIGHTS).rename(path / "10epoch.pth")
    assert refusal(path) == f"{path} holds 2 models, 10epoch.pth, 5epoch.pth: name the one that is meant"


def test_an_experiment_without_a_model_is_refused(written, tmp_path):
    path = copy(written("espnet_hubert", POST_NORM), tmp_path / "exp")
    (path / ESPNET_WEIGHTS).rename(path / "checkpoint.pth")
    assert refusal(path) == f"{path} holds a config.yaml but no .pth of a model beside it"


def test_an_experiment_with_a_missing_weight_is_refused(written, tmp_path):
    """ESPnet loads with strict=False, and the weight would stay random."""
    path = copy(written("espnet_hubert", PRE_NORM), tmp_path / "exp")
    weights = torch.load(path / ESPNET_WEIGHTS)
    name = "wav2vec2.encoder.transformer.layers.1.attention.q_proj.weight"
    del weights[f"encoder.hubert_pretrain_model.{name}"]
    torch.save(weights, path / ESPNET_WEIGHTS)
    message = (
        f"{path / ESPNET_WEIGHTS} is not a complete checkpoint of espnet_hubert: 1 weights .* is {name}$"
    )
    with pytest.raises(UserError, match=message):
        load_upstream(str(path))


# Fetched folders and S3PRL's names

NAMED = {
    "xls_r_300m": ("wav2vec2", PRE_NORM),
    "contentvec": ("hubert", POST_NORM),
    "distilhubert": ("distiller", POST_NORM),
    "wavlm_base_plus": ("wavlm", POST_NORM),
    "espnet_hubert_base_iter1": ("espnet_hubert", POST_NORM),
}


@pytest.fixture
def fetched(written, tmp_path) -> Callable[[str], Path]:
    """``fetched(name)``: a folder as ``fetch_upstream`` leaves it when S3PRL has the files already."""

    def fetch(name: str) -> Path:
        store_upstream(name, written(*NAMED[name]))
        return fetch_upstream(name, tmp_path / "fetched" / name)

    return fetch


@pytest.mark.parametrize("name", NAMED)
def test_a_fetched_folder_keeps_its_s3prl_name(written, fetched, name):
    folder = fetched(name)
    expert, found = load_upstream(str(folder))
    assert (found.name, found.family.name) == (name, NAMED[name][0])
    assert found.files == tuple(folder / file for file in read_record(folder)["files"])
    assert not expert.training
    if len(found.files) == 1:
        assert found.digest == find_checkpoint(str(written(*NAMED[name]))).digest


def write_record(folder: Path, **changes: Any) -> Path:
    """The record of the files in a folder, as that of a fetched model of transformers."""
    files = sorted(file.name for file in folder.iterdir())
    digests = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files}
    record = {"upstream": GENERIC, "id": "some/one", "revision": "c0ffee", "files": files, "sha256": digests}
    (folder / "upstream.json").write_text(json.dumps(record | changes))
    return folder


def test_a_fetched_model_of_transformers_is_of_the_family_of_its_type(written, tmp_path):
    plain = find_checkpoint(str(written("hf_wav2vec2", PRE_NORM)))
    folder = write_record(copy(written("hf_wav2vec2", PRE_NORM), tmp_path / "fetched"))
    _, found = load_upstream(str(folder))
    assert (found.name, found.family.name) == ("hf_wav2vec2_custom", "hf_wav2vec2")
    assert found.digest == plain.digest


def test_a_missing_file_of_a_fetched_folder_is_named(written, fetched, tmp_path):
    folder = fetched("espnet_hubert_base_iter1")
    (folder / "config.yaml").unlink()
    remedy = f"remove {folder} and fetch espnet_hubert_base_iter1 again"
    assert refusal(folder) == f"{folder / 'config.yaml'} is missing: {remedy}"
    folder = write_record(copy(written("hf_wav2vec2", PRE_NORM), tmp_path / "hf"))
    (folder / "model.safetensors").unlink()
    remedy = f"remove {folder} and fetch some/one again"
    assert refusal(folder) == f"{folder / 'model.safetensors'} is missing: {remedy}"


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_file_of_another_digest_than_the_recorded_one_is_refused(written, tmp_path, file):
    folder = write_record(copy(written("hf_hubert", PRE_NORM), tmp_path / "fetched"))
    before = find_checkpoint(str(folder)).digest
    recorded = read_record(folder)["sha256"][file]
    change_byte(folder / file)
    found = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    expected = (
        f"{folder / file} is not the one that upstream.json describes: its SHA-256 is {found[:12]}..., "
        f"the recorded one {recorded[:12]}...: remove {folder} and fetch some/one again"
    )
    assert refusal(folder) == expected
    assert refusal(folder / "model.safetensors") == expected, "whichever way it is given"
    change_byte(folder / file)
    assert find_checkpoint(str(folder)).digest == before


def test_a_configuration_of_another_model_is_refused(written, tmp_path):
    folder = write_record(copy(written("hf_hubert", PRE_NORM), tmp_path / "fetched"))
    copy(written("hf_hubert", POST_NORM) / "config.json", folder / "config.json")
    assert refusal(folder).startswith(f"{folder / 'config.json'} is not the one that upstream.json describes")


def test_a_fetched_file_that_was_cut_short_is_refused_by_its_s3prl_name_too(fetched, monkeypatch):
    folder = copy(fetched("xls_r_300m"), Path("upstreams/xls_r_300m"))
    file = folder / "xlsr2_300m.pt"
    file.write_bytes(file.read_bytes()[:-100])
    for upstream in ("xls_r_300m", folder.absolute(), file.absolute()):
        message = refusal(upstream)
        assert "xlsr2_300m.pt is not the one that upstream.json describes" in message
        assert message.endswith("fetch xls_r_300m again")


@pytest.mark.parametrize(
    "record",
    [
        "",
        "<record>",
        "[]",
        "null",
        '{"upstream": "wavlm_base"}',
        '{"upstream": "wavlm_base", "files": [], "sha256": {}}',
        '{"upstream": "wavlm_base", "files": "a.pt", "sha256": {}}',
        '{"upstream": ["wavlm_base"], "files": ["a.pt"], "sha256": {"a.pt": "0"}}',
        '{"upstream": "wavlm_base", "files": ["a.pt"], "sha256": {}}',
        '{"upstream": "wavlm_base", "files": ["a.pt", "b.pt"], "sha256": {"a.pt": "0"}}',
        '{"upstream": "wavlm_base", "files": [["a.pt"]], "sha256": {"a.pt": "0"}}',
    ],
)
def test_a_damaged_record_is_refused(tmp_path, record):
    (tmp_path / "upstream.json").write_text(record)
    (tmp_path / "a.pt").write_bytes(b"")
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}/upstream.json does not describe an upstream (")
    assert message.endswith("): fetch or export it again to a new folder")


def test_a_fetched_upstream_that_is_not_supported_is_refused(written, tmp_path):
    path = copy(written("wav2vec2_conformer_relpos"), tmp_path / "fetched/model.pt")
    folder = write_record(path.parent, upstream="wav2vec2_conformer_relpos")
    expected = f"^upstream wav2vec2_conformer_relpos is not supported: the convolution .*{LIST}"
    assert re.search(expected, refusal(folder))


def test_a_name_finds_the_folder_to_which_it_was_fetched_in_the_working_directory(written, fetched):
    folder = copy(fetched("xls_r_300m"), Path("upstreams/xls_r_300m"))
    for file in find_stored("xls_r_300m"):
        file.unlink()
    assert find_checkpoint("xls_r_300m").files == (folder / "xlsr2_300m.pt",)
    folder = write_record(copy(written("hf_hubert", PRE_NORM), Path("upstreams/facebook_hubert")))
    _, found = load_upstream("facebook/hubert")
    assert found.place == folder and found.family.name == "hf_hubert"


@pytest.mark.parametrize("name", NAMED)
def test_a_name_that_s3prl_has_stored_is_found_and_loads(written, name):
    stored = store_upstream(name, written(*NAMED[name]))
    expert, found = load_upstream(name)
    assert (found.name, found.family.name, found.files) == (name, NAMED[name][0], stored)
    assert not expert.training


def test_a_name_of_which_one_file_is_stored_is_not_here(written):
    name = "espnet_hubert_base_iter1"
    store_upstream(name, written(*NAMED[name]))[1].unlink()
    assert f"upstream {name} is not on this machine" in refusal(name)


def test_a_name_that_is_not_here_fails_with_the_command_that_fetches_it():
    assert refusal("xls_r_300m") == (
        f"upstream xls_r_300m is not on this machine: run '{sys.executable} -m "
        "espnet_wsm.bin.fetch_upstream xls_r_300m "
        "--to upstreams/xls_r_300m' where there is a network, then give upstreams/xls_r_300m as the upstream"
    )


def test_a_name_of_the_package_index_that_is_not_here_fails_so_too():
    assert refusal("whisper_base").startswith("upstream whisper_base is not on this machine: run ")
    assert "bin.fetch_upstream whisper_base --to upstreams/whisper_base'" in refusal("whisper_base")
    assert "similar are whisper_base" in refusal("whisper_bass")


@pytest.mark.parametrize(
    "name",
    [
        "hubert_local",
        "hf_hubert_custom",
        "wav2vec2_url",
        "hf_custom",
        "espnet_hubert_custom",
        "distiller_local",
        "wavlm_url",
        "whisper_local",
    ],
)
def test_a_loader_asks_for_the_path_of_a_checkpoint(name):
    message = refusal(name)
    sentence = "is a loader for your own checkpoint: give the path of the checkpoint as the upstream"
    assert message == f"{name} {sentence}, {find_family(name).form}"


def test_what_may_be_an_id_of_hugging_face_shows_the_command_that_fetches_it():
    message = refusal("facebook/mms-300m")
    assert message.startswith("upstream facebook/mms-300m is neither a file nor a directory")
    command = (
        f"{sys.executable} -m espnet_wsm.bin.fetch_upstream facebook/mms-300m "
        "--to upstreams/facebook_mms-300m"
    )
    assert command in message and message.endswith("then give upstreams/facebook_mms-300m as the upstream")


@pytest.mark.parametrize("path", ["model.pt", "./model", "/nowhere/model", "../a/b", "a/b/c.pt"])
def test_a_path_that_does_not_exist_is_named(path):
    assert refusal(path) == f"upstream {path} is neither a file nor a directory"


# What is supported and what is not


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fbank", "none of the transformers over frames of a waveform"),
        ("apc", "none of the transformers over frames of a waveform"),
        ("modified_cpc", "none of the transformers over frames of a waveform"),
        ("vq_wav2vec", "none of the transformers over frames of a waveform"),
        ("mockingjay", "it reads log-mel"),
        ("tera_960hr", "it reads log-mel"),
        ("multires_hubert_base", "several frame rates"),
        ("wav2vec2_conformer_relpos", "the convolution in each of its conformer layers"),
        ("lighthubert_small", "supernet"),
        ("ssast_frame_base", "patches of a spectrogram"),
        ("mos_wav2vec2", "score of quality"),
        ("discretebert", "discrete codes"),
    ],
)
def test_an_unsupported_name_is_refused_with_the_reason_and_what_is_supported(name, reason):
    assert re.search(f"^upstream {name} is not supported: .*{reason}.*{LIST}", refusal(name))


def test_a_name_that_fits_a_family_but_is_unknown_to_s3prl_shows_similar_ones():
    said = refusal("wavlm_huge")
    assert re.search("'wavlm_huge' is unknown to the installed S3PRL, .*; similar are wavlm", said)


def test_every_name_of_the_hub_is_supported_or_refused_with_a_reason(hub_names):
    supported = []
    for name in hub_names:
        try:
            find_family(name)
            supported.append(name)
        except UserError as error:
            assert any(f"{name} is not supported: {reason}." in str(error) for reason in REFUSED.values())
    assert 30 < len(supported) < len(hub_names) - 30
    for name in supported:
        with pytest.raises(UserError, match=f"^upstream {name} is not on this machine"):
            find_checkpoint(name)


def test_every_pattern_of_a_family_stands_for_something(hub_names):
    from s3prl import hub

    loaders = [name for name in hub.options() if name.endswith(("_custom", "_local", "_url"))]
    for family in FAMILIES:
        for pattern in family.upstreams:
            # What S3PRL knows, what can be fetched besides, and what files are called that S3PRL cannot load.
            names = [*hub_names, *loaders, *read_sources(), family.loader]
            fitting = [name for name in names if fnmatchcase(name, pattern)]
            known = [name for name in fitting if find_family_or_none(name) is family]
            assert known or pattern == GENERIC, (family.name, pattern)


def find_family_or_none(name: str) -> FamilyContract | None:
    try:
        return find_family(name)
    except UserError:
        return None


def test_the_loader_of_a_family_leads_back_to_it():
    from s3prl import hub

    for family in FAMILIES:
        if family.loader != GENERIC:
            assert find_family(family.loader) is family
            assert (family.loader in hub.options()) == (family.name != "whisper")
        assert isinstance(family, FileFamily) == family.loader.endswith("_local")


def test_every_refusal_is_of_something_that_exists(hub_names):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    for pattern in set(REFUSED) - {"*"}:
        assert any(fnmatchcase(name, pattern) for name in [*hub_names, *CONFIG_MAPPING_NAMES]), pattern


@pytest.mark.parametrize("name", ["wav2vec2_conformer_relpos", "wav2vec2_conformer_rope"])
def test_a_file_of_conformer_layers_is_refused(written, name):
    path = written(name)
    reason = "holds a wav2vec2_conformer model, which is not supported: the convolution in each"
    assert re.search(f"^{path} {reason}.*{LIST}", refusal(path))


def test_a_file_of_several_frame_rates_is_refused(written, tmp_path):
    content = torch.load(written("hubert", POST_NORM))
    content["model_cfg"]["label_rate_ratios"] = [1, 2]
    torch.save(content, tmp_path / "multires.pt")
    reason = "holds a multires_hubert model, which is not supported: its layers run at several frame rates"
    assert re.search(reason + f".*{LIST}", refusal(tmp_path / "multires.pt"))


@pytest.mark.parametrize(
    ("name", "model_type", "reason"),
    [
        ("hf_wav2vec2_conformer", "wav2vec2-conformer", "the convolution in each of its conformer layers"),
        ("hf_sew", "sew", "it squeezes time"),
    ],
)
def test_a_directory_of_an_unsupported_speech_model_is_refused(written, name, model_type, reason):
    path = written(name)
    message = refusal(path)
    assert re.search(f"^{path} holds a {model_type} model, which is not supported: {reason}.*{LIST}", message)


def test_a_model_that_shortens_time_is_refused(written):
    path = written("hf_adapter")
    assert find_checkpoint(str(path)).family.name == "hf_wav2vec2"
    with pytest.raises(UserError, match=r"hf_wav2vec2 models with add_adapter are not .*shortens time"):
        load_upstream(str(path))


@pytest.mark.parametrize("model_type", ["bert", "ast", "seamless_m4t"])
def test_a_directory_of_another_kind_of_model_names_its_type(tmp_path, model_type):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert re.search(f"holds a {model_type} model, which is not supported: it.*{LIST}", refusal(tmp_path))


@pytest.mark.parametrize("config", ["", "[]", "{}", '"hubert"', "<config>"])
def test_a_config_without_a_type_is_refused(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}/config.json is not a transformers configuration with a model_type")


def test_a_directory_of_transformers_without_weights_says_what_is_missing(written, tmp_path):
    path = copy(written("hf_wavlm", POST_NORM), tmp_path / "copy")
    (path / "model.safetensors").unlink()
    missing = "it has no model.safetensors or pytorch_model.bin"
    assert refusal(path) == f"{path} is not a checkpoint of hf_wavlm: {missing}"


# Files of something else


@pytest.mark.parametrize(
    "content",
    [
        {"args": None, "cfg": {"model": {"_name": "hubert"}}, "model": {}},
        {"args": None, "cfg": None, "model": {}},
        {"args": {"arch": "wav2vec2"}, "model": {}},
    ],
    ids=["recent", "without cfg", "old"],
)
def test_a_checkpoint_of_fairseq_itself_says_how_to_convert_it(tmp_path, content):
    torch.save(content | {"best_loss": 1.0}, tmp_path / "fairseq.pt")
    message = refusal(tmp_path / "fairseq.pt")
    keys = ", ".join(sorted([*content, "best_loss"]))
    assert message.startswith(f"{tmp_path}/fairseq.pt is fairseq's own checkpoint (keys {keys}): convert it")
    assert "'python -m s3prl.upstream.FAMILY.convert FILE --output_dir DIR'" in message


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "data2vec"])
def test_s3prl_has_the_converter_that_the_message_names(family):
    import s3prl

    text = (Path(s3prl.__file__).parent / f"upstream/{family}/convert.py").read_text()
    assert "--output_dir" in text and '__name__ == "__main__"' in text


def test_a_file_with_other_keys_lists_them(tmp_path):
    torch.save({"state_dict": {}, "epoch": 3, 7: 0}, tmp_path / "lightning.ckpt")
    assert re.search(
        "is not a checkpoint of any supported family: its keys are 7, epoch, state_dict, expected task_cfg, ",
        refusal(tmp_path / "lightning.ckpt"),
    )


def test_a_file_with_a_list_says_so(tmp_path):
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    assert refusal(tmp_path / "list.pt") == f"{tmp_path}/list.pt is not a checkpoint: it holds a list"


def test_a_whole_pickled_model_is_not_a_checkpoint(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    assert "--trust" in refusal(tmp_path / "model.pt")
    assert refusal(tmp_path / "model.pt", trust=True).endswith("is not a checkpoint: it holds a Linear")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "beginning": lambda whole: whole[:1000],
    "cut off": lambda whole: whole[:-1000],
    "random": lambda whole: random.Random(0).randbytes(2000),
    "random zip": lambda whole: b"PK\x03\x04" + random.Random(0).randbytes(2000),
    "text": lambda whole: b"Not found\n",
    "empty": lambda whole: b"",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_with_its_path(written, tmp_path, damage):
    path = tmp_path / "model.pt"
    path.write_bytes(DAMAGE[damage](written("wav2vec2", POST_NORM).read_bytes()))
    for trust in (False, True):
        message = refusal(path, trust)
        assert message.startswith(f"{path} is damaged or not a checkpoint (")
        assert "--trust" not in message


@pytest.mark.parametrize("content", ["pickle", "random"])
def test_a_pickle_that_torch_has_not_written_is_refused(tmp_path, content):
    path = tmp_path / "model.pt"
    random_bytes = b"\x80\x02" + random.Random(0).randbytes(2000)
    path.write_bytes(pickle.dumps({"model": 1}) if content == "pickle" else random_bytes)
    assert refusal(path).startswith(f"{path} ")  # torch cannot tell it from a pickle that runs code
    assert refusal(path, trust=True).startswith(f"{path} is damaged or not a checkpoint (")


def test_an_empty_directory_says_what_is_expected(tmp_path):
    (tmp_path / "empty").mkdir()
    assert re.search(
        r"empty holds no checkpoint: expected config\.json .*save_pretrained.*config\.yaml with a \.pth .*"
        r"one \.pt .*found 0 files",
        refusal(tmp_path / "empty"),
    )


def test_a_directory_of_two_files_is_refused(written, tmp_path):
    for name in ("a.pt", "b.pt"):
        copy(written("wav2vec2", POST_NORM), tmp_path / "two" / name)
    assert re.search("two holds .*one .pt file; found 2", refusal(tmp_path / "two"))


# Trust


class Code:
    """What a pickle can do when it is loaded: here, make a folder."""

    def __init__(self, marker: Path):
        self.marker = str(marker)

    def __reduce__(self):
        return os.makedirs, (self.marker, 0o777, True)


RISKY = {
    "wav2vec2": "wav2vec2_base_960",
    "wavlm": "wavlm_base",
    "distiller": "distilhubert",
    "espnet_hubert": "cvhubert",
}


@pytest.fixture(params=RISKY)
def risky(request, written, tmp_path) -> Callable[..., str]:
    """``risky(thing, way)``: an upstream with a further thing beside its weights.

    It is given by its path, as a fetched folder, or by the name under which S3PRL has stored it.
    """
    family, name = request.param, RISKY[request.param]

    def make(thing: object, way: str = "given") -> str:
        path = copy(written(family, POST_NORM), tmp_path / family / "model.pt")
        files = list_files(path)
        torch.save(torch.load(files[0], weights_only=True) | {"Args": thing}, files[0])
        if way == "stored":
            store_upstream(name, path)
            return name
        if way == "fetched":
            return str(write_record(files[0].parent, upstream=name, files=[file.name for file in files]))
        return str(path)

    return make


@pytest.fixture
def questions(monkeypatch) -> list[str]:
    """What is asked on the terminal, where somebody would allow everything."""
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda *prompt: asked.append(*prompt) or "I_UNDERSTAND_THE_RISK")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    return asked


WAYS = ("given", "fetched", "stored")


@pytest.mark.parametrize("way", WAYS)
def test_an_object_among_the_weights_asks_for_trust_and_loads_with_it(risky, way, questions):
    upstream = risky(argparse.Namespace(learning_rate=0.1), way)
    with pytest.raises(UserError) as refused:
        load_upstream(upstream)
    message = str(refused.value)
    assert "argparse.Namespace" in message and "\n" not in message
    assert "--trust on the command line" in message and "trust: true in encoder_conf" in message
    assert not questions
    expert, found = load_upstream(upstream, trust=True)
    assert found.family.name in RISKY and not expert.training
    assert not questions


@pytest.mark.parametrize(
    ("way", "permission"),
    [
        *((way, "") for way in WAYS),
        ("given", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"),
        ("stored", "ESPNET_ALLOW_UNSAFE_TORCH_LOAD"),
    ],
)
def test_no_foreign_code_runs_without_trust(risky, way, tmp_path, permission, monkeypatch, questions):
    """Nor with the permissions of torch and ESPnet, which another program of the user's may need."""
    if permission:
        monkeypatch.setenv(permission, "1")
    upstream = risky(Code(tmp_path / "marker"), way)
    with pytest.raises(UserError, match=r"makedirs.*--trust"):
        load_upstream(upstream)
    assert not (tmp_path / "marker").exists() and not questions


def test_foreign_code_runs_with_trust(risky, tmp_path):
    """So the test above would have seen it."""
    load_upstream(risky(Code(tmp_path / "marker")), trust=True)
    assert (tmp_path / "marker").is_dir()


def test_a_pickled_model_of_transformers_runs_no_foreign_code(written, tmp_path):
    path = copy(written("hf_hubert", PRE_NORM), tmp_path / "hubert")
    (path / "model.safetensors").unlink()
    torch.save({"weight": Code(tmp_path / "marker")}, path / "pytorch_model.bin")
    for trust in (False, True):  # transformers never does
        with pytest.raises(UserError, match="hubert"):
            load_upstream(str(path), trust)
        assert not (tmp_path / "marker").exists()


SWITCHES = (
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
    "ESPNET_ALLOW_UNSAFE_TORCH_LOAD",
)


@pytest.mark.parametrize(
    "before", [{}, *({switch: "1"} for switch in SWITCHES), dict.fromkeys(SWITCHES, "0")]
)
@pytest.mark.parametrize("trust", [False, True])
def test_the_environment_is_as_before_after_loading_and_after_a_failure(
    written, tmp_path, monkeypatch, before, trust
):
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    environment = dict(os.environ)
    load_upstream(str(written("distiller", POST_NORM)), trust)
    assert dict(os.environ) == environment
    content = torch.load(written("distiller", POST_NORM), weights_only=True)
    del content["Distiller"]["encoder.layers.0.fc1.weight"]
    torch.save(content, tmp_path / "incomplete.pt")
    with pytest.raises(UserError, match=r"distiller_local cannot be loaded from .*incomplete\.pt"):
        load_upstream(str(tmp_path / "incomplete.pt"), trust)
    assert dict(os.environ) == environment


# Names and paths


def test_a_folder_with_the_name_of_an_upstream_is_told_from_the_name(tmp_path, monkeypatch):
    """In the configuration of a training, so that decoding elsewhere looks for a path."""
    monkeypatch.chdir(tmp_path)
    assert locate("hubert_mine") == "hubert_mine"
    CHECKPOINTS["hf_hubert", PRE_NORM](tmp_path / "hubert_mine")
    assert locate("hubert_mine") == "./hubert_mine" and not is_name("./hubert_mine")
    assert find_checkpoint("hubert_mine").family.name == "hf_hubert"
    assert locate("some/where") == "some/where"


def test_a_mistyped_name_shows_similar_ones():
    assert refusal("wavml_large").startswith(
        "there is no file, directory or S3PRL upstream 'wavml_large'; similar are"
    )
    assert "wavlm_large" in refusal("wavml_large") and "xlsr_53" in refusal("xlsr53")
    assert refusal("mymodel").startswith("there is no file, directory or S3PRL upstream 'mymodel'")


def test_a_folder_that_is_still_being_fetched_says_so(tmp_path):
    (tmp_path / "wavlm_large").mkdir()
    (tmp_path / "wavlm_large/.unfinished").write_text("wavlm_large\n")
    assert "wavlm_large is unfinished: run '" in refusal(str(tmp_path / "wavlm_large"))


@pytest.mark.parametrize("path", ["wavlm_ckpts/WavLM-Large.pt", "hubert_models/base", "./xls_r_300m"])
def test_a_path_is_never_taken_for_a_name(path):
    assert not is_name(path) and is_name("wavlm_large")
