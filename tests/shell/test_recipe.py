"""The stages: mini_an4 from the corpus to the score, and everything that has to stop a stage."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from arpa import write_arpa
from checkpoints import write_whisper
from processes import kill_session, wait_for

from espnet_wsm.data.dump.lists import read_num_samples
from espnet_wsm.data.features.reader import FeatureReader
from espnet_wsm.recipe.progress import read_progress

RECIPE = "egs/mini_an4/asr1"
QUICK = ["--asr_args", "--max_epoch 2 --use_matplotlib false"]
NO_CACHE = ["--cache", "false"]


@pytest.fixture(scope="module")
def recipe(project) -> Path:
    return project / RECIPE


@pytest.fixture(scope="module")
def finished(recipe, shell):
    """The whole recipe, once; the tests below build on what it left."""
    result = shell(["./run.sh", "--asr_args", "--max_epoch 2", "--tag", "first"], recipe)
    assert result.returncode == 0, result.stderr
    assert not list(recipe.glob("**/.unfinished")), "before any other test leaves one"
    return result


@pytest.mark.recipe
def test_the_recipe_runs_from_the_corpus_to_the_score(finished, recipe):
    for number in (1, 2, 3, 4, 5):
        assert f"Stage {number}: " in finished.stderr
    decoded = recipe / "exp/asr_first/decode_greedy/test"
    record = json.loads((decoded / "score.json").read_text())
    assert record["wer"]["python"]["counts"]["words"] == 10
    assert record["cer"]["python"]["counts"]["sentences"] == 2
    results = (recipe / "RESULTS.md").read_text()
    assert "mini_an4/asr_first" in results and "hubert_debian_multi" in results
    assert "egs/mini_an4/asr1/run.sh --asr_args --max_epoch\\ 2 --tag first" in results
    assert re.search(r"\d[\d,]* / \d[\d,]*", results), "trainable/total parameters"
    assert (decoded / "score_wer" / "ref.trn").read_text().count("\n") == 2
    about = json.loads((decoded.parent / "confidence.json").read_text())
    assert about["calibration"] is None and " words, " in about["why_not"], "two utterances are too few"
    assert "confidences stay as they are, with dev as the validation set: " in finished.stdout
    assert (decoded.parent / "dev/ctm").is_file() and not (decoded.parent / "dev/score.json").exists()
    report = recipe / "exp/asr_first/report.html"
    addresses = re.findall(r'"audio":"([^"]+)"', report.read_text())
    assert len(addresses) == 2 and all((report.parent / address).is_file() for address in addresses)


@pytest.mark.recipe
def test_a_report_is_written_where_it_is_wanted(finished, recipe, shell):
    report = recipe / "exp/asr_first/report.html"
    before = report.read_bytes()
    report.unlink()
    words = ["./run.sh", "--tag", "first", "--stage", "5"]
    assert shell([*words, "--report", "false"], recipe).returncode == 0 and not report.exists()
    refused = shell([*words, "--report", "never"], recipe)
    assert refused.returncode == 1 and "--report has to be true or false, got never" in refused.stderr
    (stored := recipe / "exp/asr_first/config.yaml").rename(recipe / "config.kept")
    failed = shell(words, recipe)
    (recipe / "config.kept").rename(stored)
    assert failed.returncode == 1 and "is not an experiment, it has no config.yaml" in failed.stderr
    assert shell(words, recipe).returncode == 0 and report.read_bytes() == before


@pytest.mark.recipe
def test_minutes_of_correction_are_told_to_whoever_says_how_long_a_word_takes(finished, recipe, shell):
    assert "minutes of correction" not in finished.stdout and " of 10 words to touch (" in finished.stdout
    words = ["./run.sh", "--tag", "first", "--stage", "5", "--report", "false"]
    result = shell([*words, "--seconds_per_correction", "2.5"], recipe)
    assert result.returncode == 0 and "; at 2.5 s a word " in result.stdout, result.stderr
    assert re.search(r"\| +2\.5 \|", (recipe / "RESULTS.md").read_text())
    record = json.loads((recipe / "exp/asr_first/decode_greedy/test/score.json").read_text())["correction"]
    lengths = (recipe / "dump/raw/test/utt2num_samples").read_text().split()[1::2]
    assert record["seconds"] == sum(map(int, lengths)) / 16000
    for wrong in ("0.0", "x"):
        refused = shell([*words, "--seconds_per_correction", wrong], recipe)
        assert (
            refused.returncode == 1
            and f"a number of seconds above 0, e.g. 4, got '{wrong}'" in refused.stderr
        )
    assert shell(words, recipe).returncode == 0 and "| 2.5 |" not in (recipe / "RESULTS.md").read_text()


@pytest.mark.recipe
def test_jobs_and_training_leave_how_far_they_came_beside_their_logs(finished, recipe):
    jobs = [read_progress(file) for file in recipe.glob("dump/log/cache.*.progress.json")]
    assert sum(job["done"] for job in jobs) == sum(job["total"] for job in jobs) == 5
    training = read_progress(recipe / "exp/asr_first/train.progress.json")
    assert (training["done"], training["total"]) == (2, 2) and "valid cer_ctc" in training["figures"]
    assert re.search(r"train: +\d+%.*/2 \[", finished.stderr) and re.search(
        r"cache: +\d+%.*/5 \[", finished.stderr
    )


@pytest.mark.recipe
def test_slurm_gives_what_this_machine_gives_whatever_the_number_of_jobs(
    finished, recipe, fresh, slurm, shell, plain_shell
):
    words = [*QUICK, "--tag", "first", "--nj", "3", "--cmd", "../../../conf/cluster/slurm.sh"]
    for python, stages in ((plain_shell, ("2", "2")), (shell, ("3", "5"))):
        result = python(["./run.sh", "--stage", stages[0], "--stop_stage", stages[1], *words], fresh)
        assert result.returncode == 0, result.stderr
    lists = [path.relative_to(recipe) for path in recipe.glob("dump/raw/**/*") if path.suffix != ".scp"]
    shards = [path.relative_to(recipe) for path in recipe.glob("dump/cache/*/*/utt2num_frames")]
    decoded = [Path("exp/asr_first/decode_greedy/test") / name for name in ("text", "token_int")]
    for name in (*lists, *shards, *decoded):
        if (recipe / name).is_file() and "log" not in name.parts:
            assert (fresh / name).read_bytes() == (recipe / name).read_bytes(), name
    assert decoded and not list(fresh.glob("**/slurm")), "Slurm had nothing to say"


# Debian's slurmd cannot be two nodes on one machine: these stand for a launcher and for srun on two.
LAUNCHER = """#!/usr/bin/env bash
[[ "$1 $2" == "--num_nodes 2" ]] || exit 2
while [[ $1 == --* ]]; do shift 2; done
log=$1
shift
"$@" >"${log}" 2>&1
"""
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
export SLURM_STEP_NUM_NODES=2 SLURM_NTASKS=2 SLURM_STEP_NODELIST=node[1-2] SLURM_LOCALID=0
SLURM_PROCID=1 SLURM_NODEID=1 "$@" &
SLURM_PROCID=0 SLURM_NODEID=0 "$@" && wait $!
"""


