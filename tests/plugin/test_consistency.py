"""Consistency regularisation: two masked views of each utterance have to say the same."""

import math

import pytest
import torch
from tiny_training import MODEL, decode_arguments

from espnet_wsm.bin import asr_inference_greedy, asr_train
from espnet_wsm.plugin.model import find_divergence

MASKS = {
    "apply_time_warp": False,
    "time_mask_width_ratio_range": [0.0, 0.3],
    "num_time_mask": 2,
    "freq_mask_width_range": [0, 8],
}


def loop(log_probs, lengths):
    """The paper's formula, frame by frame."""
    size, total = len(log_probs) // 2, 0.0
    for utterance in range(size):
        for frame in range(int(lengths[utterance])):
            p, q = log_probs[utterance, frame].exp(), log_probs[utterance + size, frame].exp()
            total += 0.5 * sum(
                float(a * math.log(a / b)) for x, y in ((p, q), (q, p)) for a, b in zip(x, y, strict=True)
            )
    return total / size


def test_the_divergence_is_the_papers_over_valid_frames():
    torch.manual_seed(0)
    log_probs, lengths = torch.randn(4, 7, 5).log_softmax(dim=-1), torch.tensor([7, 3, 7, 3])
    assert float(find_divergence(log_probs, lengths)) == pytest.approx(loop(log_probs, lengths), rel=1e-5)
    log_probs[1, 3:] = float("nan")  # padding
    assert float(find_divergence(log_probs, lengths)) == pytest.approx(loop(log_probs, lengths), rel=1e-5)


def test_equal_views_do_not_diverge_and_pull_nowhere():
    view = torch.randn(2, 6, 5).log_softmax(dim=-1)
    both = torch.cat([view, view]).requires_grad_()
    divergence = find_divergence(both, torch.tensor([6, 4, 6, 4]))
    divergence.backward()
    assert float(divergence.detach()) == pytest.approx(0, abs=1e-6)
    # of a log probability: minus its target, which softmax turns into zero
    assert torch.autograd.gradcheck(
        lambda x: find_divergence(torch.cat([x, x.detach()]).log_softmax(-1), torch.tensor([6, 6])).double(),
        torch.randn(1, 6, 5, dtype=torch.double, requires_grad=True),
        atol=1e-3,
        eps=1e-2,
    )


def test_each_view_is_the_others_target_without_a_gradient():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5, requires_grad=True)
    log_probs = logits.log_softmax(dim=-1)
    find_divergence(log_probs, torch.tensor([4, 4])).backward()
    probs = log_probs.detach().exp()
    expected = 0.5 * (probs - probs.flip(0))  # d KL(sg(q) || p) / d logits of p = p - q
    torch.testing.assert_close(logits.grad, expected)


def test_a_weight_of_zero_is_espnets_training_to_the_last_bit(build, batch):
    losses = []
    for conf, options in (({}, ["--model", "espnet"]), ({"consistency": 0}, [])):
        model = build(conf, *options, specaug="specaug", specaug_conf=MASKS)
        torch.manual_seed(2)
        loss, stats, weight = model(**{name: value.clone() for name, value in batch.items()})
        loss.backward()
        losses.append((loss, sorted(stats), weight, [p.grad for p in model.parameters()]))
    (loss, names, weight, grads), (other, other_names, other_weight, others) = losses
    assert torch.equal(loss, other) and torch.equal(weight, other_weight) and names == other_names
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(grads, others, strict=True))


def test_two_views_cost_the_prefix_once_and_are_masked_otherwise(build, batch):
    model = build({"consistency": 0.5}, specaug="specaug", specaug_conf=MASKS)
    sizes: dict[str, list[int]] = {"prefix": [], "suffix": []}
    model.encoder.prefix.register_forward_pre_hook(lambda _, args: sizes["prefix"].append(len(args[0])))
    model.encoder.suffix.layers[0].register_forward_pre_hook(
        lambda _, args: sizes["suffix"].append(len(args[0]))
    )
    loss, stats, weight = model(**batch)
    assert sizes == {"prefix": [3], "suffix": [6]} and float(weight) == 3
    assert float(stats["loss_consistency"]) > 1e-4
    assert float(loss.detach()) == pytest.approx(
        float(stats["loss_ctc"] + 0.5 * stats["loss_consistency"]), rel=1e-5
    )


def test_without_masks_and_dropout_both_views_are_the_utterance(build, batch):
    model = build({"consistency": 1}, "--ctc_conf", "dropout_rate=0")
    model.eval().training = True  # its parts drop nothing
    _, stats, _ = model(**{name: value.clone() for name, value in batch.items()})
    model.consistency = 0
    _, plain, _ = model(**batch)
    assert float(stats["loss_consistency"]) == pytest.approx(0, abs=1e-5)
    assert float(stats["loss_ctc"]) == pytest.approx(float(plain["loss_ctc"]), rel=1e-5)


def test_warping_of_time_is_shared(build, batch):
    masks = {"apply_freq_mask": False, "apply_time_mask": False, "time_warp_window": 20}
    model = build({"consistency": 1}, specaug="specaug", specaug_conf=masks)
    hidden = torch.randn(2, 50, 32)
    torch.manual_seed(4)
    views = model.encoder._mask(hidden.clone(), torch.tensor([50, 45]), 2)
    assert torch.equal(views[:2], views[2:]) and not torch.equal(views[:2], hidden)


def test_a_weighted_sum_of_all_layers_has_views_too(build, batch):
    model = build(
        {"consistency": 1}, "--encoder_conf", "features=weighted_sum", specaug="specaug", specaug_conf=MASKS
    )
    loss, _, _ = model(**batch)
    loss.backward()
    assert model.encoder.layer_weights.weights.grad.abs().sum() > 0


def test_the_weight_rises_and_a_resumed_training_knows_how_far(resume):
    changes = {
        "model_conf": MODEL | {"consistency": 0.4, "consistency_warmup": 8},
        "specaug": "specaug",
        "specaug_conf": MASKS,
    }
    steps, resumed, whole = resume(changes)
    assert steps > 0 and int(resumed["steps"]) == 2 * steps
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_was_trained_with_it_transcribes(training_arguments, corpus, tmp_path):
    changes = {"model_conf": MODEL | {"consistency": 0.2, "consistency_warmup": 3}}
    asr_train.main(training_arguments(tmp_path / "exp", **changes))
    asr_inference_greedy.main(decode_arguments(corpus, tmp_path / "exp", tmp_path / "out"))
    assert len((tmp_path / "out" / "1best_recog" / "text").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"consistency": -0.1, "ctc_weight": 1.0}, "model_conf.consistency has to be 0 or more, got -0.1"),
        ({"consistency": "much"}, "model_conf.consistency has to be a number, got 'much'"),
        ({"consistency": 0.2, "ctc_weight": 0.3}, "but ctc_weight is 0.3: set it to 1"),
        (
            {"consistency": 0.2, "consistency_warmup": 1.5, "ctc_weight": 1},
            "has to be a number of steps, got 1.5",
        ),
        ({"consistency": 0.2}, "but ctc_weight is 0.5"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_stage_2(refuse, conf, reason):
    refuse(conf, reason)


def test_espnets_own_model_has_no_such_key(refuse):
    conf = {"consistency": 0.2, "ctc_weight": 1.0}
    refuse(conf, "model espnet has no consistency: leave `model` out", model="espnet")
