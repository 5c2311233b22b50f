"""The command lines take ESPnet's arguments and train, resume and decode."""

import errno
import json
import os
import re

import pytest
import torch
import yaml
from espnet2.asr.espnet_model import ESPnetASRModel
from tiny_training import decode_arguments

from espnet_wsm.bin import asr_inference, asr_inference_greedy, asr_train
from espnet_wsm.plugin import trainer
from espnet_wsm.plugin.numbers import parse_training
from espnet_wsm.plugin.task import WsmASRTask
from espnet_wsm.recipe.progress import read_progress


def test_training_records_the_model_and_moves_the_suffix_only(training_arguments, upstream_path, tmp_path):
    torch.manual_seed(0)
    asr_train.main(training_arguments(tmp_path / "exp"))
    exp = tmp_path / "exp"
    record = json.loads((exp / "parameters.json").read_text())
    assert 0 < record["trainable"] < record["total"] and record["upstream"]["name"] == "hf_hubert_custom"
    conf = yaml.safe_load((exp / "config.yaml").read_text())["encoder_conf"]
    assert record["upstream"]["path"] == conf["upstream"] == upstream_path("hf_hubert", True)
    assert conf["num_replaced"] == 2 and conf["trainable"] == "layer" and conf["window"] == 3
    one, two = (torch.load(exp / f"{n}epoch.pth") for n in (1, 2))
    assert not any(k.startswith("encoder.prefix.") for k in one)
    assert any(not torch.equal(one[k], two[k]) for k in one if k.startswith("encoder.suffix."))


@pytest.mark.parametrize("mixer", ["wsm", "wsm_heads", "attention"])
def test_what_came_with_the_upstream_can_have_a_rate_of_its_own(training_arguments, tmp_path, mixer):
    words = [
        "--encoder_conf",
        f"mixer={mixer}",
        "--encoder_conf",
        "windows=3",
        "--pretrained_lr_scale",
        "0.25",
    ]
    args = parse_training(WsmASRTask.get_parser(), [*training_arguments(tmp_path / "exp"), *words])
    model = WsmASRTask.build_model(args)
    (optimizer,) = WsmASRTask.build_optimizers(args, model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates.pop(id(p)) for name, p in model.named_parameters() if p.requires_grad}
    lower = {name for name in found if name.startswith("encoder.suffix.") and ".mixer." not in name}
    assert any(".feed_forward." in name for name in lower) and any(name.startswith("ctc.") for name in found)
    assert {name: rate for name, rate in found.items() if rate != 0.01} == dict.fromkeys(lower, 0.0025)
    assert any(".attention." in name for name in lower) == (mixer == "attention")


@pytest.mark.parametrize(
    ("words", "fused"),
    [
        (("--optim", "adamw"), True),
        (("--optim", "adam"), True),
        (("--optim", "adam", "--optim_conf", "fused=false"), False),
        (("--optim", "adam", "--optim_conf", "foreach=true"), None),
        (("--optim", "sgd"), None),
        (("--optim", "adam", "--ngpu", "1"), None),
    ],
)
def test_a_step_on_a_cpu_is_fused_where_there_is_such_a_form(training_arguments, tmp_path, words, fused):
    words = [*training_arguments(tmp_path / "exp"), *words]
    args = parse_training(WsmASRTask.get_parser(), words)
    args.encoder, conf = "other", dict(args.optim_conf)
    (optimizer,) = WsmASRTask.build_optimizers(args, torch.nn.Linear(2, 1))
    assert optimizer.param_groups[0].get("fused") == fused and args.optim_conf == conf


def test_what_came_with_the_upstream_can_wait_and_a_resumed_training_knows_how_long(
    training_arguments, tmp_path
):
    """One step an epoch: it waits for the first two."""
    arguments = training_arguments(tmp_path / "exp", max_epoch=1)
    asr_train.main([*arguments, "--pretrained_from_step", "2"])
    arguments = training_arguments(tmp_path / "exp", max_epoch=3)
    asr_train.main([*arguments, "--pretrained_from_step", "2", "--resume", "true"])
    second, third = (torch.load(tmp_path / f"exp/{epoch}epoch.pth") for epoch in (2, 3))
    args = parse_training(WsmASRTask.get_parser(), training_arguments(tmp_path / "other"))
    model = WsmASRTask.build_model(args)
    waiting = {id(parameter) for parameter in model.encoder.list_pretrained()}
    start = dict(model.named_parameters())
    unmoved = {name for name in start.keys() & second.keys() if torch.equal(second[name], start[name])}
    assert unmoved == {name for name, p in start.items() if id(p) in waiting} != set()
    assert {name for name in unmoved if torch.equal(second[name], third[name])} == set()