@pytest.mark.recipe
def test_two_nodes_train_together_and_one_goes_on_with_it(finished, recipe, shell, tmp_path):
    for name, script in (("two_nodes.sh", LAUNCHER), ("srun", SRUN)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    words = ["--stage", "3", "--stop_stage", "3", "--tag", "nodes"]
    call = f'PATH={tmp_path}:$PATH exec ./run.sh "$@" --num_nodes 2 --cmd two_nodes.sh'
    call = ["bash", "-c", call, "bash", *words, *QUICK]
    assert shell(call, recipe).returncode == 1
    refused = (recipe / "exp/asr_nodes/train.log").read_text()
    assert "error: a batch of the valid set holds fewer utterances than there are processes" in refused
    shutil.rmtree(recipe / "exp/asr_nodes")
    words += ["--valid_set", "train"]
    result = shell([*call, *words], recipe)
    log = (recipe / "exp/asr_nodes/train.log").read_text()
    assert result.returncode == 0, result.stderr + log
    assert re.search(r":0/2\].*1/2epoch started", log)
    result = shell(["./run.sh", *words, *QUICK], recipe)
    assert result.returncode == 0, result.stderr
    assert "The training was resumed using" in (recipe / "exp/asr_nodes/train.log").read_text()


@pytest.mark.recipe
def test_a_stock_espnet_user_finds_the_usual_files(finished, recipe):
    for name in (
        "data/train/wav.scp", "data/train/text", "data/train/utt2spk", "data/train/spk2utt",
        "dump/raw/train/wav.scp", "dump/raw/train/speech_shape", "dump/token_list/char/tokens.txt",
        "exp/asr_first/config.yaml", "exp/asr_first/train.log", "exp/asr_first/valid.cer_ctc.ave.pth",
        "exp/asr_first/images/loss.png", "exp/asr_first/decode_greedy/test/text",
    ):  # fmt: skip
        assert (recipe / name).stat().st_size > 0, name


@pytest.mark.recipe
def test_the_later_stages_run_alone_with_either_search(finished, recipe, shell):
    greedy = recipe / "exp/asr_first/decode_greedy/test/text"
    before = greedy.read_text()
    beam = ["--search", "beam", "--inference_args", "--beam_size 2"]
    result = shell(["./run.sh", "--stage", "4", "--tag", "first", *beam], recipe)
    assert result.returncode == 0, result.stderr
    assert "test (decode_beam)" in (recipe / "RESULTS.md").read_text() and greedy.read_text() == before


@pytest.mark.recipe
def test_each_language_model_has_a_decoding_of_its_own(finished, recipe, shell):
    greedy = recipe / "exp/asr_first/decode_greedy/test/text"
    before, folders = greedy.read_text(), []
    lm = ["./run.sh", "--tag", "first", "--lm", "an lm.arpa", "--stage"]
    for sentences in (["YES FIFTY"], ["NO FIFTY"]):
        write_arpa(recipe / "an lm.arpa", sentences)
        result = shell([*lm, "5"], recipe)
        assert result.returncode == 1 and "does not exist; run stage 4 first" in result.stderr
        result = shell([*lm, "4"], recipe)
        assert result.returncode == 0, result.stderr
        assert re.search(r"an lm.arpa knows \d+ of the 11 words of dump/raw/train/text", result.stderr)
        folders = sorted(path.name for path in recipe.glob("exp/asr_first/decode_lm_*"))
    assert len(folders) == 2 and all(re.fullmatch("decode_lm_an_lm.arpa_[0-9a-f]{8}", f) for f in folders)
    results = (recipe / "RESULTS.md").read_text().replace("\\", "")
    assert all(f"test ({folder})" in results for folder in ("decode_greedy", *folders))
    assert greedy.read_text() == before

    (recipe / "an lm.arpa").write_text("\\data\\\nngram 1=5\n")
    result = shell([*lm, "4"], recipe)
    assert result.returncode == 1 and "error: an lm.arpa cannot be read as a language model" in result.stderr
    [broken] = {path.name for path in recipe.glob("exp/asr_first/decode_lm_*")} - set(folders)
    assert not list((recipe / "exp/asr_first" / broken).rglob("*.log")), "no job was started"


@pytest.mark.recipe
def test_another_cut_needs_features_of_its_own_which_stage_2_adds(finished, recipe, shell):
    words = ["--mixer", "sm", "--num_replaced", "1", *QUICK]
    refused = shell(["./run.sh", "--stage", "3", *words], recipe)
    assert refused.returncode == 1 and "layers above the cut: stored '2', now '1'" in refused.stderr
    assert "Run stage 2 again" in refused.stderr and not list(recipe.glob("exp/asr_train_asr_char_sm_k1*"))
    audio = {file: file.stat().st_mtime_ns for file in recipe.glob("dump/raw/**/*.flac")}
    result = shell(["./run.sh", "--stage", "2", *words], recipe)
    assert result.returncode == 0, result.stderr
    assert audio and audio == {file: file.stat().st_mtime_ns for file in audio}, "the audio is made once"
    row = next(line for line in result.stdout.splitlines() if "asr_train_asr_char_sm_k1_transfer0 |" in line)
    assert "| 1 " in row and "| sm " in row


@pytest.mark.recipe
def test_blocks_learn_from_attention_before_training(finished, recipe, shell):
    words = ["--mixer", "wsm_heads", "--transfer", "4", "--stop_stage", "3", *QUICK]
    refused = shell(["./run.sh", "--stage", "3", *words], recipe)
    assert refused.returncode == 1 and "heads.json does not exist" in refused.stderr
    result = shell(["./run.sh", "--stage", "2", *words], recipe)
    assert result.returncode == 0, result.stderr
    assert "where the heads look, in frames of 20 ms" in result.stderr
    assert "Stage 3: transfer: dump/cache -> exp/transfer_wsm_heads_k2_" in result.stderr
    assert result.stderr.count("is left on held-out speech") == 2
    (blocks,) = recipe.glob("exp/transfer_wsm_heads_*/blocks.pth")
    config = yaml.safe_load((recipe / "exp/asr_train_asr_char_wsm_heads_transfer4/config.yaml").read_text())
    assert config["init_param"] == [f"{blocks.relative_to(recipe)}:encoder:encoder"]
    again = shell(
        ["./run.sh", "--stage", "3", *words[:-1], f"{words[-1]} --seed 5", "--tag", "other"], recipe
    )
    assert again.returncode == 0 and "Stage 3: transfer" not in again.stderr
    stage = ["../../common/train.sh", *words[:2], "--transfer", "5", "--tag", "alone"]
    refused = shell(stage, recipe)
    assert refused.returncode == 1 and "holds no finished transfer of the present data" in refused.stderr


@pytest.mark.recipe
def test_a_recipe_converts_its_upstream_and_trains_what_it_made(finished, recipe, shell):
    words = ["--convert", "1", "--num_replaced", "1", "--stop_stage", "3", *QUICK]
    words += ["--convert_args", "--steps 2 --own_steps 3"]
    early = shell(["./run.sh", "--stage", "3", *words], recipe)
    assert early.returncode == 1 and "does not exist; run stage 2 with --convert 1" in early.stderr
    result = shell(["./run.sh", "--stage", "2", *words], recipe)
    assert result.returncode == 0, result.stderr
    (folder,) = recipe.glob("exp/upstream_hubert_debian_multi_1_*")
    named = folder.relative_to(recipe)
    assert f"Stage 2: convert: dump/raw/org/train -> {named}" in result.stderr
    assert "warning: 7 s of audio: " in result.stderr and "| all " in result.stderr
    assert read_progress(recipe / "dump/log/convert.progress.json")["done"] == 5
    config = yaml.safe_load((recipe / "exp/asr_train_asr_char_converted_1_k1/config.yaml").read_text())
    assert config["encoder_conf"]["upstream"] == str(named) and config["encoder_conf"]["mixer"] == "kept"
    blocks = (folder / "blocks.safetensors").stat().st_mtime_ns
    again = shell(["./run.sh", "--stage", "2", *words[:-5], "2", "--stop_stage", "2", *words[-2:]], recipe)
    assert again.returncode == 0 and f"{named} has been made already" in again.stderr
    assert blocks == (folder / "blocks.safetensors").stat().st_mtime_ns, "blocks learn once"


@pytest.mark.recipe
def test_training_uses_the_features_and_not_the_upstream(finished, recipe):
    log = (recipe / "exp/asr_first/train.log").read_text()
    assert "feats.scp" in log and "wav.scp" not in log
    features = next(recipe.glob("dump/cache/*-k2-float16"))
    assert (features / "train/feats.scp").stat().st_size > 0 and (features / "dev/cache.json").exists()
    for word in ("4 utterances", "256 channels", "4 to compute", "free"):
        assert word in finished.stderr, "the estimate"


@pytest.mark.recipe
def test_features_of_changed_audio_are_refused_and_made_anew(finished, recipe, shell):
    train = ["./run.sh", "--stage", "3", "--stop_stage", "3", "--tag", "changed", *QUICK]
    ids = [line.split() for line in (recipe / "dump/raw/train/wav.scp").read_text().splitlines()]
    (name, audio), (_, other) = ids[0], ids[1]
    before = (recipe / audio).read_bytes()
    try:
        (recipe / audio).write_bytes((recipe / other).read_bytes()[: len(before)].ljust(len(before), b"\0"))
        refused = shell(train, recipe)
        assert refused.returncode == 1 and f"{name} ({audio})" in refused.stderr
        assert "audio of 1 utterance changed" in refused.stderr and "--cache false" in refused.stderr
    finally:
        (recipe / audio).write_bytes(before)
    again = shell(train, recipe)  # the same content: only the time of the last change differs
    assert again.returncode == 0, again.stderr


@pytest.mark.recipe
def test_a_recipe_without_cache_trains_from_the_waveforms(finished, recipe, shell):
    words = ["--stage", "3", "--stop_stage", "3", "--cache", "false", "--tag", "fresh", *QUICK]
    result = shell(["./run.sh", *words], recipe)
    assert result.returncode == 0, result.stderr
    log = (recipe / "exp/asr_fresh/train.log").read_text()
    assert "wav.scp" in log and "feats.scp" not in log
    losses = [
        [float(loss) for loss in re.findall(r"epoch results: .*\[valid\] .*?loss=([0-9.]+)", text)]
        for text in (log, (recipe / "exp/asr_first/train.log").read_text())
    ]
    assert len(losses[0]) == 2 and losses[0] == pytest.approx(losses[1], rel=0.02), "stored in float16"
    decided = shell(
        ["./run.sh", *words, "--asr_args", "--encoder_conf features=weighted_sum", "--cache", "true"], recipe
    )
    assert decided.returncode == 1 and "--cache true, but features weighted_sum needs" in decided.stderr


@pytest.mark.recipe
def test_training_on_a_part_of_the_set(finished, recipe, shell):
    words = ["--stage", "3", "--stop_stage", "3", "--train_minutes", "0.1", "--asr_args", "--max_epoch 1"]
    result = shell(["./run.sh", *words], recipe)
    assert result.returncode == 0 and "train_0.1min: 3 of 4 utterances" in result.stdout, result.stderr
    exp = recipe / "exp/asr_train_asr_char_transfer0_0.1min"
    assert (exp / "train_0.1min/speech_shape").read_text().count("\n") == 3
    assert f"exp/{exp.name}/train_0.1min/speech_shape" in (exp / "train.log").read_text()


@pytest.mark.recipe
def test_a_run_of_other_settings_is_not_resumed(finished, recipe, shell):
    result = shell(["./run.sh", "--stage", "3", "--stop_stage", "3", "--tag", "first"], recipe)
    assert result.returncode == 1 and "exp/asr_first holds a run of other settings" in result.stderr
    assert not (recipe / "exp/asr_first/.unfinished").exists(), "the finished run is left as it was"


@pytest.mark.recipe
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stage", "3", "--mixer", "mamba"], "mixer has to be one of attention, drop, gc_lora"),
        (
            ["--stage", "3", "--upstream", "models/nowhere"],
            "upstream models/nowhere is neither a file nor a directory",
        ),
        (
            ["--stage", "3", "--upstream", "wavlm_large"],
            "-m espnet_wsm.bin.fetch_upstream wavlm_large --to upstreams/wavlm_large' where there is a",
        ),
        (["--stage", "3", "--upstream", "fbank"], "upstream fbank is not supported: it is none of"),
        (["--stage", "3", "--upstream_config", "no.yaml"], "--upstream_config no.yaml does not exist"),
        (
            ["--stage", "3", "--num_replaced", "9", *NO_CACHE],
            "num_replaced is 9, but the upstream has only 8 layers",
        ),
        (
            ["--stage", "3", "--train_config", "conf/none.yaml"],
            "--train_config conf/none.yaml does not exist",
        ),
        (["--stage", "3", "--transfer", "many"], "--transfer many has to be a number of steps, 0 for none"),
        (["--stage", "3", "--transfer", "9", "--transfer_args", "--lr 7"], "--lr 7 of a transfer has to be"),
        (
            ["--stage", "2", "--unlabelled", "nowhere"],
            "--unlabelled: nowhere/wav.scp does not exist; name a Kaldi data directory",
        ),
        (
            ["--stage", "2", "--test_sets", "test unlabelled"],
            "no set can be called unlabelled: stage 2 stores",
        ),
        (
            ["--stage", "3", "--transfer", "9", "--unlabelled", "conf"],
            "dump does not belong to the current data and conf, which has changed since; run stage 2 again",
        ),
        (["--stage", "3", "--token_type", "bpe"], "token_list/bpe does not exist; run stage 2"),
        (["--stage", "3", "--train_minutes", "5"], "dump/raw/train holds 0.1 minutes, not more than"),
        (["--stage", "4", "--tag", "never"], "exp/asr_never does not exist; run stage 3 first"),
        (
            ["--stage", "4", "--tag", "first", "--search", "best"],
            "--search has to be greedy, beam or lm, got best",
        ),
        (
            ["--stage", "4", "--tag", "first", "--search", "beam", "--lm", "text"],
            "--lm is for --search lm, not for --search beam",
        ),
        (["--stage", "4", "--tag", "first", "--search", "lm"], "--search lm needs --lm: a language model"),
        (["--stage", "4", "--tag", "first", "--lm", "no.arpa"], "--lm no.arpa: no.arpa is not a file; name"),
        (
            ["--stage", "4", "--tag", "first", "--lm", "run.sh", "--ngram_order", "7"],
            "--ngram_order has to be a whole number from 2 to 6, got '7'",
        ),
        (["--stage", "4", "--tag", "first", "--inference_model", "x.pth"], "asr_first/x.pth does not exist"),
        (["--stage", "4", "--tag", "first", "--test_sets", "test more"], "dump/raw/more does not exist; run"),
        (["--stage", "5", "--tag", "first", "--exp_dir", "other"], "other/asr_first does not exist"),
        (["--stage", "2", "--asr_args", "--optim_conf lr=fast"], "optim_conf.lr has to be a number, got"),
    ],
)
def test_what_cannot_work_ends_in_one_sentence(finished, recipe, shell, words, message):
    result = shell(["./run.sh", "--stop_stage", "5", "--tag", "bad", *words], recipe)
    assert result.returncode != 0 and message in result.stderr
    assert "Traceback" not in result.stderr and not list(recipe.glob("exp/asr_bad/*.pth"))


