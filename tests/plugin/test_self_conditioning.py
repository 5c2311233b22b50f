"""Intermediate CTC, and layers that are conditioned on it: in training, decoding, streams and graphs."""

import json
from pathlib import Path

import pytest
import torch
from tiny_training import MODEL, TOKENS, decode_arguments

from espnet_wsm.bin import asr_inference, asr_inference_greedy, asr_train
from espnet_wsm.deploy.graph import OneRecording
from espnet_wsm.errors import UserError
from espnet_wsm.plugin.blanks import TokenCounter
from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.recognition.acoustic_model import load_model
from espnet_wsm.upstream import WsmConfig

# Of the three layers of the tiny upstreams, all are above the cut, and the second one has a CTC.
LAYERS = ("num_replaced=3", "interctc_layer_idx=[2]")
CONDITIONED = (*LAYERS, "interctc_use_conditioning=true")
WEIGHT = {"interctc_weight": 0.3}
EXACT = {"atol": 1e-5, "rtol": 0}


def words(conf: tuple[str, ...]) -> list[str]:
    return [word for part in conf for word in ("--encoder_conf", part)]


def clone(batch: dict) -> dict:
    return {name: value.clone() for name, value in batch.items()}


def silence_dropout(model: torch.nn.Module) -> torch.nn.Module:
    """In training, but its parts drop nothing."""
    model.eval().training = True
    return model


