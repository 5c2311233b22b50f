"""`espnet-wsm report` on what is missing, damaged or does not belong together."""

import json
from pathlib import Path

import pytest
from made_experiments import SPOKEN, run_stage_5, take, write_dump, write_experiment, write_lines

from espnet_wsm.bin.report import main
from espnet_wsm.report.curves import read_curves


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    recipe = tmp_path / "asr1"
    write_dump(recipe, take(SPOKEN, 0), audio=False)
    write_experiment(recipe, "first", take(SPOKEN, 1))
    return recipe


@pytest.fixture
def fault_of(tmp_path, monkeypatch, capsys):
    """Runs the command, which has to fail and to leave nothing; gives what it said."""

    def run(*arguments: object) -> str:
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        assert ended.value.code == 1
        assert sorted(tmp_path.rglob("*")) == before
        return capsys.readouterr().err.removeprefix("error: ").rstrip("\n")

    return run


def test_what_is_no_experiment_is_refused(tmp_path, fault_of):
    assert fault_of(tmp_path / "nothing").startswith(f"{tmp_path / 'nothing'} is not a folder: name an exp")
    (tmp_path / "empty").mkdir()
    assert "is not an experiment, it has no config.yaml" in fault_of(tmp_path / "empty")


@pytest.mark.parametrize("content", ["- a list", "encoder_conf: 3", "a: [", "other: 1", "\x00"])
def test_a_damaged_configuration_is_refused(recipe, fault_of, content):
    (recipe / "exp/asr_first/config.yaml").write_text(content)
    assert "config.yaml is damaged" in fault_of(recipe / "exp/asr_first")


def test_an_experiment_without_decodings_is_refused(recipe, fault_of):
    exp = write_experiment(recipe, "bare", {}, sets=())
    assert fault_of(exp) == f"{exp}: nothing was decoded, or not to the end: run stages 4 and 5"


def test_an_unfinished_decoding_is_refused(recipe, fault_of):
    exp = recipe / "exp/asr_first"
    (exp / "decode_greedy/.unfinished").touch()
    for path in (exp, exp / "decode_greedy"):
        assert "nothing was decoded, or not to the end" in fault_of(path)


def test_a_set_that_was_not_decoded_is_refused(recipe, fault_of):
    said = fault_of(recipe / "exp/asr_first", "--sets", "test", "dev")
    assert said.endswith("decode_greedy: the set dev was not decoded: run stage 4 with it")


def test_a_dump_that_is_gone_is_asked_for(recipe, fault_of):
    (recipe / "dump").rename(recipe / "moved")
    said = fault_of(recipe / "exp/asr_first")
    assert "the set test is in no dump that the experiment names: give its folder with --dump_dir" in said
    main([str(recipe / "exp/asr_first"), "--dump_dir", str(recipe / "moved"), "--audio", "none"])


def test_other_ids_than_the_references_are_refused(recipe, fault_of):
    hypotheses = take(SPOKEN, 1)
    hypotheses["claus-1"] = hypotheses.pop("anna-1")
    write_lines(recipe / "exp/asr_first/decode_greedy/test/text", hypotheses)
    said = fault_of(recipe / "exp/asr_first")
    assert "no hypothesis for anna-1" in said and "claus-1 not in" in said


def test_an_empty_reference_is_refused(recipe, fault_of):
    write_lines(recipe / "dump/raw/test/text", take(SPOKEN, 0) | {"anna-2": ""})
    assert "empty reference of anna-2" in fault_of(recipe / "exp/asr_first")


def test_a_score_of_other_texts_is_refused(recipe, fault_of):
    exp = recipe / "exp/asr_first"
    run_stage_5(recipe, exp)
    write_lines(exp / "decode_greedy/test/text", take(SPOKEN, 2))
    assert fault_of(exp).endswith("run stage 5 (score) again") and "score.json is not of" in fault_of(exp)