@pytest.mark.parametrize(
    ("option", "said"), [("--pretrained_lr_scale", "-1.0"), ("--pretrained_from_step", "-1")]
)
def test_a_rate_or_a_number_below_zero_is_refused(training_arguments, tmp_path, capsys, option, said):
    with pytest.raises(SystemExit):
        asr_train.main([*training_arguments(tmp_path / "exp"), option, "-1"])
    assert f"{option} has to be 0 or more, got {said}" in capsys.readouterr().err


def test_a_resumed_training_equals_an_uninterrupted_one(training_arguments, tmp_path):
    asr_train.main(training_arguments(tmp_path / "whole", max_epoch=3))
    asr_train.main(training_arguments(tmp_path / "parts", max_epoch=1))
    asr_train.main([*training_arguments(tmp_path / "parts", max_epoch=3), "--resume", "true"])
    whole, parts = (torch.load(tmp_path / name / "3epoch.pth") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_file_system_without_symbolic_links_gets_copies(training_arguments, tmp_path, monkeypatch):
    def refuse(target, link, *_args, **_kwargs) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", target, None, link)

    monkeypatch.setattr(os, "symlink", refuse)
    exp = tmp_path / "exp"
    asr_train.main(training_arguments(exp, max_epoch=1))
    for epochs in (2, 3):
        asr_train.main([*training_arguments(exp, max_epoch=epochs), "--resume", "true"])
    assert (exp / "latest.pth").read_bytes() == (exp / "3epoch.pth").read_bytes()
    averages = {file.name for file in exp.glob("valid.*.ave.pth")}
    assert averages and not any(file.is_symlink() for file in exp.iterdir())
    assert {file.name for file in exp.glob("valid.*.best.pth")}


@pytest.fixture
def written(monkeypatch):
    """What trainings write of their progress: epochs done, of how many, figures, and perhaps a note."""
    states = []
    write = trainer.write_progress

    def record(file, *words, note) -> None:
        states.append((*words, note) if note else words)
        write(file, *words, note=note)

    monkeypatch.setattr(trainer, "write_progress", record)
    return states


def test_a_file_says_how_far_an_interrupted_and_a_resumed_training_are(
    training_arguments, tmp_path, written, monkeypatch
):
    words = [*training_arguments(tmp_path / "exp", max_epoch=3), "--resume", "true"]
    validate = trainer.Trainer.validate_one_epoch.__func__

    def interrupt(cls, **kwargs) -> None:
        if kwargs["reporter"].epoch == 2:
            raise KeyboardInterrupt
        validate(cls, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.Trainer, "validate_one_epoch", classmethod(interrupt))
        asr_train.main(words)
    file = tmp_path / "exp/train.progress.json"
    states = torch.load(tmp_path / "exp/checkpoint.pth")["reporter"]["stats"]
    figures = {"valid cer_ctc": states[1]["valid"]["cer_ctc"], "valid loss": states[1]["valid"]["loss"]}
    assert written == [(0, 3, {}), (1, 3, figures), (1, 3, figures)]
    state = read_progress(file)
    assert (state["done"], state["total"], state["figures"]) == (1, 3, pytest.approx(figures))
    written.clear()
    asr_train.main(words)
    assert [state[:2] for state in written] == [(1, 3), (2, 3), (2, 3), (3, 3)]
    assert written[0][2] == {} and written[1][2].keys() == figures.keys()
    assert read_progress(file)["done"] == 3
    written.clear()
    asr_train.main(words)
    assert written == [], "nothing is left to train"


def test_figures_that_are_no_numbers_are_not_written(training_arguments, tmp_path, written, monkeypatch):
    forward = ESPnetASRModel.forward

    def broken(self, **batch):
        loss, stats, weight = forward(self, **batch)
        return loss, stats if self.training else stats | {"loss": stats["loss"] * float("nan")}, weight

    monkeypatch.setattr(ESPnetASRModel, "forward", broken)
    asr_train.main(training_arguments(tmp_path / "exp", max_epoch=1))
    assert list(written[-1][2]) == ["valid cer_ctc"]


@pytest.fixture
def break_steps(monkeypatch):
    """``break_steps(fault)`` lets ``fault(loss)`` make something of the loss of every training step."""

    def apply(fault) -> None:
        forward = ESPnetASRModel.forward

        def broken(self, **batch):
            loss, stats, weight = forward(self, **batch)
            return (fault(loss) if self.training else loss), stats, weight

        monkeypatch.setattr(ESPnetASRModel, "forward", broken)

    return apply


@pytest.mark.parametrize(
    ("steps", "told"), [(2, "no step of this epoch could be used"), (30, "in 10 consecutive steps")]
)
def test_losses_that_are_no_numbers_stop_the_training_and_name_the_batch(
    training_arguments, tmp_path, capsys, break_steps, steps, told
):
    exp = tmp_path / "exp"
    asr_train.main(training_arguments(exp, max_epoch=1))
    before = (exp / "checkpoint.pth").read_bytes()
    break_steps(lambda loss: loss * float("nan"))
    with pytest.raises(SystemExit) as stop:  # an epoch is two batches, or many
        more = {"max_epoch": 2, "num_iters_per_epoch": steps}
        asr_train.main([*training_arguments(exp, **more), "--resume", "true"])
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert told in message and re.search(r"longest u[123], 0\.[567] s", message)
    assert "look at the audio and text of these utterances" in message
    assert (exp / "checkpoint.pth").read_bytes() == before and not (exp / "2epoch.pth").exists()


def test_single_bad_steps_are_skipped_and_told(training_arguments, tmp_path, break_steps, caplog):
    steps = iter(range(10**6))
    break_steps(lambda loss: loss * (float("inf") if next(steps) % 3 == 0 else 1.0))
    asr_train.main(training_arguments(tmp_path / "exp", max_epoch=2, num_iters_per_epoch=15))
    weights = torch.load(tmp_path / "exp/2epoch.pth")
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
    assert caplog.text.count("this step is skipped") == 10


def test_a_batch_too_large_for_the_gpu_is_named_with_what_to_change(
    training_arguments, tmp_path, capsys, break_steps
):
    def fault(loss):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    break_steps(fault)
    with pytest.raises(SystemExit) as stop:
        asr_train.main(training_arguments(tmp_path / "exp", batch_size=3))
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert (
        "ran out of memory with a batch of 3 utterances (" in message
        and "longest u3, 0.7 s): lower --batch_bins" in message
    )


@pytest.fixture
def trained(training_arguments, tmp_path):
    """A trained experiment."""
    asr_train.main(training_arguments(tmp_path / "exp"))
    return tmp_path / "exp"


def test_greedy_decoding_does_not_depend_on_the_batch(corpus, trained, tmp_path):
    for size in ("1", "3"):
        asr_inference_greedy.main([*decode_arguments(corpus, trained, tmp_path / size), "--batch_size", size])
    texts = [(tmp_path / size / "1best_recog" / "text").read_text() for size in ("1", "3")]
    assert texts[0] == texts[1]
    assert [line.split(" ")[0] for line in texts[0].splitlines()] == ["u1", "u2", "u3"]


def test_espnets_beam_search_decodes_the_same_utterances(corpus, trained, tmp_path):
    asr_inference.main(
        [*decode_arguments(corpus, trained, tmp_path / "beam"), "--ctc_weight", "1.0", "--beam_size", "2"]
    )
    lines = (tmp_path / "beam" / "1best_recog" / "text").read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["u1", "u2", "u3"]


@pytest.mark.parametrize("option", ["--asr_train_config", "--asr_model_file"])
def test_a_missing_model_says_what_to_run(corpus, trained, tmp_path, capsys, option):
    arguments = decode_arguments(corpus, trained, tmp_path / "out")
    arguments[arguments.index(option) + 1] = "nowhere.pth"
    with pytest.raises(SystemExit) as exit_:
        asr_inference_greedy.main(arguments)
    assert exit_.value.code == 1
    assert "nowhere.pth does not exist; train the model first" in capsys.readouterr().err


def test_greedy_decoding_needs_a_ctc_output(corpus, training_arguments, tmp_path, capsys):
    exp = tmp_path / "attention_only"
    changes = {
        "decoder": "transformer",
        "decoder_conf": {"num_blocks": 1, "linear_units": 16},
        "model_conf": {"ctc_weight": 0.0, "extract_feats_in_collect_stats": False},
        "max_epoch": 1,
    }
    asr_train.main(training_arguments(exp, **changes))
    with pytest.raises(SystemExit):
        asr_inference_greedy.main(decode_arguments(corpus, exp, tmp_path / "out"))
    assert "ctc_weight 0: greedy CTC decoding needs a CTC output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("mixer=transformer", "error: mixer has to be one of"),
        ("upstream=fbank", "error: upstream fbank is not supported"),
        ("num_replaced=7", "error: num_replaced is 7, but the upstream has only 3 layers"),
        ("upstream=nowhere/at_all", "error: upstream nowhere/at_all is neither a file nor a directory"),
        ("path=nowhere", "error: encoder_conf has no key path: write 'upstream: nowhere'"),
        ("widow=3", "error: encoder_conf has no key widow"),
    ],
)
def test_bad_encoder_settings_end_in_one_sentence(training_arguments, tmp_path, capsys, conf, message):
    with pytest.raises(SystemExit) as exit_:
        asr_train.main([*training_arguments(tmp_path / "exp"), "--encoder_conf", conf])
    assert exit_.value.code == 1 and message in capsys.readouterr().err
    assert not list((tmp_path / "exp").glob("*.pth"))
