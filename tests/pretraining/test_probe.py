"""A probe finds what is in the features, treats all of them alike, and says it in a table and a file."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from espnet_wsm.bin.probe_upstream import add_intervals, count_characters, main
from espnet_wsm.data.dump.lists import write_dump_lists
from espnet_wsm.data.kaldi.directory import Utterance
from espnet_wsm.data.text.tokens import make_token_list
from espnet_wsm.errors import UserError
from espnet_wsm.pretraining import linear_probe, probe
from espnet_wsm.pretraining.linear_probe import LabelledFrames, LinearProbe, ProbeSettings
from espnet_wsm.pretraining.probe import format_results
from espnet_wsm.upstream import find_checkpoint

TOKENS = ["<blank>", "<unk>", "<space>", "a", "b", "<sos/eos>"]
TONES = {"a": 300, "b": 900, "c": 2700, " ": 5000}
LETTER = 2400  # samples


def write_set(directory: Path, texts: list[str]) -> None:
    """Each letter is a tone of its own, with noise."""
    rng = np.random.default_rng(len(texts))
    (directory / "audio").mkdir(parents=True)
    utterances, sizes = [], {}
    for number, text in enumerate(texts):
        phases = [2 * np.pi * TONES[letter] * np.arange(LETTER) / 16000 for letter in text]
        samples = 0.3 * np.sin(np.concatenate(phases)) + 0.01 * rng.standard_normal(LETTER * len(text))
        uid = f"u{number:02}"
        soundfile.write(directory / "audio" / f"{uid}.flac", samples, 16000)
        utterances.append(Utterance(uid, str(directory / "audio" / f"{uid}.flac"), text, "u"))
        sizes[uid] = len(samples)
    write_dump_lists(directory, utterances, sizes)


@pytest.fixture(scope="module")
def dump(tmp_path_factory) -> Path:
    """As stage 2 of a recipe leaves it; no two equal letters in a row, which would need a pause between."""
    folder = tmp_path_factory.mktemp("dump")
    words = [
        "".join(letters)
        for letters in itertools.product("abc", repeat=4)
        if all(one != two for one, two in itertools.pairwise(letters))
    ]
    texts = [f"{one} {two}" for one, two in itertools.pairwise(words)]
    for name, part in (("train", texts[:14]), ("dev", texts[14:18]), ("test", texts[18:])):
        write_set(folder / "raw" / name, part)
    make_token_list(folder / "raw/train/text", folder / "token_list/char", "char", 0)
    return folder


def make_labelled(texts: list[str], seed: int = 0) -> tuple[torch.Tensor, LabelledFrames]:
    """Features that name the letter in the middle of its frames, and the blank around it."""
    generator = torch.Generator().manual_seed(seed)
    frames, lengths, targets = [], [], []
    for text in texts:
        ids = [TOKENS.index("<space>" if letter == " " else letter) for letter in text]
        path = torch.tensor([each for letter in ids for each in (0, letter, letter, 0)])
        frames.append(torch.eye(len(TOKENS))[path] + 0.1 * torch.randn(len(path), 6, generator=generator))
        lengths.append(len(path))
        targets.append(torch.tensor(ids))
    return torch.cat(frames), LabelledFrames(torch.empty(0), lengths, texts, targets)


SETS = {"train": make_labelled(["ab a", "ba", "bb ab", "a"] * 5), "dev": make_labelled(["aab", "b a"], 1)}


def test_what_lies_plainly_in_the_features_is_found(monkeypatch):
    monkeypatch.setattr(linear_probe, "BATCH_FRAMES", 40)
    linear = LinearProbe(TOKENS, count_characters, ProbeSettings(max_epoch=20, patience=20))
    layer, error, epoch, epochs = linear.train(SETS, 0.1)
    assert error == 0 and 1 <= epoch <= epochs == 20
    assert linear.measure(layer, *make_labelled(["abba ab b"], 2)) == 0
    assert layer.weight.shape == (6, 6)


def test_the_best_epoch_of_dev_counts_and_training_stops_when_none_is_better():
    errors = iter([50, 40, 45, 44, 43, 1])
    kept = []

    def score(_, hypotheses) -> tuple[list[int], list[int]]:
        kept.append(list(hypotheses))
        return [next(errors)], [100]

    linear = LinearProbe(TOKENS, score, ProbeSettings(max_epoch=20, patience=3))
    layer, error, epoch, epochs = linear.train(SETS, 0.03)
    assert (error, epoch, epochs) == (40.0, 2, 5)
    linear.score = lambda _, hypotheses: kept.append(list(hypotheses)) or ([0], [1])
    linear.measure(layer, *SETS["dev"])
    assert kept[-1] == kept[1], "the layer of the best epoch"


def test_the_same_seed_gives_the_same_layer(monkeypatch):
    monkeypatch.setattr(linear_probe, "BATCH_FRAMES", 40)
    layers = [
        LinearProbe(TOKENS, count_characters, ProbeSettings(max_epoch=3, seed=seed))
        .train(SETS, 0.03)[0]
        .weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(layers[0], layers[1]) and not torch.equal(layers[0], layers[2])


def test_the_loss_of_joined_utterances_is_that_of_each():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 5, generator=generator, requires_grad=True)
    targets = [torch.tensor([1, 2, 2]), torch.tensor([3, 4])]
    parts = [
        torch.nn.functional.ctc_loss(
            part.log_softmax(-1), target, (len(part),), (len(target),), reduction="sum"
        )
        for part, target in zip(logits.split([18, 12]), targets, strict=True)
    ]
    torch.testing.assert_close(linear_probe._ctc_loss(logits, [18, 12], targets), sum(parts) / 5)


def test_batches_cover_all_frames_in_their_order(monkeypatch):
    monkeypatch.setattr(linear_probe, "BATCH_FRAMES", 10)
    lengths = [3, 4, 4, 25, 5, 5, 1]
    batches = linear_probe._make_batches(lengths)
    assert [lengths[utterances] for utterances, _ in batches] == [[3, 4], [4], [25], [5, 5], [1]]
    assert [(frames.start, frames.stop) for _, frames in batches] == [
        (0, 7),
        (7, 11),
        (11, 36),
        (36, 46),
        (46, 47),
    ]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("ab c", "ab c", 0),
        ("ab c", "", 100),
        ("ab c", "abc", 25),
        ("abc", " a  b c ", 200 / 3),
        ("a", "abcd", 300),
    ],
)
def test_characters_are_counted_as_in_stage_5(reference, hypothesis, rate):
    errors, characters = count_characters([reference, "b"], [hypothesis, "b"])
    assert errors == [pytest.approx(rate * len(reference) / 100), 0] and characters == [len(reference), 1]


def test_each_row_has_an_interval_and_its_gain_over_log_mel():
    rng = np.random.default_rng(0)
    kinds = {"log-mel": rng.integers(4, 7, 40), "upstream": rng.integers(1, 4, 40)}
    rows = [{"kind": kind, "test_errors": errors.tolist()} for kind, errors in kinds.items()]
    add_intervals({"test_characters": [10] * 40, "results": rows})
    mel, ours = rows
    assert mel["gain"] == [0, 0, 0] and mel["interval"][0] < 10 * kinds["log-mel"].mean() < mel["interval"][1]
    gain = 10 * (kinds["log-mel"] - kinds["upstream"]).mean()
    assert (mel["better"], ours["better"]) == ("no difference", "features better")
    assert ours["gain"][0] == pytest.approx(gain, abs=0.01) and 0 < ours["gain"][1] < gain < ours["gain"][2]


def test_the_command_compares_features_and_leaves_table_file_and_plot(dump, tmp_path, upstream_path, capsys):
    upstream = upstream_path("hf_hubert", False)
    out = tmp_path / "new/probe.json"
    words = ["--dump", dump, "--upstream", upstream, "--out", out, "--layers", 0, 3, "--max_epoch", 8]
    main([str(word) for word in (*words, "--learning_rates", 0.03, 0.1)])
    record = json.loads(out.read_text())
    assert (record["digest"], record["family"]) == (find_checkpoint(upstream).digest, "hf_hubert")
    assert record["learning_rates"] == [0.03, 0.1] and record["seed"] == 0
    assert record["minutes"]["train"] == pytest.approx(14 * 9 * LETTER / 16000 / 60, abs=0.02)
    rows = record["results"]
    assert [(row["kind"], row["layer"]) for row in rows] == [
        ("log-mel", None), ("upstream", 0), ("upstream", 3), ("random", 0), ("random", 3)
    ]  # fmt: skip
    assert rows[0]["dev_cer"] <= rows[0]["test_cer"] + 10 and rows[0]["test_cer"] < 15, "tones are easy"
    for row in rows:
        assert row["learning_rate"] in (0.03, 0.1) and 1 <= row["epoch"] <= 8 and 2 <= row["epochs"] <= 16
    assert rows[1]["test_cer"] != rows[3]["test_cer"]
    printed = capsys.readouterr().out
    assert (
        format_results(record) in printed
        and "log-mel 80     | " in printed
        and "random layer 3 | " in printed
    )
    with pytest.raises(SystemExit, match="1"):
        main([str(word) for word in (*words, "--card")])
    assert "README.md is no model card" in capsys.readouterr().err, "before anything is measured"
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_data_are_named_by_their_recipe_and_not_by_the_machine(tmp_path):
    assert probe._name_recipe(tmp_path / "egs/x/asr1/dump/en") == "egs/x/asr1/dump/en"
    assert probe._name_recipe(tmp_path / "dump") == "dump"


def copy_lists(dump: Path, place: Path) -> Path:
    """The dump without its audio, to be changed."""
    for file in (file for file in dump.rglob("*") if file.is_file() and "audio" not in file.parts):
        copied = place / file.relative_to(dump)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(file.read_bytes())
    return place


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("token_list/char/tokens.txt", "token_list/char/tokens.txt cannot be read"),
        ("raw/dev/text", r"raw/dev/text has no text of u00, u01, u02, u03: a probe needs texts"),
        ("raw/test/wav.scp", r"raw/test/wav.scp does not exist"),
    ],
)
def test_a_dump_that_lacks_something_is_refused(dump, tmp_path, upstream_path, capsys, missing, message):
    folder = copy_lists(dump, tmp_path / "dump")
    (folder / missing).unlink()
    words = ["--dump", str(folder), "--upstream", upstream_path("hf_hubert", True), "--max_epoch", "1"]
    with pytest.raises(SystemExit, match="1"):
        main([*words, "--learning_rates", "0.1"])
    assert message in capsys.readouterr().err


def test_an_unfinished_dump_and_impossible_efforts_are_refused(dump, tmp_path, upstream_path):
    folder = copy_lists(dump, tmp_path / "dump")
    (folder / ".unfinished").touch()
    with pytest.raises(UserError, match="dump is unfinished: run stage 2 of its recipe again"):
        probe.probe_upstream(upstream_path("hf_hubert", True), folder, count_characters, ProbeSettings())
    for settings in (
        {"learning_rates": (0.1, 0.0)},
        {"learning_rates": ()},
        {"max_epoch": 0},
        {"patience": 0},
    ):
        with pytest.raises(UserError, match=f"--{next(iter(settings))}"):
            ProbeSettings(**settings)
