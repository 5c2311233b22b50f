"""Blocks learn what they are shown, and nothing else changes."""

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.mixing import HeadWindows
from espnet_wsm.transfer import learning
from espnet_wsm.transfer.folder import TransferPlan
from espnet_wsm.transfer.learning import (
    Student,
    TransferSettings,
    learn,
    list_students,
    measure_errors,
    measure_variance,
)
from espnet_wsm.transfer.pairs import PairBatches, compute_pairs
from espnet_wsm.upstream import WsmConfig, load_upstream, prepare_suffix
from espnet_wsm.upstream.cut import cut_of

CPU = torch.device("cpu")
WINDOWS = [(-2, 0), (1, 3)]
DIM = 8
PLAIN = {"key_weights": False, "per_frame_width": 0}  # learns fast


class Interrupted(Exception):
    """Stands for whatever stops a process."""


@pytest.fixture
def batches() -> PairBatches:
    """What a block of head windows gives on noise: utterances of 5 to 40 frames, two and more in a batch."""
    torch.manual_seed(1)
    teacher = randomise(HeadWindows(DIM, WINDOWS, **PLAIN))
    stored = {}
    for number, frames in enumerate((40, 33, 20, 17, 5)):
        x = torch.randn(1, frames, DIM)
        stored[f"u{number}"] = torch.cat([x, teacher(x).detach()], dim=-1)[0].numpy()
    return PairBatches(stored, [["u0", "u1"], ["u2", "u3", "u4"]], 1)


def randomise(block: nn.Module) -> nn.Module:
    """Everything in a block has a part in what it gives."""
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.4)
    return block


def make_student(seed: int = 0, dropout: float = 0.0) -> Student:
    torch.manual_seed(seed)
    block = HeadWindows(DIM, WINDOWS, dropout=dropout, **PLAIN)
    return Student(block, block)


def run(student: Student, batches: PairBatches, folder: Path, steps: int = 12, on_step=None, **settings):
    return learn(
        [student], batches, batches, TransferSettings(steps=steps, **settings), [7], "float32", CPU,
        folder / "checkpoint.pt", on_step or (lambda step, curve: None),
    )  # fmt: skip


def test_a_block_learns_what_a_block_can_give(batches, tmp_path):
    student = make_student()
    curve = run(student, batches, tmp_path, steps=250, lr=0.05)
    assert curve.steps[0] == 0 and curve.steps[-1] == 250 and curve.layers == (7,)
    assert curve.held_out[0][0] > 0.3 > 1e-3 > curve.held_out[-1][0]
    assert len(curve.train) == len(curve.steps) - 1 == learning.LOOKS
    assert curve.train[-1][0] == pytest.approx(curve.held_out[-1][0], rel=0.2)


def test_the_error_is_that_of_valid_frames_by_their_variance(batches):
    student = make_student()
    own = [torch.from_numpy(batches.reader[id]).double().split(DIM, dim=-1) for id in sorted(batches.reader)]
    wanted = torch.cat([pair[1] for pair in own])
    variance = (wanted - wanted.mean(0)).square().sum(1).mean()
    assert measure_variance([student], batches, CPU) == pytest.approx([float(variance)], rel=1e-6)
    with torch.no_grad():
        came = torch.cat([student.block(pair[0].float()[None])[0] for pair in own])
    expected = (came - wanted).square().sum(1).mean() / variance
    assert measure_errors([student], batches, "float32", CPU) == pytest.approx([float(expected)], rel=1e-5)