@pytest.fixture
def fresh(copy_recipe, shell, tmp_path) -> Path:
    """A recipe folder of its own with finished data, in the project's tree."""
    folder = copy_recipe(tmp_path.name)
    assert shell(["./run.sh", "--stop_stage", "1"], folder).returncode == 0
    return folder


@pytest.fixture
def talk(fresh) -> Path:
    """A directory without text in the recipe's folder: the test recordings, 0.5 s and 10 ms of noise."""
    folder = fresh / "talk"
    folder.mkdir()
    entries = [line.split() for line in (fresh / "data/test/wav.scp").read_text().splitlines()]
    for name, samples in (("half", 8000), ("short", 160)):
        noise = 0.1 * np.random.default_rng(samples).standard_normal(samples)
        soundfile.write(folder / f"{name}.wav", noise, 16000)
        entries.append([name, f"talk/{name}.wav"])
    (folder / "wav.scp").write_text("".join(f"talk-{id} {audio}\n" for id, audio in sorted(entries)))
    return folder


@pytest.mark.recipe
def test_blocks_learn_from_speech_without_text_too(fresh, talk, shell):
    words = ["--stage", "2", "--stop_stage", "3", "--unlabelled", "talk", *QUICK]
    (talk / "text").write_bytes(b"no text at all \xff\n")
    result = shell(["./run.sh", *words, "--transfer", "4"], fresh)
    assert result.returncode == 0, result.stderr
    assert "warning: talk/text is not read" in result.stderr
    assert re.search(
        r"--unlabelled talk: 2 utterances of the set test in it: (\S+) \(there talk-\1\), ", result.stderr
    )
    assert "unlabelled: kept 3 of 4; dropped 1 shorter than 0.1 s" in result.stdout
    dropped = (fresh / "dump/log/dropped_unlabelled.txt").read_text()
    assert dropped.startswith("talk-short too_short seconds=0.0100") and dropped.count("\n") == 1
    (pairs,) = fresh.glob("dump/cache/*/pairs_*_unlabelled/train/utt2num_frames")
    assert pairs.read_text().count("talk-") == 3 and pairs.read_text().count("\n") == 7
    config = yaml.safe_load((fresh / "exp/asr_train_asr_char_transfer4_talk/config.yaml").read_text())
    assert config["init_param"][0].startswith("exp/transfer_wsm_k2_")

    stage = ["./run.sh", *words[:2], "--stop_stage", "2", "--unlabelled", "talk", *NO_CACHE]
    again = shell(stage, fresh)
    assert "already belongs to data and these options" in again.stderr
    assert "warning: --unlabelled talk is only used with --convert, --transfer" in again.stderr
    shutil.copy(talk / "half.wav", talk / "short.wav")
    again = shell(stage, fresh)
    assert "Stage 2: format audio, make tokens: data and talk -> dump" in again.stderr
    assert "unlabelled: kept 4 of 4" in again.stdout