@pytest.mark.parametrize("file", ["ctm", "score.json"])
def test_a_damaged_file_of_a_set_is_named(recipe, fault_of, file):
    path = recipe / "exp/asr_first/decode_greedy/test" / file
    path.write_text("anna-1 1 zero 0.1 word 0.5\n")
    assert fault_of(recipe / "exp/asr_first").startswith(str(path))


def test_a_damaged_calibration_is_named(recipe, fault_of):
    file = recipe / "exp/asr_first/decode_greedy/confidence.json"
    file.write_text(json.dumps({"calibration": {"confidences": [1, 0], "shares": [0, 1]}}))
    assert fault_of(recipe / "exp/asr_first").startswith(f"{file} is damaged")


def test_experiments_without_a_set_in_common_are_refused(recipe, fault_of):
    other = write_experiment(recipe, "other", take(SPOKEN, 1), sets=("dev",))
    write_dump(recipe, take(SPOKEN, 0), name="dev", audio=False)
    said = fault_of(recipe / "exp/asr_first", "--versus", other)
    assert said.startswith("the two experiments decoded no set in common: ") and "has dev" in said


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"anna-3": "more"}, "different utterances, e.g. anna-3"),
        ({"anna-2": "good evening"}, "different texts"),
    ],
)
def test_experiments_on_different_sets_are_refused(recipe, tmp_path, fault_of, change, what):
    elsewhere = tmp_path / "elsewhere/asr1"
    write_dump(elsewhere, take(SPOKEN, 0) | change, audio=False)
    other = write_experiment(elsewhere, "other", take(SPOKEN, 1) | change)
    assert what in fault_of(recipe / "exp/asr_first", "--versus", other)


def test_an_experiment_is_not_compared_with_itself(recipe, fault_of):
    exp = recipe / "exp/asr_first"
    assert "is the same decoding as" in fault_of(exp, "--versus", exp / "decode_greedy")


def test_a_page_that_is_there_is_kept(recipe, fault_of, tmp_path):
    (tmp_path / "asr_first.html").write_text("mine")
    said = fault_of(recipe / "exp/asr_first")
    assert said == "asr_first.html is there already: --overwrite replaces it, or name another --out"
    assert (tmp_path / "asr_first.html").read_text() == "mine"
    main([str(recipe / "exp/asr_first"), "--overwrite"])
    assert "<!DOCTYPE html>" in (tmp_path / "asr_first.html").read_text()
    assert "is a folder: name a file" in fault_of(recipe / "exp/asr_first", "--out", tmp_path)


def test_symbols_that_are_not_scored_are_left_out(recipe, tmp_path):
    (recipe / "dump/nlsyms.txt").write_text("[noise]\n")
    exp = recipe / "exp/asr_first"
    config = exp / "config.yaml"
    config.write_text(config.read_text().replace("symbols: null", "symbols: dump/nlsyms.txt"))
    write_lines(exp / "decode_greedy/test/text", take(SPOKEN, 0) | {"anna-2": "good [noise] morning"})
    page = tmp_path / "page.html"
    main([str(exp), "--out", str(page), "--audio", "none"])
    assert "[noise]" not in page.read_text()


def test_a_log_is_read_as_far_as_it_goes(tmp_path):
    log = tmp_path / "train.log"
    assert read_curves(log).epochs == []
    log.write_bytes(
        b"noise \xff\n x INFO: 2epoch results: [train] loss=1.5e-01, acc=nan, time=2 hours, 1 minute and 3 "
        b"seconds, total_count=3, [valid] cer_ctc=0.25, time=1 second, total_count=1\n 3epoch results: [tr"
    )
    curves = read_curves(log)
    assert curves.epochs == [2, 3] and curves.seconds == 7264
    assert curves.figures == {"train loss": {2: 0.15}, "valid cer_ctc": {2: 0.25},
                              "train total_count": {2: 3}, "valid total_count": {2: 1}}  # fmt: skip