def run_layer_by_layer(model, wav: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The paper's formulas on one utterance: the output, and what CTC hears of the second layer."""
    encoder = model.encoder
    x, _ = encoder.prefix([wav])
    suffix, heard = encoder.suffix, None
    norm = suffix.final_norm or (lambda x: x)
    for number, layer in enumerate(suffix.layers, 1):
        x = suffix.family.run_layers([layer], x, None, suffix.shared)
        if number == 2:
            heard = norm(x)
            logits = model.ctc.ctc_lo(heard)
            posteriors = (logits - logits.amax(dim=-1, keepdim=True)).exp()
            posteriors = posteriors / posteriors.sum(dim=-1, keepdim=True)
            layer = encoder.conditioning_layer
            x = x + posteriors @ layer.weight.T + layer.bias
    return norm(x), heard


@pytest.mark.parametrize(("family", "pre_norm"), [("hf_hubert", True), ("wav2vec2", False), ("wavlm", False)])
def test_the_next_layer_hears_what_ctc_predicts(build, upstream_path, batch, family, pre_norm):
    options = words((*CONDITIONED, f"upstream={upstream_path(family, pre_norm)}", "mixer=attention"))
    model = build(WEIGHT, *options).eval()
    with torch.no_grad():
        (found, [(number, inside)]), lengths = model.encode(batch["speech"], batch["speech_lengths"])
        assert number == 2 and lengths.tolist() == [49, 27, 38]
        for each in range(3):
            wav = batch["speech"][each, : batch["speech_lengths"][each]]
            expected, heard = run_layer_by_layer(model, wav)
            frames = int(lengths[each])
            torch.testing.assert_close(found[each, :frames], expected[0], **EXACT)
            torch.testing.assert_close(inside[each, :frames], heard[0], **EXACT)
            assert torch.equal(
                inside[each, frames:], inside[each, frames - 1 : frames].expand_as(inside[each, frames:])
            )
        model.encoder.conditioning_layer.weight.zero_(), model.encoder.conditioning_layer.bias.zero_()
        (deaf, _), _ = model.encode(batch["speech"], batch["speech_lengths"])
        assert (deaf - found).abs().max() > 1e-3
        plain = build({}, *words((LAYERS[0], *options[7::2]))).eval()
        assert torch.equal(plain.encode(batch["speech"], batch["speech_lengths"])[0], deaf)


def test_the_loss_is_espnets_with_views_too(build, batch):
    model = silence_dropout(build(WEIGHT | {"consistency": 1e-6}, *words(CONDITIONED)))
    views, named, _ = model(**clone(batch))
    model.consistency = 0
    plain, stats, _ = model(**clone(batch))
    ctc, inside = (float(stats[f"loss_{name}"]) for name in ("ctc", "interctc_layer2"))
    assert float(plain.detach()) == pytest.approx(0.7 * ctc + 0.3 * inside, rel=1e-5) and ctc != inside
    assert float(views.detach()) == pytest.approx(float(plain.detach()), rel=1e-4)
    assert float(named["loss_interctc_layer2"]) == pytest.approx(inside, rel=1e-5)
    plain.backward()
    assert model.encoder.conditioning_layer.weight.grad.abs().sum() > 0


@pytest.fixture
def trained(training_arguments, tmp_path) -> Path:
    """A conditioned model that says different things of different frames."""
    conf = {"model_conf": MODEL | WEIGHT, "optim_conf": {"lr": 0.1}}
    asr_train.main([*training_arguments(tmp_path / "exp", **conf), *words((*CONDITIONED, "causal=true"))])
    for file in ("valid.loss.best.pth", "valid.loss.ave.pth"):
        file = (tmp_path / "exp" / file).resolve()
        state = torch.load(file)
        state["ctc.ctc_lo.weight"] *= 20
        state["encoder.conditioning_layer.weight"] *= 5
        torch.save(state, file)
    return tmp_path / "exp"


def test_every_way_of_decoding_is_conditioned(trained, corpus, batch, monkeypatch, tmp_path):
    files = (trained / "config.yaml", trained / "valid.loss.best.pth")
    model, _ = load_model(*files)
    monkeypatch.setattr("espnet_wsm.recognition.acoustic_model.fits", lambda conf: False)
    espnets, _ = load_model(*files)
    wav = batch["speech"][:1]
    with torch.no_grad():
        encoded, _ = model.encode(wav, torch.tensor([16000]))
        (expected, _), _ = espnets.encode(wav, torch.tensor([16000]))
        assert torch.equal(encoded, expected)
        layer_by_layer, _ = run_layer_by_layer(model, wav[0])
        torch.testing.assert_close(encoded, layer_by_layer, **EXACT)
        hidden, _ = model.encoder.prefix([wav[0]])
        stream = model.encoder.open_stream(model.ctc)
        pieces = [stream.push(piece) for piece in hidden[:, :40].split(7, dim=1)]
        pieces.append(stream.push(hidden[:, 40:], last=True))
        torch.testing.assert_close(torch.cat(pieces, dim=1), encoded, **EXACT)
        log_probs = model.ctc.log_softmax(encoded)
        graph = OneRecording(model, silent=[1])
        kept = [token for token in range(len(TOKENS)) if token != 1]
        torch.testing.assert_close(
            graph(wav)[:, :, kept], log_probs[:, :, kept].log_softmax(dim=-1), atol=1e-4, rtol=0
        )
    monkeypatch.undo()
    greedy, beam = tmp_path / "greedy", tmp_path / "beam"
    asr_inference_greedy.main(decode_arguments(corpus, trained, greedy))
    asr_inference.main([*decode_arguments(corpus, trained, beam), "--ctc_weight", "1", "--beam_size", "1"])
    assert len((greedy / "1best_recog/text").read_text().splitlines()) == 3
    assert len((beam / "1best_recog/text").read_text().splitlines()) == 3


def test_checkpoints_hold_the_conditioning_layer_and_a_training_goes_on(training_arguments, tmp_path):
    conf = {"model_conf": MODEL | WEIGHT}
    more = words(CONDITIONED)
    asr_train.main([*training_arguments(tmp_path / "exp", **conf, max_epoch=1), *more])
    asr_train.main([*training_arguments(tmp_path / "exp", **conf, max_epoch=2), *more])
    asr_train.main([*training_arguments(tmp_path / "whole", **conf, max_epoch=2), *more])
    resumed, whole = (torch.load(tmp_path / exp / "2epoch.pth") for exp in ("exp", "whole"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert whole["encoder.conditioning_layer.weight"].shape == (32, len(TOKENS))
    asr_train.main([*training_arguments(tmp_path / "plain"), *words(LAYERS[:1])])
    counts = [
        json.loads((tmp_path / exp / "parameters.json").read_text())["trainable"]
        for exp in ("whole", "plain")
    ]
    assert counts[0] - counts[1] == 32 * len(TOKENS) + 32
    plain = torch.load(tmp_path / "plain/2epoch.pth")
    torch.save(plain, tmp_path / "whole/2epoch.pth")
    with pytest.raises(UserError, match=r"it lacks 2 tensors, the first is conditioning_layer.bias"):
        load_model(tmp_path / "whole/config.yaml", tmp_path / "whole/2epoch.pth")


def test_a_conditioned_model_can_guide(build, batch, trained):
    model = build({"guide": str(trained)}, *words(LAYERS[:1]))
    model.open_guide()
    expected, _ = load_model(trained / "config.yaml", trained / "valid.loss.ave.pth")
    with torch.no_grad():
        encoded, _ = expected.encode(batch["speech"], batch["speech_lengths"])
        log_probs = expected.ctc.log_softmax(encoded)
    found = model.guide.log_probs(batch["speech"], batch["speech_lengths"], 1.0)
    torch.testing.assert_close(found, log_probs, **EXACT)


def test_espnets_init_leaves_what_came_with_the_upstream(build):
    plain, drawn = (
        build(WEIGHT, *words((*CONDITIONED, "mixer=attention")), **more)
        for more in ({}, {"init": "xavier_uniform"})
    )
    for (name, value), other in zip(plain.named_parameters(), drawn.parameters(), strict=True):
        changed = name.startswith("ctc.") or "conditioning_layer" in name
        assert torch.equal(value, other) is not changed or name.endswith("bias"), name


def test_tokens_are_counted_of_the_output_alone(build, batch):
    model = build(WEIGHT, *words(LAYERS)).eval()
    with torch.no_grad(), TokenCounter(model) as counter:
        model(**clone(batch)), model(**clone(batch))
    assert counter.sum(distributed=False)[::2] == (6, 12)


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"interctc_layer_idx": [3]}, "names layer 3: it is for layers above the cut .* those are 2 to 2"),
        ({"interctc_layer_idx": [1]}, "names layer 1: .* those are 2 to 2"),
        ({"interctc_layer_idx": [3], "num_replaced": 1}, "those are none: raise num_replaced"),
        ({"interctc_layer_idx": [2, 2]}, "interctc_layer_idx has to be a list of different layer numbers"),
        ({"interctc_use_conditioning": True}, "interctc_use_conditioning: true needs interctc_layer_idx"),
        ({"interctc_layer_idx": [2], "features": "weighted_sum"}, "interctc_layer_idx needs features: last"),
        ({"interctc_layer_idx": [2], "mixer": "drop"}, "interctc_layer_idx is not for mixer drop"),
    ],
)
def test_layers_that_cannot_have_a_ctc_are_refused(upstream_path, conf, reason):
    with pytest.raises(UserError, match=reason):
        WsmS3prlEncoder(1, upstream=upstream_path("hf_hubert", True), **conf)


def test_no_layers_are_no_intermediate_ctc():
    assert WsmConfig("x", interctc_layer_idx=[]).place_intermediate(3) == {}


@pytest.mark.parametrize(
    ("encoder", "model", "reason"),
    [
        (
            {},
            {"interctc_weight": 0.3},
            "interctc_weight is 0.3, but encoder_conf.interctc_layer_idx names no layer",
        ),
        (
            {"interctc_layer_idx": [2]},
            {},
            "interctc_layer_idx is [2], but the CTC of these layers has no weight",
        ),
        (
            {"interctc_layer_idx": [2]},
            WEIGHT | {"ctc_weight": 0},
            "set model_conf.interctc_weight, e.g. to 0.5",
        ),
        ({"interctc_layer_idx": [2]}, {"interctc_weight": 1}, "has to be at least 0 and below 1, got 1"),
    ],
)
def test_weights_without_layers_and_layers_without_weight_are_refused_before_stage_2(
    refuse, encoder, model, reason
):
    refuse({"ctc_weight": 1.0} | model, reason, encoder_conf=encoder)
