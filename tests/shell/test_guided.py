"""Stage 3 with a guide: from transcripts, and from speech without text."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

QUICK = ["--nj", "1", "--asr_args", "--max_epoch 1 --num_iters_per_epoch 3 --use_matplotlib false"]
TEACHER = ["./run.sh", *QUICK, "--mixer", "attention", "--tag", "teacher", "--unlabelled", "talk"]
GUIDED = ["./run.sh", *QUICK, "--stage", "3", "--stop_stage", "3", "--guide", "exp/asr_teacher"]


@pytest.fixture(scope="module")
def recipe(copy_recipe, shell, tmp_path_factory) -> Path:
    """A recipe with stored features, a trained model, and speech without text, one of it tested on."""
    folder = copy_recipe(tmp_path_factory.getbasetemp().name + "_guided")
    assert shell(["./run.sh", "--stop_stage", "1"], folder).returncode == 0
    entries = [
        line.split()
        for name, number in (("train", 2), ("test", 1))
        for line in (folder / f"data/{name}/wav.scp").read_text().splitlines()[:number]
    ]
    (folder / "talk").mkdir()
    lines = sorted(f"talk-{id} {audio}\n" for id, audio in entries)
    (folder / "talk/wav.scp").write_text("".join(lines))
    trained = shell([*TEACHER, "--stage", "2", "--stop_stage", "3"], folder)
    assert trained.returncode == 0, trained.stderr
    return folder


def read_texts(exp: Path) -> dict[str, str]:
    lines = (exp / "guided/text").read_text().splitlines()
    return {id: text for id, _, text in (line.partition(" ") for line in lines)}


@pytest.mark.recipe
def test_transcripts_and_speech_without_text_are_learnt_from(recipe, shell):
    result = shell([*GUIDED, "--unlabelled", "talk"], recipe)
    assert result.returncode == 0, result.stderr
    exp = recipe / "exp/asr_train_asr_char_transfer0_talk_guided_by_teacher"
    texts = read_texts(exp)
    untold = {id for id, text in texts.items() if not text}
    assert len(untold) == 2 and all(id.startswith("talk-") for id in untold), "not the test recording"
    assert "without, 0.00 h" in result.stderr and not (exp / "guided/wav.scp").exists()
    config = yaml.safe_load((exp / "config.yaml").read_text())
    assert config["model_conf"]["guide"] == "exp/asr_teacher"
    assert config["train_data_path_and_name_and_type"][0][0] == f"exp/{exp.name}/guided/feats.scp"
    assert re.search(r"loss_guide=[0-9.]+", (exp / "train.log").read_text())


@pytest.mark.recipe
def test_what_minutes_leave_is_learnt_from_waveforms_too(recipe, shell):
    words = [*GUIDED, "--train_minutes", "0.08", "--unlabelled", "rest", "--tag", "rest", "--cache", "false"]
    result = shell(words, recipe)
    assert result.returncode == 0, result.stderr
    texts, whole = read_texts(recipe / "exp/asr_rest"), (recipe / "dump/raw/train/text").read_text()
    assert texts.keys() == {line.split()[0] for line in whole.splitlines()}
    part = (recipe / "exp/asr_rest/train_0.08min/text").read_text().splitlines()
    assert {id for id, text in texts.items() if text} == {line.split()[0] for line in part}


@pytest.mark.recipe
def test_another_guide_of_the_name_is_refused_where_a_training_would_go_on(recipe, shell):
    plain = shell([*GUIDED, "--tag", "plain"], recipe)
    assert plain.returncode == 0 and not (recipe / "exp/asr_plain/guided").exists()
    other = recipe / "exp/asr_teacher/valid.cer_ctc.ave.pth"
    shutil.copy(recipe / "exp/asr_teacher/checkpoint.pth", other.resolve())
    again = shell([*GUIDED, "--tag", "plain"], recipe)
    assert again.returncode == 1 and "exp/asr_plain holds a run of other settings" in again.stderr
    unfinished = recipe / "exp/asr_teacher/.unfinished"
    unfinished.touch()
    refused = shell([*GUIDED, "--stage", "2", "--tag", "other"], recipe)
    assert refused.returncode == 1 and "exp/asr_teacher is unfinished: let its training" in refused.stderr
    assert "Traceback" not in refused.stderr
