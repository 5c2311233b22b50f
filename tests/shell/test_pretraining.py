"""Pre-training from packages to an upstream: killed and resumed, never mixed with another run.

One run of two iterations serves all tests that read it. A third would train to show one thing more, that it
goes on from the second: that is read from the commands of its stage.
"""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from processes import kill_session

RECIPE = "egs/debian_multi/ssl1"
SMALL = {
    "extractor_conv_layer_config": [[16, 10, 5], *[[16, 3, 2]] * 4, *[[16, 2, 2]] * 2],
    "encoder_embed_dim": 32,
    "encoder_num_layers": 2,
    "encoder_ff_interm_features": 32,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 2,
    "final_dim": 16,
}


@pytest.fixture(scope="module")
def recipe(project) -> Path:
    """The recipe with bursts of noise in the place of two packages, and a small model to train."""
    folder = project / RECIPE
    rng = np.random.default_rng(0)
    for number in range(70):
        loudness = np.repeat(rng.uniform(0.02, 0.3, 8), 800)
        for place, form in (
            ("fr/vm-{}.gsm", {"format": "RAW", "subtype": "GSM610"}),
            ("it_IT_f_Menardi/vm-{}.wav", {}),
        ):
            path = folder / "packages/usr/share/asterisk/sounds" / place.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, loudness * rng.standard_normal(6400), 8000, **form)
    settings = yaml.safe_load((folder / "conf/train_hubert.yaml").read_text())
    settings["encoder_conf"] |= SMALL
    settings |= {"batch_bins": 120_000, "num_iters_per_epoch": 2, "num_workers": 0}
    (folder / "conf/small.yaml").write_text(yaml.safe_dump(settings))
    return folder


WORDS = ["./run.sh", "--downloads", "packages", "--sources", "armelle_fr menardi_it", "--name", "two"]
WORDS += ["--train_config", "conf/small.yaml", "--speed_perturb", "1.0 1.1", "--num_clusters", "4 5"]
WORDS += ["--layer", "1", "--nj", "1"]