@pytest.mark.recipe
def test_speech_that_cannot_be_learnt_from_is_refused(fresh, talk, shell):
    words = ["./run.sh", "--stage", "2", "--stop_stage", "2", "--transfer", "4", *NO_CACHE, "--unlabelled"]
    entries = (talk / "wav.scp").read_text().splitlines(keepends=True)
    for message, content in (
        ("talk/wav.scp is empty: it needs one line per utterance", ""),
        ("nothing is left of dump/raw/org/unlabelled: widen the limits", entries[-1]),
        ("talk/none.wav", "none talk/none.wav\n"),
    ):
        (talk / "wav.scp").write_text(content)
        result = shell([*words, "talk"], fresh)
        assert result.returncode == 1 and message in result.stderr, message
        assert "Traceback" not in result.stderr
    result = shell([*words, "data/train"], fresh)
    assert result.returncode == 1 and "4 ids already those of other speech to learn from: " in result.stderr
    assert (fresh / "dump/.unfinished").exists()


@pytest.mark.recipe
def test_what_is_longer_than_the_upstream_takes_is_dropped_and_listed(fresh, shell, tmp_path):
    upstream = write_whisper(tmp_path / "short", max_source_positions=100)  # 2 s
    words = ["./run.sh", "--stage", "2", "--stop_stage", "2", "--max_wav_duration", "40"]
    result = shell([*words, "--upstream", upstream], fresh)
    assert result.returncode == 0, result.stderr
    assert "the upstream takes 2 s at most: longer utterances are not trained on" in result.stderr
    dropped = (fresh / "dump/log/dropped_train.txt").read_text().splitlines()
    whole, kept = (
        read_num_samples(fresh / f"dump/raw/{name}/utt2num_samples", []) for name in ("org/train", "train")
    )
    too_long = sorted(id for id, samples in whole.items() if samples > 2 * 16000)
    assert too_long and [line.split()[:2] for line in dropped] == [[id, "too_long"] for id in too_long]
    assert kept.keys() == whole.keys() - set(too_long)
    assert f"dropped {len(too_long)} longer than 2 s (ids in dump/log/dropped_train.txt)" in result.stdout
    again = shell([*words, "--upstream", upstream], fresh)
    assert "already belongs to data and these options" in again.stderr


