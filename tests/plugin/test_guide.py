"""Soft targets: a trained model says of every frame what it would predict, and another one learns from it."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from tiny_training import MODEL, decode_arguments, use_cache

from espnet_wsm.bin import asr_inference_greedy, asr_train
from espnet_wsm.errors import UserError
from espnet_wsm.plugin.arguments import read_arguments
from espnet_wsm.plugin.guide import Guide, find_guidance, soften

MASKS = {"apply_time_warp": False, "time_mask_width_ratio_range": [0.0, 0.3], "num_time_mask": 2}
ATTENTION = ["--encoder_conf", "mixer=attention"]


@pytest.fixture
def teacher(training_arguments, tmp_path) -> Path:
    """A fine-tuned attention model, lively enough to say different things of different frames."""
    asr_train.main([*training_arguments(tmp_path / "teacher"), *ATTENTION])
    file = tmp_path / "teacher/valid.loss.ave.pth"
    state = torch.load(file)
    state["ctc.ctc_lo.weight"] *= 10
    torch.save(state, file)
    return tmp_path / "teacher"


def clone(batch: dict) -> dict:
    return {name: value.clone() for name, value in batch.items()}


def loop(logits, targets, lengths, temperature):
    """The formula, frame by frame."""
    total = 0.0
    for utterance, frames in enumerate(lengths.tolist()):
        for frame in range(frames):
            scaled = (logits[utterance, frame] / temperature).exp()
            student, target = scaled / scaled.sum(), targets[utterance, frame].exp()
            for p, q in zip(target.tolist(), student.tolist(), strict=True):
                total += p * math.log(p / q)
    return temperature**2 * total / len(lengths)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_divergence_is_a_sum_over_valid_frames_and_a_mean_over_utterances(temperature):
    torch.manual_seed(0)
    logits, lengths = torch.randn(3, 6, 5), torch.tensor([6, 2, 4])
    targets = soften(torch.randn(3, 6, 5), temperature)
    expected = loop(logits, targets, lengths, temperature)
    assert expected > 1
    assert float(find_guidance(logits, targets, lengths, temperature)) == pytest.approx(expected, rel=1e-5)
    logits[1, 2:], targets[2, 4:] = float("nan"), float("nan")  # padding
    assert float(find_guidance(logits, targets, lengths, temperature)) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_logits_is_the_distance_of_the_posteriors():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5, requires_grad=True)
    targets = soften(torch.randn(2, 4, 5), 2.0)
    find_guidance(logits, targets, torch.tensor([4, 3]), 2.0).backward()
    expected = 2.0 * (soften(logits.detach(), 2.0).exp() - targets.exp()) / 2  # T^2 / T, mean of two
    expected[1, 3] = 0
    torch.testing.assert_close(logits.grad, expected)


def test_a_student_that_is_the_teacher_has_nothing_to_learn(build, batch, teacher):
    model = build({"guide": str(teacher)}, *ATTENTION)
    model.load_state_dict(torch.load(teacher / "valid.loss.ave.pth"))
    model.eval().training = True  # its parts drop nothing
    model.open_guide()
    _, stats, _ = model(**clone(batch))
    assert float(stats["loss_guide"]) == pytest.approx(0, abs=1e-4)
    model.guide_temperature = 3.0
    assert float(model(**clone(batch))[1]["loss_guide"]) == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        model.ctc.ctc_lo.bias[1] += 1
    assert float(model(**clone(batch))[1]["loss_guide"]) > 0.1


def test_the_loss_is_that_of_frames_which_the_teacher_hears_unmasked(build, batch, teacher):
    model = build(
        {"guide": str(teacher), "guide_weight": 0.25}, "--ctc_conf", "dropout_rate=0",
        specaug="specaug", specaug_conf=MASKS,
    )  # fmt: skip
    model.open_guide()
    heard = []
    model.ctc.ctc_lo.register_forward_hook(lambda _, args, out: heard.append(out.detach()))
    loss, stats, weight = model(**clone(batch))
    targets = model.guide.log_probs(batch["speech"], batch["speech_lengths"], 1.0)
    again = model.guide.log_probs(batch["speech"], batch["speech_lengths"], 1.0)
    assert torch.equal(targets, again) and not targets.requires_grad
    lengths = torch.tensor([49, 27, 38])
    expected = loop(heard[0], targets, lengths, 1.0)
    assert float(weight) == 3 and float(stats["loss_guide"]) == pytest.approx(expected, rel=1e-4)
    whole = 0.75 * float(stats["loss_ctc"]) + 0.25 * float(stats["loss_guide"])
    assert float(loss.detach()) == pytest.approx(whole, rel=1e-5)


def test_both_views_of_consistency_are_guided(build, batch, teacher):
    changes = {"specaug": "specaug", "specaug_conf": MASKS}
    model = build({"guide": str(teacher), "consistency": 0.2}, **changes)
    model.open_guide()
    outputs = []
    model.encoder.register_forward_hook(lambda _, args, out: outputs.append((out[0].detach(), out[1])))
    loss, stats, _ = model(**clone(batch))
    (encoded, lengths), *_ = outputs
    targets = model.guide.log_probs(batch["speech"], batch["speech_lengths"], 1.0)
    logits = model.ctc.ctc_lo(encoded)
    halves = [
        float(find_guidance(part, targets, lengths[:3], 1.0).detach()) for part in (logits[:3], logits[3:])
    ]
    assert halves[0] != pytest.approx(halves[1], rel=1e-4)
    assert float(stats["loss_guide"]) == pytest.approx(sum(halves) / 2, rel=1e-5)
    whole = sum(
        part * float(stats[f"loss_{name}"])
        for name, part in (("ctc", 0.5), ("guide", 0.5), ("consistency", 0.2))
    )
    assert float(loss.detach()) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("conf", [{"guide": None}, {"guide": "nowhere", "guide_weight": 0}])
def test_without_a_guide_or_its_weight_training_is_espnets_to_the_last_bit(build, batch, conf):
    losses = []
    for model in (build({}, "--model", "espnet"), build(conf)):
        torch.manual_seed(2)
        loss, stats, _ = model(**clone(batch))
        loss.backward()
        losses.append((loss, sorted(stats), [p.grad for p in model.parameters()]))
    (loss, names, grads), (other, other_names, others) = losses
    assert torch.equal(loss, other) and names == other_names
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(grads, others, strict=True))


def test_the_teacher_is_no_part_of_the_model_and_leaves_its_start_as_it_is(build, teacher):
    plain, model = build({}), build({"guide": str(teacher)})
    model.open_guide()
    drawn = torch.randn(1)
    assert torch.equal(drawn, (build({}), torch.randn(1))[1]), "as much chance is used as without"
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    assert sum(1 for _ in model.modules()) == sum(1 for _ in plain.modules())
    guide = model.guide
    model.train()
    assert not any(module.training for module in guide._model.modules())
    assert not any(parameter.requires_grad for parameter in guide._model.parameters())


def test_a_guided_training_learns_resumes_and_needs_no_guide_to_transcribe(
    training_arguments, corpus, teacher, tmp_path
):
    changes = {"model_conf": MODEL | {"guide": str(teacher)}}
    asr_train.main(training_arguments(tmp_path / "exp", **changes, max_epoch=1))
    asr_train.main(training_arguments(tmp_path / "exp", **changes, max_epoch=2))
    asr_train.main(training_arguments(tmp_path / "whole", **changes, max_epoch=2))
    asr_train.main(training_arguments(tmp_path / "alone", max_epoch=2))
    resumed, whole, alone = (torch.load(tmp_path / exp / "2epoch.pth") for exp in ("exp", "whole", "alone"))
    assert resumed.keys() == alone.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert any(not torch.equal(whole[name], alone[name]) for name in whole)
    log = (tmp_path / "whole/parameters.json").read_text()
    assert log == (tmp_path / "alone/parameters.json").read_text()
    teacher.rename(tmp_path / "gone")
    asr_inference_greedy.main(decode_arguments(corpus, tmp_path / "exp", tmp_path / "out"))
    assert len((tmp_path / "out/1best_recog/text").read_text().splitlines()) == 3


def test_stored_features_guide_as_waveforms_do(
    training_arguments, make_cache, teacher, tmp_path, monkeypatch
):
    cache = make_cache("float32")
    changes = {"model_conf": MODEL | {"guide": str(teacher / "valid.loss.ave.pth")}}
    asr_train.main(training_arguments(tmp_path / "fresh", **changes))
    monkeypatch.setattr("espnet_wsm.plugin.encoder.load_upstream", None)
    asr_train.main(use_cache(training_arguments(tmp_path / "stored", **changes), cache))
    fresh, stored = (torch.load(tmp_path / exp / "2epoch.pth") for exp in ("fresh", "stored"))
    for name, value in fresh.items():
        torch.testing.assert_close(stored[name], value, atol=1e-6, rtol=1e-5)


def test_a_teacher_that_is_cut_elsewhere_guides_from_waveforms_alone(
    training_arguments, make_cache, teacher, tmp_path
):
    more = ["--encoder_conf", "num_replaced=1"]
    conf = {"model_conf": MODEL | {"guide": str(teacher)}, "max_epoch": 1}
    asr_train.main([*training_arguments(tmp_path / "fresh", **conf), *more])
    cache = make_cache("float32", *more)
    with pytest.raises(SystemExit):
        asr_train.main(use_cache([*training_arguments(tmp_path / "stored", **conf), *more], cache))
    assert not list((tmp_path / "stored").glob("*.pth"))


def test_an_utterance_without_text_adds_its_divergence_alone(build, batch, teacher):
    model = build({"guide": str(teacher)}, "--ctc_conf", "dropout_rate=0")
    model.eval().training = True
    whole = model(**clone(batch))[1]
    alone = [
        float(model(**{name: value[each : each + 1].clone() for name, value in batch.items()})[1]["loss_ctc"])
        for each in range(3)
    ]
    assert float(whole["loss_ctc"]) == pytest.approx(sum(alone) / 3, rel=1e-4)
    untold = clone(batch)
    untold["text_lengths"][0], untold["text"][0] = 0, -1
    loss, stats, weight = model(**clone(untold))
    assert float(weight) == 3 and float(stats["loss_guide"]) == float(whole["loss_guide"])
    assert float(stats["loss_ctc"]) == pytest.approx((alone[1] + alone[2]) / 3, rel=1e-4)
    untold["text_lengths"][:], untold["text"][:] = 0, -1
    loss, stats, _ = model(**clone(untold))
    loss.backward()
    assert float(stats["loss_ctc"]) == 0
    assert float(loss.detach()) == pytest.approx(0.5 * float(stats["loss_guide"]))
    assert model.ctc.ctc_lo.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("stored", [False, True], ids=["waveforms", "stored"])
def test_training_lists_may_have_speech_without_text(
    training_arguments, corpus, make_cache, teacher, tmp_path, stored
):
    cache = make_cache("float32")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "text").write_text("u1 AB\nu2\nu3\n")
    (lists / "feats.scp").write_text((cache / "train/feats.scp").read_text())
    words = training_arguments(tmp_path / "exp", model_conf=MODEL | {"guide": str(teacher)}, max_epoch=1)
    words = use_cache(words, cache) if stored else words
    words = [word.replace(str(cache / "train/feats.scp"), str(lists / "feats.scp")) for word in words]
    place = words.index("--train_data_path_and_name_and_type", words.index("--train_shape_file") - 3) + 1
    assert words[place].endswith("/text,text,text")
    words[place] = f"{lists / 'text'},text,text"
    asr_train.main(words)
    state = torch.load(tmp_path / "exp/1epoch.pth")
    assert all(value.isfinite().all() for value in state.values())
    log = yaml.safe_load((tmp_path / "exp/config.yaml").read_text())
    assert log["train_data_path_and_name_and_type"][1][0] == str(lists / "text")


def open_guide(build, teacher: Path, *options: str) -> None:
    build({"guide": str(teacher)}, *options).open_guide()


def change_config(teacher: Path, change: dict) -> None:
    conf = yaml.safe_load((teacher / "config.yaml").read_text())
    (teacher / "config.yaml").write_text(yaml.safe_dump(conf | change))


def test_what_cannot_guide_this_model_is_refused_with_the_reason(build, teacher, tmp_path, make_cache):
    from test_cached_training import change_upstream

    upstream = yaml.safe_load((teacher / "config.yaml").read_text())["encoder_conf"]["upstream"]
    other = change_upstream(Path(upstream), tmp_path / "other")
    with pytest.raises(UserError, match=r"model_conf.guide: .* was trained on the upstream .* take a guide"):
        open_guide(build, teacher, "--encoder_conf", f"upstream={other}")
    cache = make_cache("float32", "--encoder_conf", "num_replaced=1")
    model = build({}, "--encoder_conf", "num_replaced=1")
    model.encoder.cache = str(cache)
    with pytest.raises(
        UserError, match=r"is cut above layer 1, and the stored features .* those above layer 2"
    ):
        Guide(str(teacher), model.encoder, model.token_list)
    change_config(teacher, {"token_list": ["<blank>", "<unk>", "A", "<sos/eos>"]})
    with pytest.raises(UserError, match=r"has other tokens \(4\) than this training \(7\)"):
        open_guide(build, teacher)
    change_config(teacher, {"frontend": "default"})
    with pytest.raises(UserError, match="is no encoder wsm_s3prl with a CTC output"):
        open_guide(build, teacher)


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"guide": "exp/no"}, "model_conf.guide: exp/no does not exist: name an experiment's folder"),
        (
            {"guide": True},
            "model_conf.guide has to be the folder of an experiment, or a checkpoint, got True",
        ),
        ({"guide_weight": 1.5}, "model_conf.guide_weight has to be from 0 to 1, got 1.5"),
        ({"guide_temperature": 0}, "model_conf.guide_temperature has to be above 0, got 0"),
        ({"guide_weight": "much"}, "model_conf.guide_weight has to be a number, got 'much'"),
        ({"guide": "exp/no", "ctc_weight": 0.3}, "but ctc_weight is 0.3: set it to 1, or guide to null"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_stage_2(refuse, conf, reason):
    refuse({"ctc_weight": 1.0} | conf, reason)


def test_folders_that_hold_no_trained_model_are_refused_before_stage_2(refuse, tmp_path):
    folder = tmp_path / "exp"
    folder.mkdir()
    conf = {"ctc_weight": 1.0, "guide": str(folder)}
    refuse(conf, f"{folder} has no config.yaml: name an experiment's folder")
    criteria = [["train", "loss", "min"], ["valid", "cer_ctc", "min"]]
    config = {"encoder": "wsm_s3prl", "best_model_criterion": criteria, "model_conf": {"ctc_weight": 0}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    refuse(conf, "has no valid.cer_ctc.ave.pth or train.loss.ave.pth: finish its training (stage 3), or name")
    (folder / ".unfinished").touch()
    refuse(conf, f"{folder} is unfinished: let its training (stage 3) end, or name a checkpoint in it")
    (folder / ".unfinished").unlink()
    (folder / "valid.cer_ctc.ave.pth").touch()
    refuse(conf, "valid.cer_ctc.ave.pth is no encoder wsm_s3prl with a CTC output")
    change_config(folder, {"model_conf": {"ctc_weight": 1}, "encoder": "conformer"})
    refuse(conf, "valid.cer_ctc.ave.pth is no encoder wsm_s3prl with a CTC output")
    change_config(folder, {"encoder": "wsm_s3prl"})
    read_arguments(["--config", str(tmp_path / "train.yaml")])


def test_espnets_own_model_has_no_such_key(refuse):
    conf = {"guide": "exp", "ctc_weight": 1.0}
    refuse(conf, "model espnet has no guide: leave `model` out", model="espnet")