@pytest.fixture(scope="module")
def killed(recipe, environment, shell):
    """Stages 1 to 3, killed after the first epoch of many: the recipe, and what later stages say of it."""
    process = subprocess.Popen(
        [*WORDS, "--stop_stage", "3", "--max_epoch", "900 1"], cwd=recipe, env=environment,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not (recipe / "exp/two/iter1/1epoch.pth").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            kill_session(process) if process.poll() is None else None
            pytest.fail(f"nothing was trained: {process.stderr.read()}")
        time.sleep(0.05)
    kill_session(process)
    assert (recipe / "exp/two/iter1/.unfinished").exists()
    used = shell([*WORDS, "--stage", "4", "--stop_stage", "4"], recipe)
    mixed = shell([*WORDS, "--stage", "3", "--stop_stage", "3", "--seed", "1"], recipe)
    return recipe, used, mixed


@pytest.mark.recipe
def test_a_killed_training_is_not_used_and_not_mixed_with_another(killed):
    _, used, mixed = killed
    assert used.returncode == 1 and "exp/two/iter1 is unfinished: stage 3 failed, was killed" in used.stderr
    assert mixed.returncode == 1 and "exp/two/iter1 holds a run of other settings" in mixed.stderr


@pytest.fixture(scope="module")
def finished(killed, shell):
    """The same run resumed, to its end: the recipe, and the epochs that it had before."""
    recipe, *_ = killed
    reached = max(int(re.match(r"\d+", file.name)[0]) for file in recipe.glob("exp/two/iter1/*epoch.pth"))
    result = shell([*WORDS, "--stage", "3", "--max_epoch", f"{reached + 1} 1"], recipe)
    assert result.returncode == 0, result.stderr + (recipe / "exp/two/iter1/train.log").read_text()
    return recipe, reached


@pytest.mark.recipe
def test_a_killed_training_goes_on_where_it_was(finished):
    recipe, reached = finished
    log = (recipe / "exp/two/iter1/train.log").read_text()
    assert "The training was resumed using exp/two/iter1/checkpoint.pth" in log
    assert re.findall(r"(\d+)/\d+epoch started", log)[0] == str(reached + 1)
    assert not list(recipe.glob("exp/**/.unfinished")) and not list(recipe.glob("dump/**/.unfinished"))


@pytest.mark.recipe
def test_stages_leave_what_espnet_and_transformers_read(finished):
    recipe, reached = finished
    for part in ("train", "valid"):
        labels = (recipe / f"dump/two/targets2/{part}/labels").read_text().splitlines()
        shapes = (recipe / f"dump/two/raw/{part}/speech_shape").read_text().splitlines()
        assert [line.split()[0] for line in labels] == [line.split()[0] for line in shapes]
        assert {int(each) for line in labels for each in line.split()[1:]} <= set(range(5))
    out = recipe / "exp/two/upstream"
    model = {"config.json", "model.safetensors", "preprocessor_config.json", "upstream.json"}
    assert {file.name for file in out.iterdir()} == model | {"README.md", "LICENSE"}
    card = (out / "README.md").read_text()
    assert f"| epochs | {reached + 1} | 1 |" in card and "at speeds 1.0 1.1" in card
    assert "| clustered | MFCC with first and second differences" in card
    assert "| layer 1 of exp/two/iter1/upstream |" in card and "| CPU " in card
    assert "Michel Gutierrez" in (out / "LICENSE").read_text()
    assert json.loads((out / "upstream.json").read_text())["exported_from"] == "exp/two/iter2"
    one, two = (torch.load(recipe / f"exp/two/iter{number}/train.total_count.ave.pth") for number in (1, 2))
    assert one.keys() == two.keys()
    assert any(not torch.equal(one[name], two[name]) for name in one if "layers" in name)


@pytest.mark.recipe
def test_the_model_is_an_upstream_for_recognition(finished):
    from espnet_wsm.plugin.encoder import WsmS3prlEncoder

    recipe, _ = finished
    for upstream, layers in (("exp/two/upstream", 2), ("exp/two/iter1/upstream", 2)):
        encoder = WsmS3prlEncoder(1, upstream=str(recipe / upstream), num_replaced=1, width=16).eval()
        assert len(encoder.prefix.family.encoder(encoder.prefix.expert).layers) == layers - 1
        encoded, lengths, _ = encoder(torch.randn(2, 8000), torch.tensor([8000, 6000]))
        assert encoded.shape == (2, 24, 32) and encoded.isfinite().all() and lengths.tolist() == [24, 18]


@pytest.mark.recipe
def test_weights_are_not_given_the_card_and_licence_of_other_data(finished, shell):
    recipe = shutil.copytree(finished[0], finished[0].with_name("ssl2"))  # the others read the first
    other = [*WORDS, "--sources", "menardi_it"]
    assert shell([*other, "--stop_stage", "1"], recipe).returncode == 0
    card = (recipe / "exp/two/upstream/README.md").read_bytes()
    for stage in "345":
        result = shell([*other, "--stage", stage, "--stop_stage", stage], recipe)
        assert result.returncode == 1 and "dump/two does not belong to the current data/two" in result.stderr
    assert shell([*other, "--stage", "2", "--stop_stage", "2"], recipe).returncode == 0
    for stage in "45":
        result = shell([*other, "--stage", stage, "--stop_stage", stage], recipe)
        assert "exp/two/iter1 does not belong to the current dump/two/targets1" in result.stderr
    assert (recipe / "exp/two/upstream/README.md").read_bytes() == card


THIRD_ITERATION = r"""
set -euo pipefail
data=data exp=exp dump=dump layer=7 seed=0 num_clusters=(4 5 6) max_epoch=(9 8)
ngpu=0 num_nodes=1 num_threads=1 train_config=x.yaml train_args=
nodes=() starter=() processes=() ESPNET_WSM_COMMAND=x
. local/stages.sh
mkdir -p "${place}/exp/iter2/upstream" "${place}/dump"
cd "${place}"
touch exp/iter2/upstream/model.safetensors dump/.made_from exp/iter2/x.ave.pth
for name in require_dump hold begin_stage finish_stage watch unwatch set_training_processes log; do
    eval "${name}() { :; }"
done
targets_digest() { echo digest; }
find_averaged() { echo "$1/x.ave.pth"; }
for name in python make_targets launch; do eval "${name}() { echo ${name} \"\$*\"; }"; done
cluster_layer 3
pretrain 3
"""


def test_a_third_iteration_clusters_the_second_and_starts_from_it(project, shell, tmp_path):
    result = shell(["bash", "-c", f"place={tmp_path}\n{THIRD_ITERATION}"], project / RECIPE)
    assert result.returncode == 0, result.stderr
    export, targets, _, training = result.stdout.splitlines()
    assert export.endswith("export_upstream --exp exp/iter2 --out exp/iter2/upstream")
    assert targets == "make_targets 3 --upstream exp/iter2/upstream --layer 7"
    assert " exp/iter3/train.log " in training and " --num_classes 6 " in training
    assert " --max_epoch 8 " in training, "the last number counts for further iterations"
    assert " --init_param exp/iter2/x.ave.pth:encoder" in training


def test_help_shows_the_options_of_pre_training_alone(project, shell):
    result = shell(["./run.sh", "--help"], project / RECIPE)
    assert result.returncode == 0
    for option in ("--sources", "--num_clusters", "--layer", "--private", "--export_dir", "--ngpu"):
        assert f"  {option} " in result.stdout
    assert "--mixer" not in result.stdout and "--token_type" not in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mixer", "wsm"], "unknown option --mixer; see run.sh --help"),
        (["--stage", "6"], "--stage has to be a whole number from 1 to 5, got '6'"),
        (["--stage", "4", "--stop_stage", "3"], "--stage 4 comes after --stop_stage 3"),
        (["--sources", "nobody"], "--sources: 'nobody' is none of asterisk_en"),
        (["--stage", "2", "--name", "never"], "data/never does not exist; run stage 1 first"),
        (["--stage", "3", "--name", "never"], "dump/never does not exist; run stage 2 first"),
        (["--stage", "4", "--name", "never"], "dump/never does not exist; run stage 2 first"),
        (["--stage", "5", "--name", "never"], "exp/never/iter2 does not exist; run stage 4 first"),
        (["--stage", "5", "--num_clusters", "9"], "exp/multi/iter1 does not exist; run stage 3 first"),
        (["--max_epoch", ""], "--num_clusters and --max_epoch need a number for each iteration"),
    ],
)
def test_what_cannot_work_ends_in_one_sentence(project, shell, words, message):
    result = shell(["./run.sh", *words], project / RECIPE)
    assert result.returncode != 0 and message in result.stderr and "Traceback" not in result.stderr
