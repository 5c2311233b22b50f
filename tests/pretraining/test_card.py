"""The card says what the records say, and weights are only given away where all licences allow it."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from espnet_wsm.bin.export_upstream import main
from espnet_wsm.errors import UserError
from espnet_wsm.pretraining import records
from espnet_wsm.pretraining.licences import (
    LICENCES,
    NOTICES,
    read_sources,
    refuse_exclusive,
    write_licence,
)
from espnet_wsm.pretraining.records import describe_device, read_iteration, record_device
from espnet_wsm.upstream import find_checkpoint

RECIPE = Path(__file__).parents[2] / "egs/debian_multi/ssl1"
SHARED = {"one_en": "CC-BY-SA-3.0", "two_it": "CC-BY-3.0", "three_ru": "BSD-like"}


@pytest.fixture
def export(training, write_sources, tmp_path):
    """``export(*words, **sources)`` exports the second of two trainings; gives the directory."""

    def run(*words: str, **sources: str) -> Path:
        if not (tmp_path / "exp").exists():
            training("iter1", clusters=10)
            start = "exp/iter1/valid.acc_m.ave.pth:encoder:encoder"
            training("iter2", clusters=25, init_param=[start], seed=4)
        out = tmp_path / "upstream"
        exp = tmp_path / "exp"
        words = ("--exp", f"{exp}/iter2", "--earlier", f"{exp}/iter1", "--out", str(out), *words)
        main([*words, "--sources", str(write_sources(**sources or SHARED))])
        return out

    return run


def read_tables(card: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell."""
    rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in card.splitlines() if line.startswith("|")]
    return {row[0].strip(): row[1:] for row in rows}


