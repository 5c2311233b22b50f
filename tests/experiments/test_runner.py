"""The runner, with a recipe whose run.sh only pretends."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from checkpoints import write_whisper
from processes import is_alive, wait_for

from espnet_wsm.bin import run_experiments
from espnet_wsm.errors import UserError
from espnet_wsm.experiments.corpora import find_corpus
from espnet_wsm.experiments.grid import read_grid
from espnet_wsm.experiments.launching import LOCK, hold_lock
from espnet_wsm.experiments.options import options_of
from espnet_wsm.experiments.records import read_record, record_path
from espnet_wsm.experiments.runner import FailedRunsError, Runner
from espnet_wsm.experiments.runs import Run
from espnet_wsm.upstream import find_checkpoint

ROOT = Path(__file__).parents[2]
# Notes its arguments; "trains" to one error in dev and test, more of them for a larger learning rate.
PRETENDER = """#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
echo "$*" >>calls
while (($# > 0)); do printf -v "${1#--}" '%s' "$2"; shift 2; done
if [[ ${stage} == 1 ]]; then
    mkdir -p data/train data/dev data/test
    for set in dev test; do printf 'a one two\\nb three\\n' >"data/${set}/text"; done
elif [[ ${stage} == 2 ]]; then
    mkdir -p dump/raw/org/dev dump/raw/test
    cp data/dev/text dump/raw/org/dev
    cp data/test/text dump/raw/test
    echo digest >dump/.made_from
else
    [[ ! -e broken_${mixer} ]] || exit 1
    exp=exp/asr_${tag}
    if ((${pseudo_rounds:-0} > 0)); then
        exp+=_pseudo${pseudo_rounds}
        mkdir -p "${exp}/pseudo"
        cp checkpoint.pth "${exp}/pseudo"
        touch "${exp}/pseudo/1epoch.pth" "${exp}/pseudo/valid.cer_ctc.ave.pth"
    fi
    for set in ${test_sets}; do
        mkdir -p "${exp}/decode_greedy/${set}"
        wrong=three
        [[ ${asr_args} != *lr=0.9* ]] || wrong=tree
        printf 'a one\\nb %s\\n' "${wrong}" >"${exp}/decode_greedy/${set}/text"
    done
    echo '{"trainable": 5, "total": 9}' >"${exp}/parameters.json"
    echo '{"git": "abc", "date": "2026-01-01"}' >"${exp}/run.json"
    cp checkpoint.pth "${exp}"
    touch "${exp}/1epoch.pth" "${exp}/valid.cer_ctc.ave_1best.pth"
    ln -s 1epoch.pth "${exp}/latest.pth"
    ln -s valid.cer_ctc.ave_1best.pth "${exp}/valid.cer_ctc.ave.pth"
fi
"""


@pytest.fixture
def root(tmp_path) -> Path:
    recipe = tmp_path / "egs/toy/asr1"
    recipe.mkdir(parents=True)
    (recipe / "run.sh").write_text(PRETENDER)
    (recipe / "run.sh").chmod(0o755)
    times = {"__timedelta_seconds__": 2.25}
    epoch = {"train": {"loss": 2.5, "time": times}, "valid": {"loss": 2.0, "cer_ctc": 0.5, "time": times}}
    torch.save({"reporter": {"stats": {1: epoch}}}, recipe / "checkpoint.pth")
    (tmp_path / "upstream").mkdir()
    (tmp_path / "upstream/upstream.json").write_text("{}")
    (tmp_path / "train.yaml").write_text("max_epoch: 1\n")
    return tmp_path


def make_runner(root: Path, jobs: int = 2, **blocks) -> Runner:
    content = {"upstream": "../../../upstream", "train_config": "../../../train.yaml"} | blocks
    (root / "grid.yaml").write_text(yaml.safe_dump(content))
    launcher = str(ROOT / "conf/cluster/local.sh")
    return Runner(root, read_grid(root / "grid.yaml"), root / "results", launcher, jobs)


def calls(root: Path) -> list[str]:
    return (root / "egs/toy/asr1/calls").read_text().splitlines()


GRIDS = [{"corpora": ["toy"], "arms": ["wsm", "attention"], "seeds": [0, 1]}]


def test_each_run_is_trained_decoded_and_kept_once(root):
    records = make_runner(root, grids=GRIDS).run()
    assert [record.run.name for record in records] == [
        "wsm-k2-all-s0", "wsm-k2-all-s1", "attention-k2-all-s0", "attention-k2-all-s1",
    ]  # fmt: skip
    made = calls(root)
    assert sum("--stage 1" in call for call in made) == 1 and sum("--stage 2" in call for call in made) == 1
    assert sum("--stage 3" in call for call in made) == 4
    first = next(call for call in made if "grid/wsm-k2-all-s0" in call)
    assert (
        "--mixer wsm --num_replaced 2 --transfer 0 --asr_args --seed 0" in first
        and "--test_sets dev test" in first
    )
    record = read_record(record_path(root / "results", records[0].run))
    assert record.sets["test"].rate("wer") == pytest.approx(100 / 3)
    assert record.trainable == 5 and record.seconds == 4.5 and record.git == "abc"
    (exp,) = root.glob("egs/toy/asr1/exp/asr_grid/wsm-k2-all-s0-*")
    kept = {"valid.cer_ctc.ave.pth", "valid.cer_ctc.ave_1best.pth"}
    assert {path.name for path in exp.glob("*.pth")} == kept, "one without its epochs could not be resumed"
    make_runner(root, grids=GRIDS).run()
    assert sum("--stage 3" in call for call in calls(root)) == 4, "all of them were there"


def test_the_sweep_chooses_the_rate_on_dev_and_never_decodes_test(root):
    sweep = {"corpora": ["toy"], "arms": ["wsm"], "lr": [0.001, 0.9]}
    records = make_runner(root, sweep=sweep, grids=[{"corpora": ["toy"], "arms": ["wsm"]}]).run()
    assert [sorted(record.sets) for record in records] == [["dev"], ["dev"], ["dev", "test"]]
    assert json.loads((root / "results/chosen_lr.json").read_text()) == {"wsm": 0.001}
    swept = [call for call in calls(root) if "-lr" in call]
    assert len(swept) == 2 and all("--test_sets dev " in call for call in swept)
    assert records[-1].run.lr == 0.001 and "lr=0.001" in calls(root)[-1]


def test_a_sweep_goes_on_until_the_best_rate_is_inside(root):
    """The pretender makes one error from 0.1 upwards and two below 0.05."""
    recipe = root / "egs/toy/asr1/run.sh"
    recipe.write_text(
        recipe.read_text().replace(
            "[[ ${asr_args} != *lr=0.9* ]] || wrong=tree",
            "[[ ${asr_args} != *lr=0.[1-9]* ]] || wrong=tree\n[[ ${asr_args} != *lr=0.02* ]] || wrong=tre",
        )
    )
    sweep = {"corpora": ["toy"], "arms": ["wsm"], "lr": [0.2, 0.4]}
    blocks = [{"corpora": ["toy"], "arms": ["wsm"]}]
    records = make_runner(root, sweep=sweep, grids=blocks, extend_sweep=True).run()
    assert [record.run.lr for record in records] == [0.2, 0.4, 0.1, 0.05, 0.025, 0.05]
    assert json.loads((root / "results/chosen_lr.json").read_text()) == {"wsm": 0.05}
    asked = json.loads((root / "results/grid.json").read_text())["sweep"]
    assert len(asked) == 5


def test_the_arms_of_a_block_are_swept_before_it_and_those_of_later_ones_after_it(root):
    sweep = [{"corpora": ["toy"], "arms": ["wsm", "sm"], "lr": [0.001, 0.9]}]
    blocks = [{"corpora": ["toy"], "arms": [arm]} for arm in ("sm", "wsm")]
    make_runner(root, jobs=1, sweep=sweep, grids=blocks).run()
    tags = [call.split("--tag grid/")[1].split("-k2")[0] for call in calls(root) if "--stage 3" in call]
    assert tags == ["sm"] * 3 + ["wsm"] * 3


def test_rates_that_another_grid_has_chosen_are_used(root):
    (root / "chosen.json").write_text('{"wsm": 0.004, "drop": 0.1}')
    records = make_runner(
        root, rates="chosen.json", grids=[{"corpora": ["toy"], "arms": ["wsm", "sm"]}]
    ).run()
    assert [(record.run.arm, record.run.lr) for record in records] == [("wsm", 0.004), ("sm", None)]


def test_arms_that_another_grid_has_no_rate_for_are_told(root, capsys):
    (root / "chosen.json").write_text('{"wsm": 0.004}')
    make_runner(root, rates="chosen.json", grids=[{"corpora": ["toy"], "arms": ["wsm", "sm"]}]).run()
    assert (
        "no learning rate was chosen for sm: that of the configuration is taken\n" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"train_config": "../../../none.yaml"}, r"the grid's train_config .*none\.yaml does not exist"),
        ({"upstream": "../../../none"}, r"upstream .*none is neither a file nor a directory"),
    ],
)
def test_what_a_grid_names_has_to_be_there(root, fault, message):
    with pytest.raises(UserError, match=message):
        make_runner(root, grids=GRIDS, **fault)


@pytest.mark.parametrize("cmd", ["", "'"])
def test_a_launcher_that_is_no_command_line_is_refused(root, cmd):
    make_runner(root, grids=GRIDS)
    with pytest.raises(UserError, match=r"--cmd .* is no command line"):
        Runner(root, read_grid(root / "grid.yaml"), root / "results", cmd, 1)


def test_results_are_left_as_they_are_when_the_data_cannot_be_prepared(root):
    make_runner(root, grids=GRIDS).run()
    before = (root / "results/grid.json").read_bytes()
    (root / "egs/toy/asr1/run.sh").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UserError, match="failed"):
        make_runner(root, grids=[{"corpora": ["toy"], "arms": ["drop"]}]).run()
    assert (root / "results/grid.json").read_bytes() == before


def test_a_failed_run_is_named_with_its_log_and_the_others_are_kept(root):
    broken = root / "egs/toy/asr1/broken_attention"
    broken.touch()
    with pytest.raises(UserError, match="2 runs of 4 failed") as error:
        make_runner(root, grids=GRIDS).run()
    assert "egs/toy/asr1/exp/grid/log/attention-k2-all-s0.log\n    local.sh: the job failed" in str(
        error.value
    )
    assert isinstance(error.value, FailedRunsError), "the others are worth a report"
    assert len(list(root.glob("results/runs/toy/wsm-*.json"))) == 2
    broken.unlink()
    assert len(make_runner(root, grids=GRIDS).run()) == 4
    assert sum("grid/wsm-k2-all-s0" in call for call in calls(root)) == 1


@pytest.mark.parametrize(
    ("changed", "by"),
    [
        ("train.yaml", "max_epoch: 2"),
        ("upstream/upstream.json", "# changed"),
        ("egs/toy/asr1/dump/.made_from", "# changed"),
    ],
)
def test_what_a_run_depends_on_makes_it_again(root, changed, by):
    runner = make_runner(root, grids=[{"corpora": ["toy"], "arms": ["wsm"]}])
    runner.run()
    run = runner.grid.runs[0]
    before = runner.fingerprint(run)
    with (root / "train.yaml").open("a") as file:
        file.write("# a comment\n")
    assert make_runner(root, grids=[{"corpora": ["toy"], "arms": ["wsm"]}]).fingerprint(run) == before
    with (root / changed).open("a") as file:
        file.write(f"{by}\n")
    assert make_runner(root, grids=[{"corpora": ["toy"], "arms": ["wsm"]}]).fingerprint(run) != before


def test_unlabelled_speech_matters_to_arms_that_transfer(root):
    made_from = root / "egs/toy/asr1/dump/.made_from"
    runner = make_runner(root, grids=[{"corpora": ["toy"], "arms": ["wsm", "wsm_transfer"]}])
    found = []
    for text in ("data audio", "data audio talk audio", "data other talk other", "data audio other audio"):
        made_from.parent.mkdir(parents=True, exist_ok=True)
        made_from.write_text(f"{text}\n")
        found.append({run.arm: runner.fingerprint(run) for run in runner.grid.runs})
    assert len({each["wsm"] for each in found}) == 1
    assert [each["wsm_transfer"] == found[1]["wsm_transfer"] for each in found] == [False, True, True, False]


def test_the_precision_of_this_machine_is_part_of_a_run(root, monkeypatch):
    (root / "train.yaml").write_text("encoder_conf: {suffix_dtype: auto}\n")
    found = {}
    for fast in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda fast=fast: fast)
        runner = make_runner(root, grids=[{"corpora": ["toy"], "arms": ["wsm"]}])
        (record,) = runner.run()
        found[record.device] = record.fingerprint
    assert found.keys() == {"cpu (float32)", "cpu (bfloat16)"} and len(set(found.values())) == 2


def test_a_grid_that_names_its_precision_goes_on_on_another_machine(root, monkeypatch):
    """Records of a machine whose ``auto`` was float32 count on one that is fast in bfloat16."""
    (root / "train.yaml").write_text("encoder_conf: {suffix_dtype: auto}\n")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    grid = {"grids": [{"corpora": ["toy"], "arms": ["wsm"]}]}
    (before,) = make_runner(root, **grid).run()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    runner = make_runner(root, suffix_dtype="float32", **grid)
    assert runner.fingerprint(before.run) == before.fingerprint
    (root / "results/runs/toy" / f"{before.run.name}.json").unlink()
    shutil.rmtree(root / "egs/toy/asr1/exp")
    (record,) = runner.run()
    assert record.device == "cpu (float32)"
    log = (root / "egs/toy/asr1/exp/grid/log" / f"{before.run.name}.log").read_text()
    assert "suffix_dtype=float32" in log


def test_an_arm_without_a_rate_waits_and_the_others_go_on(root):
    """Its sweep failed; nothing that was chosen before is lost."""
    sweep = [{"corpora": ["toy"], "arms": ["wsm", "sm", "drop"], "lr": [0.001, 0.9]}]
    blocks = [{"corpora": ["toy"], "arms": [arm]} for arm in ("sm", "wsm", "drop")]
    make = {"sweep": sweep, "grids": blocks}
    broken = root / "egs/toy/asr1/broken_wsm"
    broken.touch()
    with pytest.raises(FailedRunsError, match="2 runs of 9 failed") as error:
        make_runner(root, **make).run()
    assert "toy/wsm-k2-all-lr0.9-s0" in str(error.value)
    assert sorted(path.stem for path in root.glob("results/runs/toy/*-all-s0.json")) == [
        "drop-k2-all-s0", "sm-k2-all-s0",
    ]  # fmt: skip
    chosen = root / "results/chosen_lr.json"
    assert json.loads(chosen.read_text()) == {"sm": 0.001, "drop": 0.001}
    with pytest.raises(FailedRunsError):
        make_runner(root, **make).run()
    assert json.loads(chosen.read_text()) == {"sm": 0.001, "drop": 0.001}
    broken.unlink()
    assert len(make_runner(root, **make).run()) == 9
    assert json.loads(chosen.read_text()) == {"sm": 0.001, "drop": 0.001, "wsm": 0.001}


def test_where_data_lie_and_how_much_runs_at_a_time_makes_no_other_run(root):
    runner = make_runner(root, grids=GRIDS)
    runner.run()
    moved = make_runner(root, grids=GRIDS, recipe_options={"downloads": "/data", "nj": 8})
    assert "--downloads /data --nj 8" in " ".join(moved._common_options())
    run = runner.grid.runs[0]
    assert moved.fingerprint(run) == runner.fingerprint(run)
    other = make_runner(root, grids=GRIDS, recipe_options={"speed_perturb": "0.9 1.0"})
    assert other.fingerprint(run) != runner.fingerprint(run)


PSEUDO = [{"corpora": ["toy"], "arms": ["wsm_pseudo2", "wsm_pseudo1", "wsm"], "minutes": [5]}]


def test_rounds_of_self_training_go_on_from_the_run_with_a_round_less(root):
    rates = root / "chosen.json"
    rates.write_text('{"wsm": 0.004}')
    records = make_runner(root, grids=PSEUDO, rates="chosen.json").run()
    assert [record.run.name for record in records] == [
        "wsm-k2-5min-s0", "wsm_pseudo1-k2-5min-s0", "wsm_pseudo2-k2-5min-s0",
    ]  # fmt: skip
    assert {record.run.lr for record in records} == {0.004}
    assert [record.seconds for record in records] == [4.5, 9.0, 9.0], "of both trainings of a round"
    made = [call for call in calls(root) if "--stage 3" in call]
    assert [call.partition("--pseudo_rounds ")[2][:1] for call in made] == ["", "1", "2"]
    assert ["--unlabelled rest" in call for call in made] == [False, True, True]
    assert len({call.split("--tag ")[1].split()[0] for call in made}) == 1, "they share the first model"
    (exp,) = root.glob("egs/toy/asr1/exp/asr_grid/*_pseudo2")
    assert {path.name for path in (exp / "pseudo").glob("*.pth")} == {"valid.cer_ctc.ave.pth"}


def test_speech_of_a_directory_takes_the_place_of_the_rest(root):
    options = {"unlabelled": "../talk"}
    grids = [{"corpora": ["toy"], "arms": ["wsm", "wsm_pseudo1"]}]
    make_runner(root, grids=grids, recipe_options=options).run()
    assert "--unlabelled ../talk" in calls(root)[-1] and "rest" not in calls(root)[-1]
    with pytest.raises(UserError, match="toy/wsm_pseudo1-k2-all-s0 has nothing to transcribe"):
        make_runner(root, grids=grids)
    with pytest.raises(UserError, match="wsm_pseudo2 has the learning rate of wsm: sweep that one"):
        make_runner(root, grids=PSEUDO, sweep={**PSEUDO[0], "lr": [0.001, 0.002]})


def test_steps_of_a_transfer_make_another_run_of_arms_that_transfer(root):
    grids = [{"corpora": ["toy"], "arms": ["wsm", "wsm_transfer", "wsm_heads_transfer"]}]
    few, many = (make_runner(root, grids=grids, transfer=steps) for steps in (60, 70))
    few.run()
    made = calls(root)
    assert sum("--stage 2 " in call and "--mixer wsm_heads" in call for call in made) == 1, "reads the heads"
    assert sum("--transfer 60" in call and "--stage 3" in call for call in made) == 2
    changed = {run.arm for run in few.grid.runs if few.fingerprint(run) != many.fingerprint(run)}
    assert changed == {"wsm_transfer", "wsm_heads_transfer"}


@pytest.mark.parametrize(("option", "file"), [({}, "conf/text.yaml"), ({"nlsyms_txt": "symbols"}, "symbols")])
def test_how_texts_are_spelt_makes_another_run(root, option, file):
    runner = make_runner(root, grids=GRIDS, recipe_options=option)
    runner.run()
    run, recipe = runner.grid.runs[0], root / "egs/toy/asr1"
    digests = {runner.fingerprint(run)}
    for content in ("case: lower\n", "case: upper\n"):
        (recipe / file).parent.mkdir(exist_ok=True)
        (recipe / file).write_text(content)
        digests.add(runner.fingerprint(run))
    assert len(digests) == 3


def test_references_are_the_texts_as_stage_2_has_spelt_them(root):
    script = root / "egs/toy/asr1/run.sh"
    script.write_text(
        script.read_text().replace(
            "cp data/test/text", "sed s/three/tree/ data/test/text >dump/raw/test/text #"
        )
    )
    (record, *_) = make_runner(root, grids=GRIDS).run()
    assert (root / "results/references/toy/test").read_text() == "a one two\nb tree\n"
    assert record.sets["dev"].rate("wer") == pytest.approx(100 / 3)
    assert record.sets["test"].rate("wer") == pytest.approx(200 / 3)


@pytest.mark.parametrize(("place", "number"), [("    exp=", 2), ("    mkdir -p dump", 1)])
def test_stopping_ends_what_was_launched_and_the_same_command_goes_on(root, place, number):
    script = root / "egs/toy/asr1/run.sh"
    whole = script.read_text()
    sleepers = script.parent / "sleepers"
    script.write_text(whole.replace(place, f"    echo $$ >>sleepers; exec sleep 300\n{place}", 1))
    make_runner(root, grids=GRIDS)
    shutil.copytree(ROOT / "conf/cluster", root / "conf/cluster")
    code = (
        "import sys; from pathlib import Path; from espnet_wsm.bin import run_experiments\n"
        f"run_experiments.ROOT = Path({str(root)!r}); run_experiments.main(sys.argv[1:])"
    )
    words = ["--config", root / "grid.yaml", "--results", root / "results"]
    with subprocess.Popen([sys.executable, "-c", code, *map(str, words)], cwd=root) as process:
        wait_for(lambda: sleepers.exists() and len(sleepers.read_text().split()) == number)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not any(is_alive(int(pid)) for pid in sleepers.read_text().split())
    script.write_text(whole)
    assert len(make_runner(root, grids=GRIDS).run()) == 4


def test_runs_that_failed_do_not_keep_the_others_from_being_reported(root, monkeypatch, capsys):
    make_runner(root, grids=GRIDS).run()
    (root / "train.yaml").write_text("max_epoch: 2\n")
    (root / "egs/toy/asr1/broken_attention").touch()
    monkeypatch.setattr(run_experiments, "ROOT", root)
    monkeypatch.setattr(run_experiments.signal, "signal", lambda *_: None)
    monkeypatch.setattr("espnet_wsm.experiments.costs.measure_costs", lambda *_: None)
    words = ["--config", root / "grid.yaml", "--results", root / "results"]
    words += ["--cmd", ROOT / "conf/cluster/local.sh"]
    with pytest.raises(SystemExit, match="1"):
        run_experiments.main(list(map(str, words)))
    report = (root / "results/REPORT.md").read_text()
    missing = "2 runs of the grid missing: toy/attention-k2-all-s0, toy/attention-k2-all-s1"
    assert missing in report, "records of the settings before would be others than those of the other arm"
    assert "2 runs of 4 failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("results", "remedy"),
    [
        ("file", "move the existing file or folder away"),
        ("file/full", "there is a file where a folder has to be"),
    ],
)
def test_results_in_a_file_are_refused_before_anything_is_run(root, monkeypatch, capsys, results, remedy):
    monkeypatch.setattr(run_experiments, "ROOT", root)
    monkeypatch.setattr(run_experiments.signal, "signal", lambda *_: None)
    monkeypatch.setattr(Runner, "run", lambda _: pytest.fail("it was run"))
    make_runner(root, grids=GRIDS)  # writes grid.yaml
    (root / "file").touch()
    with pytest.raises(SystemExit, match="1"):
        run_experiments.main(["--config", str(root / "grid.yaml"), "--results", str(root / results)])
    said = capsys.readouterr().err
    assert said.startswith(f"error: {root / results}: ") and remedy in said


def test_a_failing_preparation_stops_everything(root):
    (root / "egs/toy/asr1/run.sh").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UserError, match=r"toy: \./run\.sh .*--stage 1 .*failed"):
        make_runner(root, grids=GRIDS).run()


def test_results_of_other_reference_texts_are_not_mixed(root):
    make_runner(root, grids=GRIDS).run()
    (root / "results/references/toy/test").write_text("a another text\n")
    with pytest.raises(UserError, match="scored on other texts"):
        make_runner(root, grids=GRIDS).run()


def test_two_runners_at_once_refuse_each_other(root):
    code = (
        "import sys, time; from pathlib import Path; from espnet_wsm.experiments.launching import hold_lock\n"
        f"with hold_lock(Path({str(root)!r})): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"already \\(process {holder.pid}\\)"), hold_lock(root):
            raise AssertionError("two at once")
        holder.kill()
    with hold_lock(root):  # the lock of a dead process is free
        assert (root / LOCK).read_text().strip().isdigit()


def test_a_corpus_is_a_recipe_or_a_recipe_and_its_language(root):
    assert find_corpus(root, "toy").options == []
    assert find_corpus(root, "toy_en").options == ["--lang", "en"]
    assert find_corpus(root, "toy_en").folder("dump") == root / "egs/toy/asr1/dump/en"
    with pytest.raises(UserError, match="there is no recipe egs/joy_en or egs/joy; there are toy"):
        find_corpus(root, "joy_en")


def test_another_upstream_than_the_grid_is_for_is_refused(root):
    digest = make_runner(root, grids=GRIDS).upstream.split()[1]
    make_runner(root, grids=GRIDS, upstream_digest=digest)
    (root / "upstream/upstream.json").write_text('{"other": 1}')
    with pytest.raises(UserError, match=f"is another upstream than the grid is for: .*, not {digest}"):
        make_runner(root, grids=GRIDS, upstream_digest=digest)


def test_an_upstream_without_a_record_is_known_by_its_files(root):
    (root / "upstream/upstream.json").unlink()
    with pytest.raises(UserError, match=r"upstream holds no checkpoint: expected config\.json"):
        make_runner(root, grids=GRIDS)
    write_whisper(root / "upstream")
    first = make_runner(root, grids=GRIDS).upstream
    assert first == f"upstream {find_checkpoint(str(root / 'upstream')).digest[:12]}"
    write_whisper(root / "upstream", encoder_layers=2)
    assert make_runner(root, grids=GRIDS).upstream != first


def test_options_of_a_run():
    run = Run("toy", "lora", 4, 5, 2, lr=0.001)
    assert options_of(run) == [
        "--mixer", "lora", "--trainable", "mixer", "--num_replaced", "4", "--train_minutes", "5",
        "--asr_args", "--seed 2 --optim_conf lr=0.001",
    ]  # fmt: skip
    wide = options_of(Run("toy", "wsm", 2, None, 0, window=25, width=64))
    authors = "--encoder_conf hidden=[512] --encoder_conf combine_activation=gelu"
    learnt = options_of(Run("toy", "wsm_transfer", 2, None, 0), transfer=60)
    assert learnt[learnt.index("--transfer") + 1] == "60" and "--transfer" not in options_of(run)
    assert options_of(Run("toy", "sm_authors", 2, None, 0)) == [
        "--mixer", "sm", "--num_replaced", "2", "--transfer", "0", "--asr_args", f"--seed 0 {authors}",
    ]  # fmt: skip
    assert "--window 25" in " ".join(wide) and wide[-1] == "--seed 0 --encoder_conf width=64"


def test_an_arm_has_a_cut_and_a_transfer_of_its_own(root):
    arms = ["wsm_heads_transfer", "wsm_heads_transfer_low", "wsm_heads_transfer_layer"]
    grids = [{"corpora": ["toy"], "arms": arms}]
    runner = make_runner(root, recipe_options={"asr_args": "--max_epoch 2"}, grids=grids)
    runner.run()
    stored = [call.split("--asr_args")[1:] for call in calls(root) if "--stage 2" in call]
    assert sorted(words[-1] for words in stored) == [
        " --max_epoch 2 --encoder_conf layers=[1,4]",
        stored[0][0],
    ]
    trained = {arm: next(call for call in calls(root) if f"grid/{arm}-k2" in call) for arm in arms}
    assert "--encoder_conf layers=[1,4]" in trained["wsm_heads_transfer_low"]
    assert "--transfer_args --target layer" in trained["wsm_heads_transfer_layer"]
    assert "--transfer_args" not in trained["wsm_heads_transfer"]
    assert len({runner.fingerprint(run) for run in runner.grid.runs}) == 3


def test_a_grid_names_the_frames_of_a_transfer_and_records_of_others_are_not_its_own(root):
    grids = [{"corpora": ["toy"], "arms": ["wsm_heads_transfer", "wsm_heads_transfer_small"]}]
    usual, runner = (make_runner(root, grids=grids, transfer_frames=frames) for frames in (1000, 3000))
    runner.run()
    given = [call.partition("--transfer_args ")[2] for call in calls(root) if "--stage 3" in call]
    assert sorted(words.partition(" --asr_args")[0] for words in given) == [
        "--frames 3000", "--frames 3000 --frames 1000",
    ]  # fmt: skip
    assert not {runner.fingerprint(run) for run in runner.grid.runs} & set(
        map(usual.fingerprint, usual.grid.runs)
    )


def test_records_without_a_flat_start_stay_those_of_a_grid_that_says_so(root):
    config = root / "train.yaml"
    config.write_text("max_epoch: 1\nmodel_conf: {ctc_weight: 1}\n")
    before = make_runner(root, grids=GRIDS)
    (run, *_) = before.grid.runs
    before.run()
    config.write_text("max_epoch: 1\nmodel_conf: {ctc_weight: 1, flat_start: 100}\n")
    usual = make_runner(root, grids=GRIDS)
    none, same = (make_runner(root, grids=GRIDS, flat_start=steps) for steps in (0, 100))
    assert none.fingerprint(run) == before.fingerprint(run)
    assert usual.fingerprint(run) == same.fingerprint(run) != none.fingerprint(run)
    none.run()
    same.run()
    trained = [call.partition("--asr_args ")[2] for call in calls(root) if "--stage 3" in call]
    assert len(trained) == 2 * len(before.grid.runs)
    assert sum("--model_conf flat_start=100 --seed" in words for words in trained) == len(before.grid.runs)


def test_arguments_of_the_grid_for_the_trainer_come_before_those_of_the_run(root):
    runner = make_runner(root, recipe_options={"asr_args": "--max_epoch 60"}, grids=GRIDS)
    shorter = make_runner(root, grids=GRIDS)
    runner.run()
    first = next(call for call in calls(root) if "grid/wsm-k2-all-s0" in call)
    assert first.count("--asr_args") == 1 and "--asr_args --max_epoch 60 --seed 0 " in first
    (run, *_) = runner.grid.runs
    assert runner.fingerprint(run) != shorter.fingerprint(run)
