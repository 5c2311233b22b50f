"""The card says what the records say, and weights are only given away where all licences allow it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from espnet_wsm.bin.export_upstream import main
from espnet_wsm.data.corpora.debian_multi import SOURCES
from espnet_wsm.errors import UserError
from espnet_wsm.pretraining.card import find_card, put_probe
from espnet_wsm.pretraining.licences import (
    LICENCES,
    NOTICES,
    read_sources,
    refuse_exclusive,
    write_licence,
)
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
    assert "# A small HuBERT: 0.0 M parameters, 0.3 hours of speech in 3 languages" in card
    assert "1.50 hours are recorded, 0.3 were heard" in card and "GPL-2.0-only were left out" in card
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
    entries = {name: vars(source) | {"minutes": 1.0} for name, source in SOURCES.items()}
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
        UserError, match=r"licence 'WTFPL' of a_en is not one of CC-BY-SA-3\.0, .*licences\.yaml"
    ):
        read_sources(write_sources(a_en="WTFPL"))
    file = write_sources(a_en="BSD-like")
    file.write_text(file.read_text().replace("festvox-ru", "other-voice"))
    with pytest.raises(UserError, match=r"no notice of other-voice is known: add it to .*licences\.yaml"):
        read_sources(file)


PROBED = {
    "data": "egs/x/asr1/dump/en",
    "minutes": {"train": 16.74},
    "seed": 0,
    "max_epoch": 100,
    "patience": 6,
    "test_characters": [12, 9, 15],
    "results": [
        {"features": name, "kind": kind, "dev_cer": dev, "test_cer": test, "interval": span}
        | {"gain": gain, "better": better}
        for name, kind, dev, test, span, gain, better in (
            ("log-mel 80", "log-mel", 60.0, 61.0, [55.0, 66.0], [0.0, 0.0, 0.0], "no difference"),
            ("layer 1", "upstream", 53.0, 48.0, [44.0, 55.0], [13.0, -1.0, 20.0], "no difference"),
            ("layer 2", "upstream", 51.26, 49.0, [45.0, 54.04], [12.0, 8.0, 16.0], "features better"),
            ("a|b", "random", 80.0, 81.04, [77.0, 86.0], [-20.04, -25.0, -15.0], "log-mel better"),
        )
    ],
}


def test_a_probe_takes_its_place_in_the_card_and_nothing_else_changes(export):
    out = export()
    before = (out / "README.md").read_text()
    digest = find_checkpoint(str(out)).digest
    assert "## Probe\n\nNone was run.\n\n## Files" in before
    for _ in range(2):  # a second one takes the place of the first
        put_probe(out, PROBED)
        card = (out / "README.md").read_text()
        section = card.split("## Probe\n\n")[1].split("\n\n## Files")[0]
        assert card.replace(section, "None was run.") == before
    assert section.endswith(
        "| log-mel 80 | 60.0 % | 61.0 % | 55.0 to 66.0 | – | – |\n"
        "| layer 1 | 53.0 % | 48.0 % | 44.0 to 55.0 | +13.0 | -1.0 to +20.0 |\n"
        "| layer 2 | 51.3 % | 49.0 % | 45.0 to 54.0 | +12.0 | +8.0 to +16.0 |\n"
        "| a\\|b | 80.0 % | 81.0 % | 77.0 to 86.0 | -20.0 | -25.0 to -15.0 |"
    )
    assert "Of this upstream, layer 2 is best on dev: on test better than log-mel." in section
    assert "Of random weights, a|b is best on dev: on test worse than log-mel." in section
    assert "bootstrap over the 3 test utterances" in section
    assert "16.7 minutes of egs/x/asr1/dump/en for up to 100 epochs, 6 without progress, after" in section
    assert find_checkpoint(str(out)).digest == digest


def test_what_is_no_card_is_left_alone(tmp_path):
    with pytest.raises(UserError, match=r"README\.md is no model card"):
        find_card(tmp_path)
    (tmp_path / "README.md").write_text("# My notes\n")
    with pytest.raises(UserError, match="export the model with --sources"):
        put_probe(tmp_path, PROBED)
    assert (tmp_path / "README.md").read_text() == "# My notes\n"
