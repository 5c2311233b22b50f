"""A training whose CTC predicts nothing but blanks is told, and stopped on request; others are not."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.espnet_model import ESPnetASRModel
from tiny_training import TEXTS

from espnet_wsm.bin import asr_train
from espnet_wsm.errors import UserError
from espnet_wsm.plugin.blanks import MIN_STEPS, BlankWatch, TokenCounter, count_tokens
from espnet_wsm.recipe.progress import read_progress


def test_tokens_of_a_best_path_are_counted_as_greedy_decoding_has_them():
    generator = torch.Generator().manual_seed(0)
    best = torch.randint(0, 3, (20, 15), generator=generator)
    lengths = torch.randint(0, 16, (20,), generator=generator)
    for blank in (0, 2):
        reference = [
            [token for token, _ in itertools.groupby(path[:length].tolist()) if token != blank]
            for path, length in zip(best, lengths, strict=True)
        ]
        assert count_tokens(best, lengths, blank) == sum(map(len, reference)) > 50
    assert count_tokens(torch.zeros(2, 9, dtype=torch.long), torch.tensor([9, 4]), blank=0) == 0


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("decoder", [None, "attention"])
def test_what_ctc_predicts_is_counted_where_nothing_else_decodes(decoder, wrapped):
    ctc = CTC(4, 4)
    model = SimpleNamespace(ctc=ctc, decoder=decoder, blank_id=0)
    with torch.no_grad():
        ctc.ctc_lo.weight.zero_()
        ctc.ctc_lo.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]))
        batch = (torch.randn(2, 9, 4), torch.tensor([9, 5]), torch.ones(2, 3).int(), torch.tensor([3, 1]))
        with TokenCounter(SimpleNamespace(module=model) if wrapped else model) as counter:
            ctc(*batch)
            ctc(*batch)
        ctc(*batch)
    assert counter.sum(distributed=False) == ((4, 4, 8) if decoder is None else (0, 0, 0))


@pytest.mark.parametrize("model", [SimpleNamespace(ctc=None, decoder=None), SimpleNamespace()])
def test_models_without_ctc_have_no_blanks(model):
    with TokenCounter(model) as counter:
        pass
    assert counter.sum(distributed=True) == (0, 0, 0)


BLANK = 0.0
TRAININGS = {  # tokens per utterance and loss of each epoch, and the epoch in which a warning is due
    "stands still": ([(BLANK, 90.0), (BLANK, 89.5), (BLANK, 89.4)], 2),
    "stands still after a fall": ([(BLANK, 200.0), (BLANK, 95.0), (BLANK, 94.0)], 3),
    "diverges": ([(BLANK, 90.0), (BLANK, float("nan"))], 2),
    "learns at once": ([(0.1, 90.0), (2.0, 70.0)], None),
    "falls, then has tokens": ([(BLANK, 200.0), (BLANK, 95.0), (BLANK, 80.0), (0.01, 79.0)], None),
    "falls back to blanks": ([(1.0, 90.0), (BLANK, 90.0), (1.0, 90.0), (BLANK, 90.0), (1.0, 89.0)], None),
    "ends in blanks": ([(BLANK, 200.0), (BLANK, 150.0)] + [(BLANK, 100.0 * 0.9**i) for i in range(4)], 6),
}


@pytest.mark.parametrize(("epochs", "due"), TRAININGS.values(), ids=TRAININGS)
def test_a_training_that_is_stuck_is_told_once_and_no_other(epochs, due):
    watch = BlankWatch()
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.002)
    told = {}
    for epoch, (tokens, loss) in enumerate(epochs, 1):
        watch.trained(100 * epoch, optimizer)
        watch.add(tokens, loss)
        told[epoch] = watch.look(utterances=40, in_texts=1234, is_last=epoch == 6)
        watch.stop("exp")  # never, unless it is asked for
    assert [epoch for epoch, warning in told.items() if warning] == ([due] if due else [])
    assert bool(watch.note) == (due is not None)
    if due:
        assert f"the hypotheses of 40 validation utterances are empty after {due} epochs" in told[due]
        assert "1234 tokens" in told[due].replace(",", "") and "optim_conf.lr" in told[due]


def test_a_warning_has_the_losses_and_the_rate_and_is_withdrawn_when_tokens_come():
    watch = BlankWatch()
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.002)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _step: 0.25)
    for loss in (90.0, 89.5):
        watch.add(0.0, loss)
    watch.trained(MIN_STEPS - 1, optimizer)
    assert watch.look(3, 9, is_last=False) == "", "too early to tell"
    watch.trained(MIN_STEPS, optimizer)
    warning = watch.look(3, 9, is_last=False)
    assert "(100 steps)" in warning and "the validation loss is 90.00 and then 89.50" in warning
    assert "the learning rate is 0.0005 of 0.002 now" in warning
    watch.add(0.2, 80.0)
    assert watch.look(3, 9, is_last=False) == watch.note == ""


@pytest.mark.parametrize(
    ("epochs", "stops"),
    [
        ([(BLANK, 90.0), (BLANK, 89.9)], True),
        ([(BLANK, 90.0)], False),
        ([(BLANK, 90.0), (BLANK, 80.0)], False),
        ([(BLANK, 90.0), (BLANK, 89.9), (0.1, 89.8)], False),
    ],
)
def test_a_training_stops_only_while_it_is_stuck_as_long_as_allowed(epochs, stops):
    watch, resumed = BlankWatch(stop_after=2), BlankWatch(stop_after=2)
    for epoch in epochs:
        watch.add(*epoch)
    history = {n: {"valid": {"tokens_ctc": tokens, "loss": loss}} for n, (tokens, loss) in enumerate(epochs)}
    resumed.replay({**history, 9: {"train": {}}})
    for each in (watch, resumed):
        if not stops:
            each.stop("exp")
            continue
        with pytest.raises(UserError, match="exp: stop_if_blank 2: this training has had 2 epochs in which"):
            each.stop("exp")


def test_a_number_of_epochs_is_not_negative():
    with pytest.raises(UserError, match="stop_if_blank has to be a number of epochs, or 0 for never, got -1"):
        BlankWatch(-1)


@pytest.fixture
def only_blanks(monkeypatch):
    """Nothing is learnt: the blank is far ahead, and the loss changes no weight."""
    forward = ESPnetASRModel.forward

    def broken(self, **batch):
        self.ctc.ctc_lo.bias.data[self.blank_id] = 50.0
        loss, stats, weight = forward(self, **batch)
        return 0.0 * loss, stats, weight

    monkeypatch.setattr(ESPnetASRModel, "forward", broken)


def test_a_training_with_blanks_alone_warns_and_on_request_stops(
    training_arguments, tmp_path, only_blanks, caplog, capsys
):
    exp = tmp_path / "exp"
    words = [*training_arguments(exp, max_epoch=3, stop_if_blank=2), "--resume", "true"]
    for _ in range(2):  # a resumed one stops at once
        with pytest.raises(SystemExit) as stop:
            asr_train.main(words)
        assert stop.value.code == 1
        assert f"{exp}: stop_if_blank 2: this training has had 2 epochs" in capsys.readouterr().err
        assert (exp / "2epoch.pth").exists() and not (exp / "3epoch.pth").exists()
    assert "are empty" not in caplog.text, "two steps are too few"
    asr_train.main([*words, "--stop_if_blank", "0"])
    tokens = sum(map(len, TEXTS.values()))
    told = (
        "the hypotheses of 3 validation utterances are empty after 3 epochs (3 steps): CTC predicts nothing "
        f"but blanks, where the texts have {tokens} tokens"
    )
    assert caplog.text.count(told) == 1
    assert read_progress(exp / "train.progress.json")["note"].startswith(told)
