"""What the tables of `espnet-wsm suggest` say in figures is what their sources say."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from command_lines import find_problem
from documents import Command

from espnet_wsm.advice.case import TRAIN_MINUTES
from espnet_wsm.advice.cautions import README_MEMORY_GB
from espnet_wsm.advice.corpus import Corpus
from espnet_wsm.advice.evidence import ROOT as CODE_ROOT
from espnet_wsm.advice.evidence import read_card_limit, read_evidence
from espnet_wsm.advice.machine import Machine
from espnet_wsm.advice.suggestion import suggest
from espnet_wsm.advice.upstreams import ALTERNATIVES, UPSTREAMS, WHISPER_SECONDS
from espnet_wsm.upstream.families.registry import find_family

ROOT = Path(__file__).parents[2]


def find_minutes(corpus: str) -> float:
    """Minutes of the training set, from the table of splits in the recipe's README."""
    names = [corpus, *([corpus.rsplit("_", 1)[0]] if "_" in corpus else [])]
    name = next(name for name in names if (ROOT / "egs" / name / "asr1").is_dir())
    text = (ROOT / "egs" / name / "asr1/README.md").read_text().partition("## Splits")[2]
    lang = corpus.removeprefix(name).lstrip("_")
    row = (
        rf"\| {lang} \| "
        if name == "asterisk"
        else rf"\| {lang} ?\|? ?train \| "
        if lang
        else r"\| train \| "
    )
    return float(re.search(rf"^{row}\d+ \| ([\d.]+) \|", text, re.MULTILINE)[1])


@pytest.mark.parametrize("corpus", TRAIN_MINUTES)
def test_minutes_of_training_speech_are_those_of_the_recipes(corpus):
    assert TRAIN_MINUTES[corpus] == find_minutes(corpus)


@pytest.mark.parametrize("name", UPSTREAMS)
def test_every_grid_has_records_rates_and_known_corpora(name):
    upstream = UPSTREAMS[name]
    evidence = read_evidence(upstream.grid, upstream.results)
    assert set(evidence.study.tests) <= set(TRAIN_MINUTES)
    assert evidence.grid.upstream.endswith(upstream.path.removeprefix("egs/")), "both name the same one"
    asked = evidence.training["scheduler_conf"] if "scheduler_conf" in evidence.training else None
    config = yaml.safe_load((ROOT / "conf/train_ctc.yaml").read_text())
    steps = int(asked.partition("=")[2]) if asked else config["scheduler_conf"]["max_steps"]
    assert evidence.steps == steps, "the schedule ends with the training"


def test_what_the_pages_say_is_what_the_command_says():
    assert f"{README_MEMORY_GB} GB of memory" in (ROOT / "README.md").read_text()
    assert f"positions for {WHISPER_SECONDS} s" in (ROOT / "docs/upstreams.md").read_text()
    assert CODE_ROOT == ROOT


@pytest.mark.parametrize("other", ALTERNATIVES, ids=lambda other: other.name)
def test_alternatives_have_a_configuration_of_that_upstream_with_the_limit_of_a_card(other):
    file = ROOT / f"conf/upstream/{other.name}.yaml"
    text = file.read_text()
    named = yaml.safe_load(text)["encoder_conf"]["upstream"]
    assert other.fetched_as == named and f"fetch_upstream {named}" in text
    said = [int(number) for number in re.search(r"12, 24, 80 GB: (\d+), (\d+), (\d+)", text).groups()]
    for card, seconds in zip((12, 24, 80), said, strict=True):
        assert read_card_limit(other.name, card) == pytest.approx(seconds, abs=10)
    if "/" not in named:
        find_family(named)


@pytest.mark.parametrize("machine", [Machine(2, 16.0), Machine(8, 64.0, 1, 24.0)], ids=("laptop", "card"))
@pytest.mark.parametrize(("minutes", "has_pipes"), [(0.5, False), (20, True), (900, False)])
def test_run_sh_and_the_trainer_know_every_option(machine, minutes, has_pipes):
    seconds = (6.0,) * round(10 * minutes)
    corpus = Corpus(Path("data/train"), seconds, len(seconds), 5, "LATIN", 30, None, has_pipes)
    found = suggest(corpus, machine)
    lines = [*found.commands, *(line for other in found.alternatives for line in other.commands)]
    for line in lines:
        program, *words = shlex.split(line)
        name = Path(program).name
        words = [f"../../../{word}" if word.startswith("conf/") else word for word in words]
        folder = ROOT / "egs/manifest/asr1" if name == "run.sh" else ROOT
        assert find_problem(Command((name, *words), False), folder) is None
    assert sum("run.sh" in line for line in lines) == 1 + len(found.alternatives)
