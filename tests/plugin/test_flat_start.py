"""A flat start of CTC: alignments near the diagonal in the first steps, and ESPnet's training after them."""

import itertools
import math

import pytest
import torch
from tiny_training import MODEL, decode_arguments
from torch.nn import functional as F

from espnet_wsm.bin import asr_inference_greedy
from espnet_wsm.plugin import flat_start
from espnet_wsm.plugin.flat_start import find_flat_loss

TEXT, TEXT_LENGTHS = torch.tensor([[3, 1, 2], [2, 4, -1]]), torch.tensor([3, 2])
LENGTHS = torch.tensor([6, 4])


def draw(*sizes: int) -> torch.Tensor:
    """Logits, the same each time."""
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(0)).requires_grad_()


def find_gradient(logits, weight, lengths=LENGTHS, text=TEXT, text_lengths=TEXT_LENGTHS):
    """Of the flat loss, with respect to logits; and the loss."""
    loss = find_flat_loss(logits.log_softmax(dim=2), lengths, text, text_lengths, 0, weight)
    (gradient,) = torch.autograd.grad(loss, logits)
    return gradient, float(loss.detach())


def find_occupancies(log_probs, text, weight, mean):
    """(T, V) mean number of each token in the frames, of all alignments one by one."""
    num_frames, num_tokens = len(log_probs), len(text)
    sums, total = torch.zeros_like(log_probs), 0.0
    # Place 0 is the blank, place u the u-th token: an alignment goes from each token to the next.
    for path in itertools.product(range(num_tokens + 1), repeat=num_frames):
        if [place for place, _ in itertools.groupby(path) if place] != list(range(1, num_tokens + 1)):
            continue
        score = 0.0
        for frame, place in enumerate(path):
            token = text[place - 1] if place else 0
            score += float(log_probs[frame, token]) - flat_start.FREQUENCY * weight * math.log(mean[token])
            if place:
                away = frame + 0.5 - (place - 0.5) * num_frames / num_tokens
                score -= 0.5 * weight * (away / flat_start.SPREAD) ** 2
        total += math.exp(score)
        for frame, place in enumerate(path):
            sums[frame, text[place - 1] if place else 0] += math.exp(score)
    return sums / total


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_targets_are_the_occupancies_of_all_alignments(monkeypatch, weight):
    monkeypatch.setattr(flat_start, "SPREAD", 1.5)
    logits = draw(2, 6, 5)
    gradient, _ = find_gradient(logits, weight)
    probs = logits.detach().softmax(dim=2)
    mean = torch.cat([probs[0], probs[1, :4]]).mean(dim=0)
    for row, (frames, tokens) in enumerate(zip(LENGTHS, TEXT_LENGTHS, strict=True)):
        expected = find_occupancies(
            probs[row, :frames].log(), TEXT[row, :tokens].tolist(), weight, mean.tolist()
        )
        torch.testing.assert_close(gradient[row, :frames], (probs[row, :frames] - expected) / 2)
        assert not gradient[row, frames:].any()


def test_without_weight_it_is_ctc():
    logits = draw(2, 6, 5)
    plain = F.ctc_loss(
        logits.log_softmax(dim=2).transpose(0, 1), TEXT.clamp(min=0), LENGTHS, TEXT_LENGTHS, reduction="none"
    ).mean()
    (expected,) = torch.autograd.grad(plain, logits)
    gradient, loss = find_gradient(logits, 0.0)
    torch.testing.assert_close(gradient, expected)
    assert loss == pytest.approx(float(plain.detach()))
    gradient, loss = find_gradient(logits, 1.0)  # the value stays
    assert loss == pytest.approx(float(plain.detach())) and not torch.allclose(gradient, expected)


def test_a_text_that_does_not_fit_its_frames_pulls_nowhere():
    text, lengths = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 4]]), torch.tensor([3, 6])
    gradient, loss = find_gradient(draw(2, 6, 5), 0.7, lengths, text, torch.tensor([4, 4]))
    assert not gradient[0].any() and gradient[1].any() and math.isfinite(loss)
    gradient, loss = find_gradient(draw(2, 6, 5), 0.7, torch.tensor([3, 2]), text, torch.tensor([4, 4]))
    assert not gradient.any() and loss == 0