def test_the_card_holds_what_the_records_hold(export, tmp_path):
    out = export()
    card = (out / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-sa-3.0" and head["language"] == ["en", "it", "ru"]
    rows = read_tables(card)
    assert rows["one_en"] == ["en", "30.0", "package-one_en", "Holder of one_en", "CC-BY-SA-3.0"]
    assert "# A small HuBERT: 0.0 M parameters, 1.5 hours of speech in 3 languages" in card
    assert "1.50 hours in all" in card and "GPL-2.0-only were left out" in card
    for name, values in {
        "targets": ["10 k-means clusters", "25 k-means clusters"],
        "clustered": ["what iter1 heard", "what iter2 heard"],
        "started from": ["random weights", "the weights of exp/iter1/valid.acc_m.ave.pth"],
        "speech, train": ["1.00 h, at speeds 0.9 1.0 1.1"] * 2,
        "speech, valid": ["0.05 h"] * 2,
        "epochs": ["3"] * 2,
        "steps": ["21"] * 2,
        "averaged": ["epochs 2, 3"] * 2,
        "seed": ["17", "4"],
        "device": ["CPU of clay, 2 threads"] * 2,
        "time": ["63 s (0.0 h)"] * 2,
        "date": ["2020-01-01"] * 2,
        "git": ["c0ffee"] * 2,
        "command": ["`run.sh --x \\| y`"] * 2,
        "layers": ["3 of 32"] * 2,
    }.items():
        assert rows[name] == values, name
    for epoch, loss, train, valid in ((1, "3.000", "30.0%", "20.0%"), (3, "1.000", "40.0%", "30.0%")):
        for name in ("iter1", "iter2"):
            assert f"| {name} | {epoch} | {loss} | {loss} | {train} | {valid} |" in card
    record = json.loads((out / "upstream.json").read_text())
    for file, digest in record["sha256"].items():
        assert rows[file] == [f"{(out / file).stat().st_size:,}", f"`{digest}`"]
    assert re.search(r"\n[\d,]+ parameters, stored in float16", card)
    assert "None was run." in card and "CC-BY-SA-3.0. [LICENSE](LICENSE)" in card
    assert str(tmp_path) not in card and "{" not in card


def test_the_licence_names_all_holders_and_retains_their_notices(export):
    text = (export() / "LICENSE").read_text()
    assert text.startswith("These weights are licensed under CC-BY-SA-3.0")
    assert "https://creativecommons.org/licenses/by-sa/3.0/legalcode" in text
    for name, licence in SHARED.items():
        assert f"Copyright Holder of {name}\nLicence: {licence}" in text
    assert "https://creativecommons.org/licenses/by/3.0/legalcode" in text
    assert NOTICES["festvox-ru"] in text and "DISCLAIM ALL WARRANTIES" in text


def test_the_recipe_has_no_licence_and_no_notice_that_is_unknown(tmp_path):
    spec = importlib.util.spec_from_file_location("debian_multi_data", RECIPE / "local/data.py")
    data = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(data)
    entries = {name: vars(source) | {"minutes": 1.0} for name, source in data.SOURCES.items()}
    file = tmp_path / "sources.json"
    file.write_text(json.dumps(entries))
    sources = read_sources(file)
    assert {source.licence for source in sources} == set(LICENCES)
    default = re.search(r'^sources="(.*)"', (RECIPE / "run.sh").read_text(), re.MULTILINE)[1].split()
    shared = [source for source in sources if source.name in default]
    refuse_exclusive(shared)
    assert {source.name for source in sources if LICENCES[source.licence].fits} == set(default)
    text = write_licence(shared)
    assert all(source.holder in text and NOTICES[source.package] in text for source in shared)
    with pytest.raises(UserError, match=r"avatar_es \(GPL-2.0-only\) .* asterisk_en \(CC-BY-SA-3.0\)"):
        refuse_exclusive(sources)


def test_licences_that_exclude_each_other_are_refused_unless_it_is_private(export, tmp_path, capsys):
    mixed = {"a_en": "CC-BY-3.0", "game_cs": "GPL-2.0-only", "b_it": "CC-BY-SA-3.0-IT"}
    with pytest.raises(SystemExit, match="1"):
        export(**mixed)
    message = capsys.readouterr().err
    assert "game_cs (GPL-2.0-only) does not allow weights under CC-BY-SA-3.0" in message
    assert "and b_it (CC-BY-SA-3.0-IT) allows no other licence" in message and "--private true" in message
    assert not (tmp_path / "upstream").exists()
    out = export("--private", "true", **mixed)
    card = (out / "README.md").read_text()
    assert not (out / "LICENSE").exists() and "LICENSE" not in card
    assert "Not to be given away" in card and "license: other" in card
    assert "were left out" not in card
    assert find_checkpoint(str(out)).family.name == "hf_hubert"


def test_a_licence_without_any_other_that_fits_is_refused_too(write_sources):
    with pytest.raises(UserError, match=r"game_cs \(GPL-2.0-only\) does not allow .*3\.0: pre-train without"):
        refuse_exclusive(read_sources(write_sources(game_cs="GPL-2.0-only", a_en="CC-BY-3.0")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist: it says what the model was trained on; run stage 1"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"a": {"language": "en"}}', r"is damaged \(KeyError\('licence'\)\): run stage 1 again"),
        ("{}", "names no source"),
    ],
)
def test_broken_sources_are_refused(tmp_path, content, message):
    file = tmp_path / "sources.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=message):
        read_sources(file)


def test_a_licence_or_a_notice_that_nobody_has_entered_is_refused(write_sources):
    with pytest.raises(
        UserError, match=r"licence 'WTFPL' of a_en is not one of CC-BY-SA-3\.0, .*licences\.py"
    ):
        read_sources(write_sources(a_en="WTFPL"))
    file = write_sources(a_en="BSD-like")
    file.write_text(file.read_text().replace("festvox-ru", "other-voice"))
    with pytest.raises(UserError, match=r"no notice of other-voice is known: add it to .*licences\.py"):
        read_sources(file)


def write_probe(file: Path, digest: str) -> None:
    row = {"features": "layer 2", "kind": "upstream", "layer": 2, "dev_cer": 51.26, "test_cer": 49.0}
    file.write_text(
        json.dumps(
            {"digest": digest, "data": "dump/en", "minutes": {"train": 16.74}, "seed": 0, "results": [row]}
        )
    )


def test_the_card_shows_the_probe_of_this_model_and_of_no_other(export, tmp_path, capsys):
    probe = tmp_path / "probe.json"
    out = export("--probe", str(probe))
    assert "None was run." in (out / "README.md").read_text()
    write_probe(probe, find_checkpoint(str(out)).digest)
    card = (export("--probe", str(probe)) / "README.md").read_text()
    assert "| layer 2 | 51.3 % | 49.0 % |" in card and "16.7 minutes of dump/en" in card
    write_probe(probe, "0" * 32)
    with pytest.raises(SystemExit, match="1"):
        export("--probe", str(probe))
    assert "probe.json is of another upstream (digest 000000000000" in capsys.readouterr().err
    assert (out / "README.md").read_text() == card
    probe.write_text("{}")
    with pytest.raises(SystemExit, match="1"):
        export("--probe", str(probe))
    assert "probe.json is damaged (KeyError" in capsys.readouterr().err


def test_records_that_are_missing_or_damaged_are_named(training, tmp_path):
    exp = training("iter1")
    for file in (exp / "run.json", exp / "checkpoint.pth", tmp_path / "dump/targets_iter1/targets.json"):
        whole = file.read_bytes()
        file.unlink()
        with pytest.raises(UserError, match=rf"{file.name} does not exist: pre-train first"):
            read_iteration(exp)
        file.write_bytes(b"{")
        with pytest.raises(UserError, match=rf"{file.name} is damaged"):
            read_iteration(exp)
        file.write_bytes(whole)
    (exp / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"run\.json is damaged, or not of this recipe \(KeyError"):
        read_iteration(exp)


@pytest.mark.parametrize(
    ("kept", "averaged"), [(1, (2,)), (2, (2, 3)), (3, (2, 3, 1)), (5, (2,)), ([1, 2, 9], (2, 3))]
)
def test_the_averaged_epochs_are_those_of_espnet(training, kept, averaged):
    """Of fewer epochs than it should keep ESPnet takes the best alone."""
    assert read_iteration(training("iter1", keep_nbest_models=kept)).averaged == averaged


def test_what_was_not_recorded_is_said_so(training, tmp_path):
    exp = training("iter1")
    (exp / "devices.txt").unlink()
    (tmp_path / "dump/raw/org/train/speed_perturb").unlink()
    summary = tmp_path / "dump/targets_iter1/targets.json"
    summary.write_text(summary.read_text().replace("features", "other"))
    iteration = read_iteration(exp)
    assert (iteration.devices, iteration.speeds, iteration.features) == (("CPU",), "1.0", "")


def test_devices_are_recorded_once_each(tmp_path, monkeypatch):
    record_device(tmp_path, 0)
    record_device(tmp_path, 0)
    first = (tmp_path / "devices.txt").read_text()
    assert first.startswith("CPU ") and first.count("\n") == 1 and "threads, torch " in first
    monkeypatch.setattr(records, "describe_device", lambda ngpu: f"{ngpu} x abacus")
    record_device(tmp_path, 2)
    assert (tmp_path / "devices.txt").read_text() == f"{first}2 x abacus\n"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--ngpu 1, but torch finds no GPU"):
        describe_device(1)