@pytest.mark.recipe
def test_transcripts_are_spelt_by_the_configuration(fresh, shell):
    words = ["./run.sh", "--stage", "2", "--stop_stage", "2", *NO_CACHE]
    assert shell([*words, "--text_config", "none.yaml"], fresh).returncode == 1
    spelt = fresh / "dump/raw/test/text"
    (fresh / "mine.yaml").write_text("case: lower\n")
    result = shell([*words, "--text_config", "mine.yaml"], fresh)
    assert result.returncode == 0, result.stderr
    written = (fresh / "data/test/text").read_text()
    lower = [f"{id} {words.lower()}" for id, words in (line.split(" ", 1) for line in written.splitlines())]
    assert spelt.read_text().splitlines() == lower and spelt.read_text() != written
    assert "a" in (fresh / "dump/token_list/char/tokens.txt").read_text().split()
    (fresh / "mine.yaml").write_text("case: keep\n")
    assert shell([*words, "--text_config", "mine.yaml"], fresh).returncode == 0
    assert spelt.read_text() == written
    (fresh / "conf/text.yaml").write_text("case: Upper\n")
    assert "error: conf/text.yaml: case: 'Upper' is none of" in shell(words, fresh).stderr


@pytest.mark.recipe
def test_a_stage_refuses_missing_and_stale_input(fresh, shell):
    train = ["./run.sh", "--stage", "3", "--stop_stage", "3"]
    assert "dump does not exist; run stage 2 first" in shell(train, fresh).stderr
    assert shell(["./run.sh", "--stage", "2", "--stop_stage", "2", *NO_CACHE], fresh).returncode == 0
    text = fresh / "data/train/text"
    text.write_text(text.read_text().replace("START", "STOP"))
    assert (
        "dump does not belong to the current data, which has changed since; run stage 2 again"
        in shell(train, fresh).stderr
    )


