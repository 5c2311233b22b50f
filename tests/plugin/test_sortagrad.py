"""Short utterances first: which epochs are sorted, how, and that nothing else changes."""

import argparse

import pytest
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory

from espnet_wsm.bin import asr_train
from espnet_wsm.plugin.sortagrad import ShortFirst
from espnet_wsm.plugin.task import WsmASRTask

LENGTHS = {f"u{number:02}": length for number, length in enumerate([90, 10, 50, 30, 70, 20, 80, 40, 60, 5])}


@pytest.fixture
def make_factory(tmp_path):
    """Ten utterances in batches of two: each has a long one beside a short one; an epoch is three of five."""
    names = list(LENGTHS)
    batches = [names[start : start + 2] for start in range(0, len(names), 2)]
    shapes = tmp_path / "speech_shape"
    shapes.write_text("".join(f"{name} {length},80\n" for name, length in LENGTHS.items()))

    def make(epochs: int) -> tuple[SequenceIterFactory, ShortFirst]:
        factory = SequenceIterFactory(dataset=LENGTHS, batches=batches, num_iters_per_epoch=3, shuffle=True)
        return factory, ShortFirst(factory, epochs, shapes)

    return make


def list_batches(factory, epoch: int) -> list[list[str]]:
    return list(factory.build_iter(epoch).batch_sampler)


@pytest.mark.parametrize(("epochs", "sorted_epochs"), [(1, {1}), (2, {1, 2}), (-1, {1, 2, 3, 4, 5})])
def test_the_first_epochs_are_sorted_by_their_longest_utterance(make_factory, epochs, sorted_epochs):
    plain, short_first = make_factory(epochs)
    seen = set()
    for epoch in range(1, 6):
        batches, before = list_batches(short_first, epoch), list_batches(plain, epoch)
        assert sorted(batches) == sorted(before)
        longest = [max(LENGTHS[name] for name in batch) for batch in batches]
        if epoch in sorted_epochs:
            assert longest == sorted(longest)
            seen.add(batches != before)
        else:
            assert batches == before
    assert True in seen


def test_only_the_training_set_is_sorted(monkeypatch):
    made = object()
    monkeypatch.setattr(
        "espnet2.tasks.abs_task.AbsTask.build_sequence_iter_factory", lambda *_args, **_kwargs: made
    )
    options = argparse.Namespace(train=False, shape_files=["not read"])
    args = argparse.Namespace(sortagrad=2)
    assert WsmASRTask.build_sequence_iter_factory(args, options, "valid") is made


def test_a_training_sees_short_utterances_first(training_arguments, tmp_path, monkeypatch):
    """From the command line to the model: lengths of the batches of an epoch, in their order."""
    seen = []
    forward = WsmASRTask.build_model

    def build_and_watch(args):
        model = forward(args)

        def keep_length(_module, _args, kwargs):
            if model.training:
                seen.append(int(kwargs["speech_lengths"].max()))

        model.register_forward_pre_hook(keep_length, with_kwargs=True)
        return model

    monkeypatch.setattr(WsmASRTask, "build_model", build_and_watch)
    arguments = training_arguments(tmp_path / "exp", max_epoch=1)
    asr_train.main([*arguments, "--sortagrad", "1", "--batch_type", "unsorted", "--batch_size", "1"])
    assert len(set(seen)) > 1 and seen == sorted(seen)


def test_epochs_below_minus_one_are_refused(training_arguments, tmp_path, capsys):
    with pytest.raises(SystemExit):
        asr_train.main([*training_arguments(tmp_path / "exp"), "--sortagrad", "-2"])
    assert "--sortagrad has to be a number of epochs, 0 or -1, got -2" in capsys.readouterr().err
    assert not list((tmp_path / "exp").glob("*epoch.pth"))