def test_a_layer_is_measured_by_what_it_adds(batches):
    block = HeadWindows(DIM, WINDOWS)
    layer = Student(block, lambda x, mask: x, is_layer=True)
    shifted = {
        id: np.hstack([each[:, :DIM], each.sum(1, keepdims=True) + each[:, :DIM]])
        for id, each in batches.reader.items()
    }
    stored = PairBatches(shifted, batches.batches, 1)
    (left,) = measure_errors([layer], stored, "float32", CPU)
    added = np.concatenate([each.sum(1) for each in batches.reader.values()])
    assert left == pytest.approx(np.mean(added**2) / np.var(added), rel=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_an_interrupted_transfer_ends_as_an_uninterrupted_one(batches, tmp_path, monkeypatch, dropout):
    monkeypatch.setattr(learning, "KEEPS", 5)
    whole, stopped = make_student(dropout=dropout), make_student(dropout=dropout)
    (tmp_path / "whole").mkdir()
    curve = run(whole, batches, tmp_path / "whole", steps=30)

    def stop(step: int, _curve) -> None:
        if step == 18:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(stopped, batches, tmp_path, steps=30, on_step=stop)
    seen: list[int] = []
    resumed = make_student(seed=5, dropout=dropout)
    again = run(resumed, batches, tmp_path, steps=30, on_step=lambda step, _curve: seen.append(step))
    assert seen[0] == 16, "it goes on after the last checkpoint"
    assert 0 < again.seconds
    again.seconds = curve.seconds
    assert again == curve
    for name, value in whole.block.state_dict().items():
        assert torch.equal(resumed.block.state_dict()[name], value), name


def test_batches_come_once_each_before_one_comes_again():
    orders = [[learning.batch_of(step, 7, seed=3) for step in range(7 * e, 7 * e + 7)] for e in range(3)]
    assert all(sorted(order) == list(range(7)) for order in orders) and len(set(map(tuple, orders))) > 1


def test_an_attention_that_gives_the_same_everywhere_is_refused(tmp_path):
    even = {"u": np.ones((9, 2 * DIM), np.float32)}
    with pytest.raises(UserError, match=r"replaced layer 1 gives the same at every frame.*--transfer 0"):
        run(make_student(), PairBatches(even, [["u"]], 1), tmp_path)


def test_an_error_that_is_not_finite_ends_with_the_remedy(batches, tmp_path):
    student = make_student()
    with torch.no_grad():
        student.block.out.weight.fill_(torch.inf)
    with pytest.raises(
        UserError, match=r"not finite at step 1: give a lower learning rate, --transfer_args '--lr 0.001"
    ):
        run(student, batches, tmp_path)


@pytest.mark.parametrize("target", ["attention", "layer"])
@pytest.mark.parametrize("mixer", ["wsm", "wsm_heads"])
def test_nothing_but_the_blocks_moves(upstream_path, tmp_path, target, mixer):
    expert, checkpoint = load_upstream(upstream_path("hf_hubert", False))
    config = WsmConfig("x", mixer=mixer, window=2, windows=None)
    _, suffix = cut_of(expert, checkpoint.family, config)
    hidden = torch.randn(2, 20, 32)
    pairs = compute_pairs(suffix.eval(), hidden, None, [0, 1], target)
    torch.manual_seed(0)
    prepare_suffix(suffix, (0, 1), 32, config)
    students = list_students(suffix, (0, 1), target)
    before = copy.deepcopy(suffix.state_dict())
    stored = PairBatches({"a": pairs[0].numpy(), "b": pairs[1].numpy()}, [["a"], ["b"]], 2)
    settings = TransferSettings(steps=20, target=target)
    curve = learn(students, stored, stored, settings, (3, 4), "float32", CPU, tmp_path / "c")
    changed = {name for name, value in suffix.state_dict().items() if not torch.equal(value, before[name])}
    blocks = {f"layers.{place}.attention.mixer." for place in (0, 1)}
    assert changed and all(any(name.startswith(block) for block in blocks) for name in changed)
    assert all(after < start for start, after in zip(curve.held_out[0], curve.held_out[-1], strict=True))


def test_a_transfer_does_not_depend_on_what_no_block_depends_on():
    def name(**conf) -> str:
        cut = SimpleNamespace(key={})
        return TransferPlan.make(cut, WsmConfig("x", **conf), {}, TransferSettings(), [1, 2]).name

    more = {"interctc_layer_idx": [1], "interctc_use_conditioning": True, "trainable": "mixer"}
    assert name(**more, recompute="layer") == name()
    assert name(window=3) != name()