@pytest.mark.recipe
def test_a_killed_stage_leaves_its_output_marked_and_a_rerun_redoes_it(fresh, shell, environment):
    words = ["./run.sh", "--stage", "2", "--stop_stage", "2", *NO_CACHE]
    process = subprocess.Popen(
        words, cwd=fresh, env=environment, start_new_session=True, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for((fresh / "dump/raw").exists, seconds=180)
    kill_session(process)
    assert (fresh / "dump/.unfinished").exists()
    refused = shell(["./run.sh", "--stage", "3", "--stop_stage", "3"], fresh)
    assert refused.returncode == 1 and "dump is unfinished: stage 2 failed, was killed" in refused.stderr
    assert shell(words, fresh).returncode == 0 and not (fresh / "dump/.unfinished").exists()


@pytest.mark.recipe
@pytest.mark.parametrize("token_type", ["bpe", "unigram"])
def test_sentencepiece_tokens(fresh, shell, token_type):
    last = "5" if token_type == "unigram" else "2"  # from stage 3 on both are the same to ESPnet
    words = [
        "--stage",
        "2",
        "--token_type",
        token_type,
        "--nbpe",
        "25",
        "--test_sets",
        "dev test",
        *QUICK,
        *NO_CACHE,
    ]
    result = shell(["./run.sh", "--stop_stage", last, *words], fresh)
    assert result.returncode == 0, result.stderr
    pieces = (fresh / f"dump/token_list/{token_type}/tokens.txt").read_text().splitlines()
    assert pieces[0] == "<blank>" and pieces[-1] == "<sos/eos>" and "▁" in "".join(pieces)
    if last == "5":
        for name in ("dev", "test"):  # a validation set may be a test set too
            scored = fresh / "exp/asr_train_asr_unigram25_transfer0/decode_greedy" / name
            assert (scored / "score.json").exists() and (scored / "text").stat().st_size > 0


@pytest.mark.recipe
def test_an_upstream_named_in_the_training_configuration_is_not_replaced(finished, recipe, shell, tmp_path):
    config = tmp_path / "mine.yaml"
    lines = (recipe / "conf/train_asr.yaml").read_text()
    conf = "encoder_conf:\n    upstream: /models/none\n"
    config.write_text(lines.replace("encoder_conf:\n", conf))
    words = ["--stage", "3", "--stop_stage", "3", "--tag", "yaml", "--train_config", config]
    result = shell(["./run.sh", *words], recipe)
    assert result.returncode == 1
    assert "upstream /models/none is neither a file nor a directory" in result.stderr


@pytest.mark.recipe
def test_a_folder_that_the_stage_did_not_make_is_left_alone(fresh, shell):
    (fresh / "mine/log").mkdir(parents=True)
    (fresh / "mine/log/thesis").touch()
    result = shell(["./run.sh", "--stage", "2", "--dump_dir", "mine"], fresh)
    assert (
        result.returncode == 1 and "--dump_dir mine holds files that this stage did not make" in result.stderr
    )
    assert (fresh / "mine/log/thesis").exists()


@pytest.mark.recipe
def test_copies_at_other_speeds_and_joined_utterances_are_for_training_only(fresh, shell):
    longest = shell(["./run.sh", "--stage", "2", "--join_to", "25"], fresh)
    assert "--join_to 25: give at most 20 seconds, what --max_wav_duration allows" in longest.stderr
    words = ["./run.sh", "--speed_perturb", "0.9 1.0 1.1", "--join_to", "9", "--tag", "fast", *NO_CACHE]
    both = shell([*words, "--stage", "2", "--test_sets", "test train"], fresh)
    assert both.returncode == 1 and not (fresh / "dump").exists()
    assert "--speed_perturb is for training only, but train is also a validation or test set" in both.stderr
    assert shell([*words, "--stage", "2", "--stop_stage", "2"], fresh).returncode == 0
    lines = {
        name: (fresh / "dump/raw" / name / "wav.scp").read_text().count("\n")
        for name in ("org/train", "train", "org/dev", "dev", "test")
    }
    joined = (fresh / "dump/raw/train/joined").read_text().count("\n")
    originals = {
        name: (fresh / "data" / name / "wav.scp").read_text().count("\n") for name in ("train", "dev", "test")
    }
    assert lines["org/train"] == 3 * originals["train"] >= lines["train"] - joined > 0 < joined
    assert (lines["org/dev"], lines["test"]) == (originals["dev"], originals["test"])
    assert lines["dev"] <= lines["org/dev"]
    other = shell(["./run.sh", "--stage", "3", "--tag", "fast"], fresh)
    assert "dump was made with --speed_perturb '0.9 1.0 1.1': give the same again, or run" in other.stderr
    speeds = ["--speed_perturb", "0.9 1.0 1.1"]
    for more in ((), ("--join_to", "8"), ("--join_to", "9", "--join_pause", "1")):
        other = shell(["./run.sh", "--stage", "3", "--tag", "fast", *speeds, *more], fresh)
        assert "dump was made with --join_to and --join_pause '9 0.2': give the same again" in other.stderr
    (fresh / "exp/asr_fast").mkdir(parents=True)
    (fresh / "exp/asr_fast/valid.cer_ctc.ave.pth").touch()
    decoding = shell(["./run.sh", "--stage", "4", "--tag", "fast", "--test_sets", "train"], fresh)
    assert (
        decoding.returncode == 1
        and "dump/raw/org/train was made with --speed_perturb, for" in decoding.stderr
    )


def processes_naming(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if text in words and entry.parent.name != str(os.getpid()):
            found.append(words)
    return found


@pytest.mark.recipe
def test_stopping_a_run_stops_everything_it_started(finished, recipe, environment):
    words = ["./run.sh", "--stage", "3", "--tag", "to_be_stopped"]
    process = subprocess.Popen(
        words, cwd=recipe, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    wait_for((recipe / "exp/asr_to_be_stopped/train.log").exists, seconds=180)
    time.sleep(1.0)
    assert len(processes_naming("asr_to_be_stopped")) >= 2, "training and the progress bar"
    process.terminate()
    assert process.wait(timeout=30) == 143
    wait_for(lambda: not processes_naming("asr_to_be_stopped"), seconds=20)
    assert (recipe / "exp/asr_to_be_stopped/.unfinished").exists()


def read_tree(folder: Path, but: set[str]) -> dict[str, bytes]:
    """The files of a folder, without those that say who wrote them, and when."""
    but |= {"log", ".lock", ".made_from"}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(name): (folder / name).read_bytes()
        for name in (path.relative_to(folder) for path in files)
        if not but & set(name.parts)
    }


@pytest.mark.recipe
def test_the_number_of_jobs_changes_no_byte_of_any_stage(fresh, shell, monkeypatch):
    monkeypatch.chdir(fresh)
    words = [*QUICK, "--tag", "jobs", "--test_sets", "dev test", "--inference_args", "--batch_size 1"]
    dumps, features, decoded = [], [], []
    for nj in ("1", "4"):
        for step in ("--stage 2 --stop_stage 2", "--stage 3" if nj == "1" else "--stage 4"):
            result = shell(["./run.sh", *step.split(), *words, "--nj", nj], fresh)
            assert result.returncode == 0, result.stderr
        dumps.append(read_tree(Path("dump"), {"cache"}))
        reader = FeatureReader(next(Path("dump/cache").glob("*/train/feats.scp")))
        features.append({id: reader[id].tobytes() for id in reader})
        decoded.append(read_tree(Path("exp/asr_jobs/decode_greedy"), {"score.json"}))
        decoded[-1]["RESULTS.md"] = Path("RESULTS.md").read_bytes()
        shutil.rmtree("dump")
    assert dumps[0] == dumps[1] and len(dumps[0]) > 20
    assert features[0] == features[1] and len(features[0]) == 4
    assert decoded[0] == decoded[1]
    assert {"dev/text", "test/token_int", "test/score", "RESULTS.md"} < decoded[0].keys()


@pytest.mark.recipe
def test_bad_audio_is_named_and_nothing_is_left_that_looks_whole(fresh, shell):
    broken = next((fresh / "downloads").rglob("an253-fash-b.sph"))
    broken.write_bytes(broken.read_bytes()[:9000])
    result = shell(["./run.sh", "--stage", "2"], fresh)
    assert result.returncode == 1 and "fash-an253-fash-b" in result.stderr and "truncated" in result.stderr
    assert (fresh / "dump/.unfinished").exists() and not (fresh / "exp").exists()


@pytest.mark.recipe
@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("text", lambda b: b.replace(b"START", b""), "empty transcript"),
        ("text", lambda b: b.replace(b"START", b"\xff\xfe"), "UTF-8"),
        ("text", lambda b: b.replace(b"\n", b"\r\n"), "CR"),
        ("text", lambda b: b + b.splitlines(keepends=True)[-1], "mwhw-cen8-mwhw-b"),
        ("text", lambda b: b"".join(b.splitlines(keepends=True)[:-1]), "mwhw-cen8-mwhw-b"),
        ("wav.scp", lambda b: b.replace(b"an253", b"an999"), "an999"),
        (
            "wav.scp",
            lambda b: b.replace(b"downloads", b"cat downloads", 1).replace(b".sph\n", b".sph |\n", 1),
            "|",
        ),
    ],
)
def test_a_damaged_data_directory_is_refused_with_file_and_id(fresh, shell, file, change, message):
    path = fresh / "data/train" / file
    path.write_bytes(change(path.read_bytes()))
    result = shell(["./run.sh", "--stage", "2"], fresh)
    assert result.returncode == 1 and message in result.stderr and f"data/train/{file}" in result.stderr
    assert "Traceback" not in result.stderr and not (fresh / "dump/raw").exists()


