"""Self-training in stage 3: the rounds, what they leave, kills, and what is refused."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from processes import kill_session, wait_for

from espnet_wsm.data.dump.lists import read_dump

NAME = "asr_rounds"
QUICK = ["--nj", "1", "--asr_args", "--max_epoch 2 --use_matplotlib false", "--pseudo_confidence", "0"]
WORDS = ["./run.sh", *QUICK, "--tag", "rounds", "--transfer", "4", "--unlabelled", "talk"]
ROUND = f"exp/{NAME}_pseudo1"


@pytest.fixture(scope="module")
def recipe(copy_recipe, shell, tmp_path_factory) -> Path:
    """A recipe with its data and its features; training recordings and one of the test set without text."""
    folder = copy_recipe(tmp_path_factory.getbasetemp().name + "_pseudo")
    assert shell(["./run.sh", "--stop_stage", "1"], folder).returncode == 0
    entries = [
        line.split()
        for name, number in (("train", 4), ("test", 1))
        for line in (folder / f"data/{name}/wav.scp").read_text().splitlines()[:number]
    ]
    (folder / "talk").mkdir()
    lines = sorted(f"talk-{id} {audio}\n" for id, audio in entries)
    (folder / "talk/wav.scp").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def killed(recipe, shell, environment) -> Path:
    """The first round was killed when its training on labels had an epoch."""
    first = shell([*WORDS, "--stage", "2", "--stop_stage", "3"], recipe)
    assert first.returncode == 0, first.stderr
    words = [*WORDS, "--stage", "3", "--stop_stage", "3", "--pseudo_rounds", "1"]
    process = subprocess.Popen(
        words, cwd=recipe, env=environment, start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for((recipe / ROUND / "pseudo/1epoch.pth").exists, seconds=600)
    kill_session(process)
    return recipe


@pytest.fixture(scope="module")
def finished(killed, shell) -> subprocess.CompletedProcess:
    """The same command again, and another round, to the score."""
    refused = shell([*WORDS, "--stage", "4", "--pseudo_rounds", "1"], killed)
    assert refused.returncode == 1 and f"{ROUND} is unfinished" in refused.stderr
    labels = (killed / ROUND / "labels/text").stat().st_mtime_ns
    again = shell([*WORDS, "--stage", "2", "--pseudo_rounds", "2"], killed)
    assert again.returncode == 0, again.stderr
    assert (killed / ROUND / "labels/text").stat().st_mtime_ns == labels, "what was done is not done again"
    assert f"Stage 3: exp/{NAME} is trained already" in again.stderr
    return again


@pytest.mark.recipe
def test_each_round_learns_from_what_the_model_before_transcribed(finished, recipe):
    assert not list(recipe.glob("exp/**/.unfinished"))
    labels = read_dump(recipe / ROUND / "labels", need_text=True)[0]
    pool = (recipe / ROUND / "labels/pool").read_text().splitlines()
    assert len(pool) == 4 and not any(line.startswith("talk-mmxg") for line in pool), "not the test recording"
    assert {each.id for each in labels} <= {line.split()[0] for line in pool} and labels
    first, second = (
        yaml.safe_load((recipe / ROUND / name / "config.yaml").read_text()) for name in ("pseudo", ".")
    )
    assert first["init_param"][0].startswith("exp/transfer_wsm_k2_"), "from where the first model began"
    assert first["train_shape_file"] == [f"{ROUND}/labels/speech_shape"]
    assert "/unlabelled/feats.scp" in first["train_data_path_and_name_and_type"][0][0]
    assert second["init_param"] == [f"{ROUND}/pseudo/valid.cer_ctc.ave.pth"]
    assert second["train_shape_file"] == ["dump/raw/train/speech_shape"]


@pytest.mark.recipe
def test_the_last_model_is_decoded_and_each_rate_on_dev_is_told(finished, recipe):
    last = recipe / f"exp/{NAME}_pseudo2"
    assert (last / "decode_greedy/test/score.json").is_file() and not list(recipe.glob(f"{ROUND}/decode*"))
    rounds = json.loads((last / "rounds.json").read_text())
    assert [each["number"] for each in rounds] == [0, 1, 2] and rounds[1]["transcribed"] == 4
    assert json.loads((recipe / ROUND / "rounds.json").read_text()) == rounds[:2]
    results = (recipe / "RESULTS.md").read_text()
    assert "## Self-training by round" in results and "## Self-training by round" in finished.stdout
    for each in rounds:
        assert f"round {each['number']}: CER {each['cer']:.2f} on dev" in finished.stderr
        assert f"dev: {each['cer']:.1f}" in results


@pytest.mark.recipe
def test_other_settings_are_refused_and_the_rest_of_training_needs_no_directory(finished, recipe, shell):
    words = [*WORDS, "--stage", "3", "--stop_stage", "3", "--pseudo_rounds", "1"]
    other = shell([*words, "--pseudo_confidence", "0.5"], recipe)
    assert other.returncode == 1 and f"{ROUND}/pseudo holds a run of other settings" in other.stderr
    other = shell([*words, "--pseudo_args", "--max_epoch 3"], recipe)
    assert other.returncode == 1 and f"{ROUND}/pseudo holds a run of other settings" in other.stderr
    uncached = shell([*words, "--tag", "other", "--transfer", "0", "--cache", "false"], recipe)
    assert uncached.returncode == 1 and "--pseudo_rounds needs stored features" in uncached.stderr


@pytest.mark.recipe
def test_what_minutes_leave_is_transcribed_with_its_features(recipe, shell):
    words = ["./run.sh", *QUICK, "--stage", "2", "--stop_stage", "3", "--pseudo_rounds", "1"]
    words += ["--train_minutes", "0.08", "--unlabelled", "rest", "--tag", "rest"]
    dump = recipe / "dump"
    shutil.rmtree(dump, ignore_errors=True)  # with the speech of the tests above
    result = shell(words, recipe)
    assert result.returncode == 0, result.stderr
    assert not (dump / "raw/unlabelled").exists()
    part, pool = (
        (recipe / "exp" / name).read_text().splitlines()
        for name in ("asr_rest/train_0.08min/wav.scp", "asr_rest_pseudo1/labels/pool")
    )
    ids = [{line.split()[0] for line in lines} for lines in (part, pool)]
    whole = {line.split()[0] for line in (dump / "raw/train/wav.scp").read_text().splitlines()}
    assert ids[0] | ids[1] == whole and not ids[0] & ids[1]


@pytest.mark.recipe
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pseudo_rounds", "1"], "--pseudo_rounds 1 needs --unlabelled, speech to transcribe"),
        (["--pseudo_rounds", "x"], "--pseudo_rounds has to be a whole number from 0 to 100"),
        (["--unlabelled", "rest"], "--unlabelled rest is what --train_minutes leaves of the training set"),
        (["--unlabelled", "no", "--pseudo_confidence", "1"], "--pseudo_confidence 1 has to be a share"),
    ],
)
def test_rounds_that_cannot_be_are_refused_before_anything_is_done(
    copy_recipe, shell, tmp_path, words, message
):
    folder = copy_recipe(tmp_path.name)
    result = shell(["./run.sh", *words], folder)
    assert result.returncode == 1 and message in result.stderr
    assert not (folder / "data").exists() and "Traceback" not in result.stderr
