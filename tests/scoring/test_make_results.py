"""`python -m espnet_wsm.stages.make_results` on experiment directories made by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from espnet_wsm.scoring.collected import name_experiment
from espnet_wsm.scoring.correction import Correction
from espnet_wsm.scoring.python_scorer import Counts, ScorerResult
from espnet_wsm.scoring.results import write_score
from espnet_wsm.scoring.rounds import Round, write_rounds
from espnet_wsm.scoring.trn import TOKENIZERS
from espnet_wsm.stages.make_results import main

SCLITE = ScorerResult(Counts(3, 1000, 900, 50, 40, 26, 2), "2.10 (SCTK 1.3)")
PYTHON = ScorerResult(Counts(3, 1000, 901, 52, 47, 15, 2), "4.0.0", interval=(9.5, 13.04))
NO_SCLITE = ScorerResult(None, None, "sclite not found")


def write_set(directory: Path, name: str, sclite: ScorerResult = SCLITE) -> None:
    directory.mkdir(parents=True)
    write_score(
        directory / "score.json",
        name,
        {metric: {"sclite": sclite, "python": PYTHON} for metric in TOKENIZERS},
    )
    (directory / "examples.md").write_text(f"| id | ref | hyp |\n| - | - | - |\n| {name}1 | a | **b** |\n")


def write_experiment(directory: Path, description: str | None = None) -> Path:
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(
        "encoder: wsm_s3prl\nencoder_conf:\n  num_replaced: 2\n  mixer: wsm\n  window: [5, 20]\n"
    )
    upstream = {"name": "hf_hubert_custom", "path": "/somewhere/upstream", "description": description}
    parameters = {"trainable": 1234567, "total": 95000000, "upstream": upstream}
    (directory / "parameters.json").write_text(json.dumps(parameters))
    run = {"command": "run.sh --cmd 'a | b' `x`", "git": "abc1234-dirty", "date": "2026-01-02"}
    (directory / "run.json").write_text(json.dumps(run))
    return directory


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    directory = write_experiment(tmp_path / "egs/mini/asr1/exp/k2")
    write_set(directory / "decode/test", "test")
    return directory


def render(tmp_path: Path, *arguments: object, title: str = "Results") -> str:
    out = tmp_path / "RESULTS.md"
    main(["--out", str(out), "--title", title, *map(str, arguments)])
    return out.read_text(encoding="utf-8")


def get_cells(text: str, start: str) -> list[list[str]]:
    """Cells of the table lines that begin with ``start``; an escaped pipe does not end a cell."""
    rows = [line for line in text.splitlines() if line.startswith(f"| {start} ")]
    return [[cell.strip() for cell in row.replace("\\|", "\0").strip("|").split("|")] for row in rows]


def test_the_rounds_of_self_training_have_a_table(tmp_path, experiment):
    assert "Self-training" not in render(tmp_path, experiment)
    write_rounds(experiment, [Round(0, "dev", 31.26), Round(1, "dev", 28.0, 40, 30, 0.254)])
    text = render(tmp_path, experiment)
    assert "## Self-training by round" in text
    assert get_cells(text, "mini/k2")[-3:-1] == [
        ["mini/k2", "0", "–", "–", "–", "dev: 31.3"],
        ["mini/k2", "1", "40", "30", "0.25", "dev: 28.0"],
    ]
    (experiment / "rounds.json").write_text("[1")
    with pytest.raises(SystemExit):
        render(tmp_path, experiment)


@pytest.mark.parametrize("mixer", ["sm", "attention", "gc_lora"])
def test_no_window_is_shown_for_a_mixer_without_one(tmp_path, experiment, mixer):
    config = experiment / "config.yaml"
    config.write_text(config.read_text().replace("mixer: wsm", f"mixer: {mixer}"))
    wer, _cer, _characters, _run = get_cells(render(tmp_path, experiment), "mini/k2")
    assert wer[4] == "–" and wer[3].replace("\\", "") == mixer


def test_scores_and_provenance_are_rendered(tmp_path, experiment, capsys):
    text = render(tmp_path, "--note", "A note.", experiment)
    wer, cer, characters, run = get_cells(text, "mini/k2")
    assert wer == cer
    assert characters == ["mini/k2", "test", *["11.6"] * 4]
    assert wer == "mini/k2;test;2;wsm;5, 20;3;1000;90.0;5.0;4.0;2.6;11.6;66.7;11.4;9.5 to 13.0".split(";")
    assert run[1:5] == [
        "hf_hubert_custom (upstream)",
        "1,234,567 / 95,000,000",
        "abc1234-dirty",
        "2026-01-02",
    ]
    assert run[5] == "`` run.sh --cmd 'a \0 b' `x` ``"
    lines = text.splitlines()
    assert lines[2:5] == ["# Results", "", "A note."]
    assert lines[6].startswith("Versions: espnet ") and "s3prl " in lines[6]
    assert lines[6].endswith("jiwer 4.0.0, sclite 2.10 (SCTK 1.3).")
    assert "### mini/k2, test\n\n| id | ref | hyp |" in text and "| test1 | a | **b** |" in text
    assert "/somewhere" not in text and "never trained" not in text and "†" not in text
    printed = capsys.readouterr().out
    assert printed.startswith("## WER\n\n| experiment ") and get_cells(printed, "mini/k2") == [
        wer,
        cer,
        characters,
    ]


def test_a_refused_word_error_rate_is_not_available_and_says_why(tmp_path, experiment):
    refused = ScorerResult(None, None, "Thai has no blanks")
    scores = {metric: {"sclite": SCLITE, "python": PYTHON} for metric in TOKENIZERS}
    scores["wer"] = {"sclite": refused, "python": refused}
    write_score(experiment / "decode/test/score.json", "test", scores)
    text = render(tmp_path, experiment)
    wer, cer, *_ = get_cells(text, "mini/k2")
    assert set(wer[5:]) == {"n/a"} and cer[5:7] == ["3", "1000"]
    assert text.count("Thai has no blanks") == 1
    assert "WER is n/a where it is refused: Thai has no blanks." in text


def test_without_sclite_the_split_is_pythons_and_marked(tmp_path):
    directory = write_experiment(tmp_path / "k2")
    write_set(directory / "decode/test", "test", NO_SCLITE)
    text = render(tmp_path, directory)
    wer = get_cells(text, "k2")[0]
    assert wer[5:] == "3;1000;90.1 †;5.2 †;4.7 †;1.5 †;n/a;66.7 †;11.4;9.5 to 13.0".split(";")
    assert "sclite n/a." in text
    assert "† counted by the Python scorer (jiwer), not by sclite: sclite not found." in text


def test_what_correcting_takes_has_a_table_where_it_is_known(tmp_path, experiment):
    assert "## Correction" not in render(tmp_path, experiment)
    correction = Correction(400, 100, 80, (20.04, 30.0), 600.0, 4.5, (0.6, 0.9))
    scores = {metric: {"sclite": SCLITE, "python": PYTHON} for metric in TOKENIZERS}
    write_score(experiment / "decode/test/score.json", "test", scores, correction)
    text = render(tmp_path, experiment)
    row = get_cells(text.split("## Correction")[1], "mini/k2")[0]
    assert row == "mini/k2;test;11.4;400;100;25.0;20.0 to 30.0;80;4.5;0.75;0.60 to 0.90".split(";")
    without = replace(correction, seconds=None, seconds_each=None, minutes_interval=None)
    write_score(experiment / "decode/test/score.json", "test", scores, without)
    row = get_cells(render(tmp_path, experiment).split("## Correction")[1], "mini/k2")[0]
    assert row[-3:] == ["–"] * 3


def test_random_upstream_is_said_in_plain_words(tmp_path):
    directory = write_experiment(tmp_path / "k2", "random upstream: HuBERT with random weights")
    write_set(directory / "decode/test", "test")
    text = render(tmp_path, directory)
    assert "hf_hubert_custom (upstream): random upstream: HuBERT with random weights" in text
    assert "never trained, show that the recipe runs and nothing about the method" in text


def test_rows_are_sorted_and_bytes_do_not_depend_on_the_order(tmp_path):
    directories = []
    for name in ("k4", "k2"):
        directories.append(write_experiment(tmp_path / name))
        for decode, set_name in (("decode_b", "test"), ("decode_a", "test"), ("decode_a", "dev")):
            write_set(directories[-1] / decode / set_name, set_name)
    text = render(tmp_path, *directories)
    assert text == render(tmp_path, *reversed(directories))
    wer = text.split("## CER")[0]
    assert [row[:2] for name in ("k2", "k4") for row in get_cells(wer, name)] == [
        [name, label]
        for name in ("k2", "k4")
        for label in ("dev (decode_a)", "test (decode_a)", "test (decode_b)")
    ]
    assert wer.index("| k2 ") < wer.index("| k4 ")


def test_label_names_an_experiment(tmp_path, experiment):
    assert len(get_cells(render(tmp_path, f"two layers={experiment}"), "two layers")) == 4


def test_directory_with_an_equals_sign_needs_no_label(tmp_path):
    directory = write_experiment(tmp_path / "num_replaced=2")
    write_set(directory / "decode/test", "test")
    assert len(get_cells(render(tmp_path, directory), "num_replaced=2")) == 4


def test_name_comes_from_the_recipe_where_there_is_one(tmp_path, monkeypatch):
    assert name_experiment(Path("egs/mini/asr1/exp/k2/")) == "mini/k2"
    assert name_experiment(Path("elsewhere/k2")) == "k2"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini/asr1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mini/asr1")
    assert name_experiment(Path("exp/k2")) == "mini/k2"


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("config.yaml", "3 (train)"),
        ("parameters.json", "3 (train)"),
        ("run.json", "3 (train)"),
        ("decode/test/score.json", "5 (score)"),
        ("decode/test/examples.md", "5 (score)"),
    ],
)
def test_missing_file_names_the_stage_to_run(tmp_path, experiment, capsys, name, stage):
    (experiment / name).unlink()
    with pytest.raises(SystemExit):
        render(tmp_path, experiment)
    error = capsys.readouterr().err
    assert Path(name).name in error and f"run stage {stage}" in error
    assert not (tmp_path / "RESULTS.md").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{", "run.json is damaged"),
        ("run.json", b"\xff", "run.json is damaged"),
        ("run.json", "[]", "run.json holds no mapping"),
        ("run.json", '{"command": "x", "git": "y"}', "run.json has no entry date: run stage 3"),
        ("config.yaml", "a: [", "config.yaml is damaged"),
        ("config.yaml", "encoder: conformer", "config.yaml has no entry encoder_conf"),
        (
            "decode/test/score.json",
            '{"set": "test", "wer": {}, "cer": {}, "cer_nospace": {}, "gcer": {}, "gcer_nospace": {}}',
            "score.json is not a score record",
        ),
        ("decode/test/score.json", '{"set": "test", "wer": []}', "score.json has no entry cer"),
    ],
)
def test_damaged_file_is_named(tmp_path, experiment, capsys, name, content, message):
    (experiment / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SystemExit):
        render(tmp_path, experiment)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a directory"),
        (["={}"], "empty label"),
        (["{}", "{}"], "another experiment is called mini/k2"),
    ],
)
def test_bad_argument_is_one_sentence(tmp_path, experiment, capsys, arguments, message):
    with pytest.raises(SystemExit):
        render(tmp_path, *(argument.format(experiment) for argument in arguments))
    assert message in capsys.readouterr().err