@pytest.mark.recipe
def test_settings_of_an_upstream_come_on_top_and_options_on_top_of_these(fresh, shell):
    """A YAML of a few lines moves a recipe to another upstream."""
    words = ["--out", "upstreams/wavlm", "--model_type", "wavlm", "--num_layers", "2", "--dim", "32"]
    made = shell(["python", "-m", "espnet_wsm.bin.make_random_upstream", *words, "--conv_dim", "16"], fresh)
    assert made.returncode == 0, made.stderr
    (fresh / "wavlm.yaml").write_text(
        "encoder_conf:\n    upstream: upstreams/wavlm\n    num_replaced: 1\n    window: [2, 5]\n"
        "    width: null\n    mixer: sm\noptim: adam\noptim_conf:\n    lr: 0.002\nmax_epoch: 1\n"
    )
    result = shell(["./run.sh", "--upstream_config", "wavlm.yaml", "--mixer", "wsm"], fresh)
    assert result.returncode == 0, result.stderr
    config = yaml.safe_load((fresh / "exp/asr_train_asr_char_wsm_transfer0_wavlm/config.yaml").read_text())
    conf = config["encoder_conf"]
    assert (conf["upstream"], conf["num_replaced"], conf["window"]) == ("upstreams/wavlm", 1, [2, 5])
    assert (conf["width"], conf["mixer"], config["max_epoch"]) == (None, "wsm", 1)
    assert config["optim"] == "adam" and config["optim_conf"]["lr"] == 0.002
    assert "hf_custom (upstreams/wavlm): random upstream: WavLM" in (fresh / "RESULTS.md").read_text()
    (fresh / "broken.yaml").write_text("encoder_conf: [")
    result = shell(["./run.sh", "--stage", "3", "--upstream_config", "broken.yaml"], fresh)
    assert result.returncode == 1 and "--upstream_config broken.yaml cannot be read" in result.stderr
