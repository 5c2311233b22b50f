"""CONTRIBUTING's "add a corpus", as it stands there, and what the scaffold refuses."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from field_recordings import make_tier, write_recording

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkout(project) -> Path:
    """The project with its tools."""
    shutil.copytree(ROOT / "tools", project / "tools", dirs_exist_ok=True)
    return project


def read_commands() -> list[str]:
    """The first block of the section."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a corpus")[1]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)[1]
    return [line.split("#")[0].strip() for line in block.splitlines()]


@pytest.mark.recipe
def test_what_contributing_says_works(checkout, shell):
    """The last command, the whole experiment, as far as stage 3 and with a short training."""
    made, entered, *runs, experiment = read_commands()
    assert made == "tools/new_corpus.sh shona_radio --lang sn" and experiment == "./run.sh"
    first = shell(["bash", "-c", made], checkout)
    assert first.returncode == 0 and entered in first.stdout, first.stderr
    folder = checkout / entered.removeprefix("cd ")
    for command in runs:
        assert command in first.stdout
        result = shell(["bash", "-c", command], folder)
        assert result.returncode == 0, result.stderr
    assert "shona_radio/asr_trial" in (folder / "RESULTS.md").read_text()
    short = "--stage 3 --stop_stage 3 --transfer 0"
    short += " --asr_args '--max_epoch 1 --num_iters_per_epoch 2 --use_matplotlib false'"
    result = shell(["bash", "-c", f"{experiment} {short}"], folder)
    assert result.returncode == 0 and (folder / "exp/asr_train_ctc_char_transfer0/1epoch.pth").exists(), (
        result.stderr
    )
    assert "shona_radio: speech in sn." in shell(["./run.sh", "--help"], folder).stdout
    again = shell(["bash", "-c", made], checkout)
    assert again.returncode == 1 and "egs/shona_radio is there already: choose another name" in again.stderr


def test_a_table_takes_the_place_of_the_sample(checkout, shell, tmp_path):
    table = tmp_path / "my & own|.csv"
    rows = ["path,text"]
    for number in range(4):
        soundfile.write(
            tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000
        )
        rows.append(f'{number}.wav,"Mhoro, {number}!"')
    table.write_text("\n".join(rows))
    words = ["tools/new_corpus.sh", "--manifest", table, "mine", "--lang", "pt-BR"]
    made = shell(words, checkout)
    assert made.returncode == 0, made.stderr
    folder = checkout / "egs/mine/asr1"
    result = shell(["./run.sh", "--stop_stage", "1"], folder)
    # Without punctuation, which the sets would not have in common.
    assert result.returncode == 0 and "data/train: 2 utterances, 2 speakers, 14" in result.stdout, (
        result.stderr
    )
    assert 'language: "pt-BR"' in (folder / "conf/text.yaml").read_text()
    assert not (folder / "sample").exists() and "AN4" not in (folder / "README.md").read_text()
    assert "mine: speech in pt-BR." in (folder / "run.sh").read_text()
    assert not list((checkout / "egs").glob(".*"))


def test_annotations_are_taken_with_their_options(checkout, shell, tmp_path):
    field = tmp_path / "my field"
    said = make_tier("tx@A 1", *((n, n + 0.9, f"mhoro {n}") for n in range(8)), speaker="Anna")
    numbers = make_tier("ref@A 1", *((n, n + 0.9, f"a.{n}") for n in range(8)), speaker="Anna")
    write_recording(field / "talk.eaf", [numbers, said])
    words = ["tools/new_corpus.sh", "field", "--lang", "sn", "--manifest", field]
    made = shell([*words, "--data_args", "--tier tx@A?* --padding 0.01"], checkout)
    assert made.returncode == 0, made.stderr
    folder = checkout / "egs/field/asr1"
    result = shell(["./run.sh", "--stop_stage", "1"], folder)
    assert result.returncode == 0 and "tiers taken: tx@A 1 (type utterances)" in result.stdout, result.stderr
    help = shell(["./run.sh", "--help"], folder).stdout
    assert "more arguments for local/data.py: columns, tiers, ... [--tier" in help


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give the corpus a name; see"),
        (["a b", "--lang", "sn"], "a b: letters, digits and _ make a name"),
        (["../x", "--lang", "sn"], "../x: letters, digits and _ make a name"),
        (["x"], "--lang : give the code of the language"),
        (["x", "--lang", "s$(touch y)"], "give the code of the language"),
        (["x", "--lang"], "option --lang needs a value"),
        (["x", "y", "--lang", "sn"], "one name, please: x or y"),
        (["x", "--lng", "sn"], "unknown option --lng; see"),
        (["mini_an4", "--lang", "en"], "egs/mini_an4 is there already"),
        (["x", "--lang", "sn", "--manifest", "none.csv"], "--manifest none.csv does not exist"),
    ],
)
def test_what_cannot_be_a_corpus_is_refused(checkout, shell, words, message):
    before = sorted(checkout.glob("egs/*"))
    result = shell(["tools/new_corpus.sh", *words], checkout)
    assert result.returncode == 1 and f"error: {message}" in result.stderr.replace(
        "error: --lang s$(touch y): ", "error: "
    )
    assert sorted(checkout.glob("egs/*")) == before