def test_padding_and_half_precision_do_not_matter():
    logits = draw(2, 6, 5)
    gradient, loss = find_gradient(logits, 0.7)
    with torch.no_grad():
        logits[1, 4:] = 50.0
    padded, same = find_gradient(logits, 0.7, text=torch.where(TEXT < 0, 99, TEXT))
    torch.testing.assert_close(padded, gradient)
    assert same == pytest.approx(loss)
    half, near = find_gradient(draw(2, 6, 5).detach().bfloat16().requires_grad_(), 0.7)
    assert half.dtype == torch.bfloat16 and near == pytest.approx(loss, rel=0.02)
    torch.testing.assert_close(half.float(), gradient, atol=0.02, rtol=0.05)


def test_where_blanks_are_all_tokens_get_frames_around_their_place():
    """Ten seconds of a model that says blank in every frame."""
    num_frames, tokens = 500, 5
    text = torch.arange(1, tokens + 1)[None]
    logits = torch.zeros(1, num_frames, tokens + 1)
    logits[:, :, 0] = 6
    probs = logits.softmax(dim=2)
    spreads = {}
    for weight in (0.0, 1.0):
        gradient, _ = find_gradient(
            logits.clone().requires_grad_(), weight, torch.tensor([num_frames]), text, torch.tensor([tokens])
        )
        targets = (probs - gradient)[0]
        frames = torch.arange(num_frames) + 0.5
        token = targets[:, 1:] / targets[:, 1:].sum(dim=0)
        places = frames @ token
        spreads[weight] = (token * (frames[:, None] - places).square()).sum(dim=0).sqrt()
        if weight:
            torch.testing.assert_close(places, torch.tensor([50.0, 150, 250, 350, 450]), atol=10, rtol=0)
    assert (spreads[1.0] < 0.6 * spreads[0.0]).all()


def test_a_model_has_it_for_so_many_steps_and_is_espnets_then(build, batch):
    options = ["--ctc_conf", "dropout_rate=0"]
    losses, gradients = [], []
    for conf in ({}, {"flat_start": 2}):
        model = build(conf, *options)
        model.eval().training = True  # its parts drop nothing
        for _ in range(3):
            model.zero_grad()
            loss, _, _ = model(**{name: value.clone() for name, value in batch.items()})
            loss.backward()
            losses.append(float(loss.detach()))
            gradients.append(model.ctc.ctc_lo.weight.grad.clone())
    assert int(model.steps) == 3
    assert losses[3:] == pytest.approx(losses[:3], rel=1e-5)
    assert [torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients[:3], gradients[3:], strict=True)] == [
        False,
        False,
        True,
    ]
    model.eval()
    model(**batch)
    assert int(model.steps) == 3


def test_a_resumed_training_knows_how_far_it_is_and_what_it_makes_transcribes(resume, corpus, tmp_path):
    steps, resumed, whole = resume({"model_conf": MODEL | {"flat_start": 5}})
    assert 0 < steps < 5 and int(resumed["steps"]) == 2 * steps
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    asr_inference_greedy.main(decode_arguments(corpus, tmp_path / "exp", tmp_path / "out"))
    assert len((tmp_path / "out" / "1best_recog" / "text").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"flat_start": -1}, "model_conf.flat_start has to be a number of steps, got -1"),
        ({"flat_start": 1.5}, "model_conf.flat_start has to be a number of steps, got 1.5"),
        ({"flat_start": "soon"}, "model_conf.flat_start has to be a number, got 'soon'"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_stage_2(refuse, conf, reason):
    refuse(conf, reason)


def test_espnets_own_model_has_no_such_key(refuse):
    refuse({"flat_start": 9}, "model espnet has no flat_start: leave `model` out", model="espnet")
