"""Numbers in the arguments of a training are read as numbers; what is none is refused before stage 2."""

import inspect

import pytest
from espnet2.asr.ctc import CTC
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.asr.specaug.specaug import SpecAug
from espnet2.tasks.abs_task import optim_classes, scheduler_classes
from espnet2.utils.types import float_or_none, int_or_none

from espnet_wsm.errors import UserError
from espnet_wsm.files import parse_yaml
from espnet_wsm.plugin.arguments import read_arguments
from espnet_wsm.plugin.numbers import REAL_NUMBERS, WHOLE_NUMBERS, WORDS, parse_training
from espnet_wsm.plugin.optimisers import _find_optimiser, _find_scheduler
from espnet_wsm.plugin.task import WsmASRTask


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-3", 1e-3), ("-2E5", -2e5), ("1.5e3", 1500.0), (".5e1", 5.0), ("+1.e2", 100.0), ("3", 3)),
        *(("'1e-3'", "1e-3"), ("e3", "e3"), ("1e", "1e"), ("1e3x", "1e3x"), ("0.002", 0.002)),
    ],
)
def test_an_exponent_makes_a_number_unless_it_is_quoted(text, value):
    got = parse_yaml(text)
    assert got == value and type(got) is type(value)


@pytest.fixture
def write(tmp_path):
    def write(content: str) -> list[str]:
        (tmp_path / "train.yaml").write_text(content)
        return ["--config", str(tmp_path / "train.yaml")]

    return write


def test_options_and_configurations_of_a_training_hold_numbers(write):
    words = write(
        "optim: adamw\noptim_conf: {lr: 1e-3, betas: [9e-1, 0.98]}\nbatch_bins: 1e6\ngrad_clip: 5e0\n"
    )
    words += [
        "--optim_conf",
        "weight_decay=1e-2",
        "--scheduler_conf",
        "{warmup_steps: 2e3}",
        "--max_epoch",
        "1e1",
    ]
    read_arguments(words)
    args = parse_training(WsmASRTask.get_parser(), words)
    assert args.optim_conf == {"lr": 1e-3, "betas": [0.9, 0.98], "weight_decay": 1e-2}
    assert args.scheduler_conf == {"warmup_steps": 2000.0}
    assert (args.batch_bins, args.max_epoch, args.grad_clip) == (1000000, 10, 5.0)
    assert type(args.batch_bins) is int


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("optim_conf: {lr: fast}", "optim_conf.lr has to be a number, got 'fast'"),
        ("optim_conf: {lr: '1e-3'}", "optim_conf.lr has to be a number, got '1e-3'"),
        ("optim_conf: {betas: [0.9, 0;98]}", "optim_conf.betas has to be a number, got '0;98'"),
        ("scheduler_conf: {warmup_steps: 2k}", "scheduler_conf.warmup_steps has to be a number, got '2k'"),
        ("model_conf: {ctc_weight: all}", "model_conf.ctc_weight has to be a number, got 'all'"),
        ("optim_conf: {lr: .nan}", "optim_conf.lr has to be a number, got nan"),
        ("optim_conf: {lr: .inf}", "optim_conf.lr has to be a number, got inf"),
        ("batch_bins: 1.5", "batch_bins has to be a whole number, got 1.5"),
        ("max_epoch: ten", "max_epoch has to be a whole number, got 'ten'"),
        ("grad_clip: 5,0", "grad_clip has to be a number, got '5,0'"),
    ],
)
def test_what_is_no_number_is_refused_by_file_and_key(write, content, fault):
    words = write(content)
    with pytest.raises(UserError) as refusal:
        read_arguments(words)
    assert str(refusal.value) == f"{words[1]}: {fault}"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--optim_conf", "lr=1e-3x"], "optim_conf.lr has to be a number, got '1e-3x'"),
        (["--max_epoch", "2.5"], "max_epoch has to be a whole number, got '2.5'"),
        (["--optim_conf", "lr=[1"], "what is not YAML"),
    ],
)
def test_what_is_no_number_is_refused_on_the_command_line(words, fault):
    with pytest.raises(UserError, match="--asr_args") as refusal:
        read_arguments(words)
    assert fault in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("optim: adam\noptim_conf: {lr: yes}", "optim_conf.lr has to be a number, got True"),
        (
            "optim: adam\noptim_conf: {lr: -1e-3}",
            "optim_conf does not fit Adam: Invalid learning rate: -0.001",
        ),
        (
            "optim: adam\noptim_conf: {learning: 3}",
            "optim_conf does not fit Adam: got an unexpected keyword argument 'learning'",
        ),
        ("optim: SGD\noptim_conf: {lr: 0.1, momentum: -1}", "optim_conf does not fit SGD: Invalid momentum"),
        (
            "optim: adam\nscheduler: warmuplr\nscheduler_conf: {warmup: 3}",
            "scheduler_conf does not fit WarmupLR: got an unexpected keyword argument 'warmup'",
        ),
        (
            "optim: adam\nscheduler: StepLR",
            "scheduler_conf does not fit StepLR: missing 1 required positional argument: 'step_size'",
        ),
        (
            "optim: adam\nscheduler: warmuplr\nscheduler_conf: {warmup_steps: true}",
            "scheduler_conf.warmup_steps has to be a number, got True",
        ),
    ],
)
def test_what_no_optimiser_can_be_made_of_is_refused_before_anything_is_stored(write, content, fault):
    words = write(content)
    with pytest.raises(UserError) as refusal:
        read_arguments(words)
    assert str(refusal.value).startswith(f"{words[1]}, or the training's arguments (--asr_args): {fault}")


def test_optimisers_and_schedulers_are_found_as_espnet_has_them(write):
    for name, known in optim_classes.items():
        assert _find_optimiser(name) in (known, None)
    assert {_find_optimiser(name) for name in ("adam", "adamw", "sgd", "adadelta")} == {
        optim_classes[name] for name in ("adam", "adamw", "sgd", "adadelta")
    }
    assert {name: _find_scheduler(name) for name in scheduler_classes} == scheduler_classes
    flag = write("optim: adam\noptim_conf: {lr: 0.1, amsgrad: true}\nscheduler: warmuplr")
    assert read_arguments(flag).optim_conf == {"lr": 0.1, "amsgrad": True}
    assert read_arguments(write("optim: lamb\noptim_conf: {anything: 1}")).optim == "lamb", "not torch's"


def test_the_tables_are_those_of_espnet():
    types = {action.dest: action.type for action in WsmASRTask.get_parser()._actions}
    assert {types[name] for name in WHOLE_NUMBERS} == {int, int_or_none}
    assert {types[name] for name in REAL_NUMBERS} == {float, float_or_none}
    classes = {"optim": optim_classes, "scheduler": scheduler_classes, "ctc": {"": CTC}}
    classes |= {"model": {"": ESPnetASRModel}, "specaug": {"": SpecAug}}
    for name, choices in classes.items():
        for choice in choices.values():
            for key, parameter in inspect.signature(choice).parameters.items():
                assert not isinstance(parameter.default, str) or key in WORDS[f"{name}_conf"], (name, key)
