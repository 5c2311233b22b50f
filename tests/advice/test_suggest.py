"""`espnet-wsm suggest`: what it reads of data and machine, what it suggests, and whether run.sh takes it."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.advice import evidence, suggestion
from espnet_wsm.advice.corpus import Corpus, read_corpus
from espnet_wsm.advice.evidence import read_card_limit, read_evidence
from espnet_wsm.advice.machine import Machine
from espnet_wsm.advice.suggestion import render_text, suggest
from espnet_wsm.bin.suggest import main

ROOT = Path(__file__).parents[2]
LAPTOP = Machine(cores=2, memory_gb=16)
CARD = Machine(cores=8, memory_gb=64, ngpu=1, gpu_memory_gb=24)


@pytest.fixture
def make_data(tmp_path):
    """Writes a Kaldi directory of silence, each utterance of its own length; a list of None is left out."""

    def make(seconds=(1.0, 2.0, 3.0), said="mhoro shamwari", speaker="anna", name="data/train", **lists):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        rows = {"wav.scp": [], "text": [], "utt2spk": []}
        for number, length in enumerate(seconds):
            soundfile.write(tmp_path / f"{number}.wav", np.zeros(int(16000 * length)), 16000)
            id = f"{speaker}-{number:02d}"
            rows["wav.scp"].append(f"{id} {tmp_path / f'{number}.wav'}")
            rows["text"].append(f"{id} {said}")
            rows["utt2spk"].append(f"{id} {speaker}")
        for list_name, lines in (
            rows | {key.replace("_", "."): value for key, value in lists.items()}
        ).items():
            if lines is not None:
                (folder / list_name).write_text("".join(f"{line}\n" for line in lines))
        return folder

    return make


def make_corpus(minutes=20.0, seconds=6.0, **more):
    number = round(60 * minutes / seconds)
    facts = {"directory": Path("data/train"), "seconds": (seconds,) * number, "utterances": number}
    facts |= {"speakers": 5, "script": "LATIN", "characters": 30, "unspaced": None, "has_pipes": False}
    return Corpus(**facts | more)


def find(suggestion, name):
    return next(each for each in suggestion.settings if each.name == name)


def test_a_data_directory_is_described_in_numbers(make_data):
    corpus = read_corpus(make_data(seconds=(1.0, 2.0, 35.0)))
    assert (corpus.utterances, corpus.speakers, corpus.script, corpus.characters) == (3, 1, "LATIN", 8)
    assert corpus.minutes == pytest.approx(38 / 60) and corpus.longest == 35
    assert corpus.longer_than(30) == (1, pytest.approx(35 / 60)) and corpus.quantile(0.95) > 30
    assert corpus.describe() == (
        "0.6 min, 3 utterances, 1 speaker, Latin, 8 different characters, median 2.0 s, 95 % below 31.7 s, "
        "longest 35.0 s"
    )


def test_segments_are_measured_and_utterances_without_speakers_are_not_speakers(make_data, tmp_path):
    folder = make_data(
        (5.0,), wav_scp=[f"r {tmp_path / '0.wav'}"], segments=["u1 r 0.0 1.5", "u2 r 2.0 -1"], utt2spk=None
    )
    (folder / "text").write_text("u1 да\nu2 нет\n")
    corpus = read_corpus(folder)
    assert corpus.seconds == (1.5, 3.0) and corpus.speakers is None and corpus.script == "CYRILLIC"


def test_commands_are_not_run_and_take_their_length_from_utt2dur(make_data, tmp_path):
    pipes = [f"anna-0{n} touch {tmp_path}/ran |" for n in range(3)]
    folder = make_data(wav_scp=pipes)
    corpus = read_corpus(folder)
    assert corpus.minutes is None and corpus.has_pipes and not (tmp_path / "ran").exists()
    text = render_text(suggest(corpus, LAPTOP))
    assert "length unknown" in text and "put utt2dur there" in text and "--allow_pipes true" in text
    (folder / "utt2dur").write_text("anna-00 60\nanna-01 120\nanna-02 60\n")
    assert read_corpus(folder).minutes == 4
    (folder / "utt2dur").write_text("anna-00 long\n")
    with pytest.raises(ValueError, match="utt2dur:1: id anna-00 has 'long' instead of seconds"):
        read_corpus(folder)


def test_the_arm_is_that_with_the_fewest_errors_on_the_development_sets_and_has_its_rate():
    found = suggest(make_corpus(), LAPTOP)
    grid = read_evidence("whisper_base_more", "whisper_base_more")
    rates = {arm: grid.mean(of) for arm, of in grid.contenders.items()}
    assert rates[grid.arm] == min(rates.values()) and len(rates) > 3 and len(grid.corpora) > 1
    rate = find(found, "learning rate")
    chosen = json.loads((ROOT / rate.source).read_text())[grid.arm]
    assert rate.value == f"{chosen:g}"
    assert f"--optim_conf lr={chosen:g}" in found.commands[-1]
    assert f"{min(rates.values()):.1f}" in find(found, "mixer").why


def test_an_arm_that_learns_from_attention_first_gets_its_steps(monkeypatch):
    monkeypatch.setattr(evidence.Evidence, "arm", "wsm_heads_transfer")
    found = suggest(make_corpus(), LAPTOP)
    assert find(found, "transfer").value == "400 steps" and find(found, "mixer").value == "wsm_heads"
    assert "--mixer wsm_heads --num_replaced 2 --transfer 400" in found.commands[-1]


@pytest.mark.parametrize(
    ("minutes", "steps", "says"),
    [
        (20, 300, "a training took "),
        (5, 300, "those of the grid, for 5 to "),
        (3, 300, "no grid of ours has this"),
    ],
)
def test_steps_are_those_of_the_grid(minutes, steps, says):
    found = suggest(make_corpus(minutes), LAPTOP)
    assert find(found, "steps").value == str(steps) and says in find(found, "steps").why
    epochs = steps // 50
    assert f"--max_epoch {epochs} --num_iters_per_epoch 50" in found.commands[-1]
    assert f"max_steps={steps}" in found.commands[-1]


def test_with_more_speech_than_the_grid_there_are_as_many_passes():
    most = suggest(make_corpus(), LAPTOP).case.measured_minutes[1]
    steps = find(suggest(make_corpus(10 * most), LAPTOP), "steps")
    assert steps.value == "3000"
    assert steps.why.startswith(
        f"as many passes as {most:.0f} min of speech had in the grid, which has no more"
    )


def test_long_utterances_are_counted_and_are_to_be_cut():
    found = suggest(make_corpus(60, seconds=40.0), LAPTOP)
    assert "90 of yours (60.0 min) are longer and would be left out" in find(found, "longest").why
    assert any("longer than 30 s (95 % are below 40 s): cut them" in each for each in found.cautions)
    assert "--max_wav_duration 30" in found.commands[-1]
    assert "none of yours is longer" in find(suggest(make_corpus(seconds=25.0), LAPTOP), "longest").why


def test_tiny_data_are_for_a_trial_with_what_is_there():
    found = suggest(make_corpus(0.5), CARD)
    assert find(found, "upstream").value == "the one in the box" and not found.alternatives
    assert any(each.startswith("30 s of speech are too little to learn from") for each in found.cautions)
    assert len(found.commands) == 1 and "hubert_debian_multi" in found.commands[0]
    assert find(found, "num_replaced").value == "8" and "--speed_perturb '0.9 1.0 1.1'" in found.commands[0]


def test_speakers_scripts_and_memory_are_cautions():
    said = suggest(make_corpus(speakers=1), LAPTOP).cautions
    assert said == ("one speaker: the scores will say nothing of other voices",)
    said = suggest(make_corpus(speakers=None, unspaced="Thai"), Machine(2, 4.0)).cautions
    assert [each.split(":")[0] for each in said] == [
        "nothing says who speaks (utt2spk)",
        "Thai has no spaces between words",
        "less than 8 GB of memory",
    ]
    assert suggest(make_corpus(), LAPTOP).cautions == ()


def test_a_gpu_is_used_and_larger_upstreams_that_fit_are_named_as_not_measured():
    found = suggest(make_corpus(), CARD)
    assert "--nj 1 --ngpu 1" in found.commands[-1] and "num_threads" not in found.commands[-1]
    assert [each.name for each in found.alternatives] == ["mms_300m", "whisper_small"]
    assert all("No grid of ours has this" in each.why for each in found.alternatives)
    assert "arXiv 2406.06371" in found.alternatives[0].source
    assert not suggest(make_corpus(), LAPTOP).alternatives
    assert "--nj 2 --num_threads 2" in suggest(make_corpus(), LAPTOP).commands[-1]


def test_a_batch_shrinks_to_what_a_small_card_holds():
    small = suggest(make_corpus(), Machine(8, 64.0, 1, 1.5))
    limit = read_card_limit("whisper_base", 1.5)
    assert limit == pytest.approx((0.9 * 1.5 - 1.17) / 0.0202) and 1 < limit < 30
    assert find(small, "batch").value == f"{int(limit)} s"
    assert f"--batch_bins {16000 * int(limit)} " in small.commands[-1] and not small.alternatives


def test_run_sh_takes_the_line_from_where_the_user_stands(plain_shell, make_data, tmp_path):
    folder = make_data(seconds=(30.0, 31.0), name="kaldi")
    line = suggest(read_corpus(folder), LAPTOP).commands[-1]
    words = ["--stage", "5", "--dump_dir", str(tmp_path / "dump"), "--exp_dir", str(tmp_path / "exp")]
    result = plain_shell([*shlex.split(line), *words], ROOT)
    assert result.stderr.splitlines()[0] == f"error: {tmp_path}/dump does not exist; run stage 2 first"


def test_sets_that_lie_side_by_side_are_given_together(make_data):
    folder = make_data()
    assert f"--downloads {folder} " in suggest(read_corpus(folder), LAPTOP).commands[-1]
    make_data(name="data/dev", speaker="boris")
    make_data(name="data/test", speaker="carla")
    assert f"--downloads {folder.parent} " in suggest(read_corpus(folder), LAPTOP).commands[-1]


def test_paths_in_the_lists_of_a_recipe_count_from_its_folder(make_data, tmp_path, monkeypatch, capsys):
    (recipe := tmp_path / "egs/mine/asr1").mkdir(parents=True)
    (recipe / "run.sh").touch()
    folder = make_data((5.0,), name="egs/mine/asr1/data/train", wav_scp=["anna-00 ../../../0.wav"])
    for place, given in ((tmp_path, folder.relative_to(tmp_path)), (recipe, Path("data/train"))):
        monkeypatch.chdir(place)
        main([str(given)])
        assert Path.cwd() == place and "0.1 min, 1 utterance" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "begins"),
    [
        ("data/train", "./run.sh --stage 2 --tag "),
        ("data/it/train_1h", "./run.sh --stage 2 --lang it --train_set train_1h --tag "),
    ],
)
def test_data_of_a_recipe_are_trained_there(make_data, tmp_path, monkeypatch, place, begins):
    (recipe := tmp_path / "egs/mine/asr1").mkdir(parents=True)
    (recipe / "run.sh").touch()
    make_data(name=f"egs/mine/asr1/{place}")
    monkeypatch.chdir(recipe)
    monkeypatch.setattr(suggestion, "ROOT", tmp_path)
    line = suggest(make_corpus(directory=Path(place)), LAPTOP).commands[-1]
    assert line.startswith(begins) and "--train_config ../../../conf/train_ctc.yaml" in line
    assert "--upstream ../../../upstreams/whisper_base" in line


def test_a_fetch_comes_first_where_the_upstream_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(suggestion, "ROOT", tmp_path)
    assert (
        suggest(make_corpus(), LAPTOP).commands[0].startswith("espnet-wsm fetch_upstream whisper_base --to")
    )
    (tmp_path / "upstreams/whisper_base").mkdir(parents=True)
    assert len(suggest(make_corpus(), LAPTOP).commands) == 1


def test_the_page_is_short_and_ends_with_the_line(make_data, capsys):
    folder = make_data(seconds=(30.0, 31.0))
    main([str(folder), "--ngpu", "1", "--gpu_memory_gb", "24", "--cores", "4", "--memory_gb", "32"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "machine  4 cores, 32 GB of memory, 1 GPU of 24 GB"
    assert "run.sh --downloads" in lines[-1]
    table = [line for line in lines[2:] if "run.sh" not in line and "fetch_upstream" not in line]
    assert len(lines) < 60 and max(map(len, table)) <= 110


def test_json_has_the_same(make_data, capsys):
    folder = make_data(seconds=(30.0, 31.0))
    main([str(folder), "--format", "json", "--ngpu", "0", "--memory_gb", "4"])
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["minutes"] == pytest.approx(61 / 60) and found["machine"]["ngpu"] == 0
    assert {each["name"] for each in found["settings"]} > {"upstream", "mixer", "steps", "token type"}
    assert all(each["why"] and each["source"] for each in found["settings"])
    assert found["cautions"] and "run.sh" in found["commands"][-1]


@pytest.mark.parametrize(
    ("lists", "options", "message"),
    [
        ({}, ["--ngpu", "-1"], "--ngpu -1: give a number of 0 or more"),
        ({}, ["--memory_gb", "0"], "--memory_gb 0: give a number of 0.1 or more"),
        ({}, ["--memory_gb", "nan"], "--memory_gb nan: give a number"),
        (
            {},
            ["--ngpu", "0", "--gpu_memory_gb", "8"],
            "--gpu_memory_gb 8: there is no GPU: give --ngpu 1 too",
        ),
        (
            {"text": None},
            [],
            "has no text: nothing can be fine-tuned without transcripts; such speech is for",
        ),
        ({"text": []}, [], "text is empty: it needs one line per utterance"),
        ({"wav_scp": None}, [], "wav.scp does not exist"),
        ({"wav_scp": ["anna-00 nowhere.wav"]}, [], "nowhere.wav does not exist"),
        ({"text": ["anna-00 a", "anna-01", "anna-02 c"]}, [], "anna-01 has an empty transcript"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(make_data, capsys, lists, options, message):
    folder = make_data(**lists)
    with pytest.raises(SystemExit):
        main([str(folder), *options])
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none")])
    assert "none is not a folder: name a Kaldi data directory, e.g. data/train" in capsys.readouterr().err


def test_without_the_records_it_says_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="suggestions come from the records of the experiments"):
        read_evidence.__wrapped__("whisper_base", "whisper_base")
