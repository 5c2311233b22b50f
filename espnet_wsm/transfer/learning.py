"""Each block learns to give what the attention in its place gives: regression, without labels."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically
from espnet_wsm.transfer.pairs import Pair, PairBatches
from espnet_wsm.upstream.precision import choose_dtype
from espnet_wsm.upstream.prefix import count_frames
from espnet_wsm.upstream.suffix import TrainableSuffix

LOOKS = 20  # how often in a transfer the held-out error is measured
KEEPS = 50  # steps between two checkpoints
CLIP = 5.0  # of the norm of a block's gradient, as in ESPnet's trainer


@dataclass(frozen=True)
class TransferSettings:
    """How blocks learn.

    Args:
        steps: of the optimiser (Adam, with a cosine from ``lr`` to zero).
        lr: its first learning rate.
        frames: of 20 ms in the batch of a step, padding included.
        target: ``attention``: its output; ``layer``: the output of the layer that it is in.
        minutes: of speech, at most, whose pairs are stored; 400 steps of 1000 frames are 133 minutes.
        seed: of what blocks start from, and of the order of batches.
    """

    steps: int = 400
    lr: float = 0.002
    frames: int = 1000
    target: str = "attention"
    minutes: float = 60.0
    seed: int = 0


@dataclass
class Curve:
    """Errors on the way: squared, over valid frames, normalised by the variance of what is to be given.

    Args:
        layers: numbers of the layers.
        steps: at which the errors were measured, the first is 0.
        held_out: of each step, the error of each layer on held-out speech.
        train: of each step, the mean error of each layer in the training batches since the last; none at 0.
        seconds: wall time so far, of all processes that took part in turn.
    """

    layers: tuple[int, ...]
    steps: list[int] = field(default_factory=list)
    held_out: list[list[float]] = field(default_factory=list)
    train: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Student:
    """A block, or a layer with a block in it, that learns.

    Args:
        block: the parameters that move.
        run: (B, T, D) and a padding mask to (B, T, D).
        is_layer: whether it gives a layer's output: then what is added to its input is to be given.
    """

    block: nn.Module
    run: Callable[[Tensor, Tensor | None], Tensor]
    is_layer: bool = False


def list_students(suffix: TrainableSuffix, places: Sequence[int], target: str) -> list[Student]:
    """The blocks of a suffix as students; nothing but them gets a gradient.

    Autograd keeps their parts, which are little without the layers around them: computing them anew would
    take a third of the time.
    """
    suffix.requires_grad_(False)
    students = []
    for place in places:
        layer = suffix.layers[place]
        block = getattr(layer, suffix.family.attention).mixer
        block.requires_grad_(True)
        block.keeps_input_alone = False
        if target == "layer":
            students.append(Student(block, partial(_run_layer, suffix, layer), is_layer=True))
        else:
            students.append(Student(block, block))
    return students


def _run_layer(suffix: TrainableSuffix, layer: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    return suffix.family.run_layers([layer], x, mask, suffix.shared)


def _squares(student: Student, pair: Pair, mask: Tensor | None, dtype: str) -> Tensor:
    """Sum of squared errors over the valid frames."""
    given, wanted = pair
    if dtype == "float32":
        came = student.run(given, mask)
    else:
        with torch.autocast(given.device.type, getattr(torch, dtype)):
            came = student.run(given, mask)
    return sum_squares(came, wanted, mask)


def sum_squares(came: Tensor, wanted: Tensor, mask: Tensor | None) -> Tensor:
    """Of the differences of (B, T, D), over channels and the frames that a (B, T) mask leaves."""
    squares = (came.float() - wanted).square().sum(dim=-1)  # (B, T)
    return squares.sum() if mask is None else squares.masked_fill(mask, 0.0).sum()


class Spread:
    """The variance of several states over the frames that were added, a sum over channels."""

    def __init__(self) -> None:
        self.frames = 0
        self._sums: list[Tensor] = []
        self._squares: list[float] = []

    def add(self, states: Sequence[Tensor], mask: Tensor | None) -> None:
        """Add the frames of (B, T, D) each that a (B, T) mask leaves."""
        self.frames += int(count_frames(states[0], mask).sum())
        for place, state in enumerate(states):
            values = state.double()
            values = values if mask is None else values.masked_fill(mask.unsqueeze(-1), 0.0)
            if place == len(self._sums):
                self._sums.append(torch.zeros_like(values[0, 0]))
                self._squares.append(0.0)
            self._sums[place] += values.sum(dim=(0, 1))
            self._squares[place] += float(values.square().sum())

    @property
    def variances(self) -> list[float]:
        """Of each state."""
        return [
            square / self.frames - float((total / self.frames).square().sum())
            for square, total in zip(self._squares, self._sums, strict=True)
        ]


def measure_variance(students: Sequence[Student], batches: PairBatches, device: torch.device) -> list[float]:
    """Of each student, the mean squared distance of what it is to give from its mean, a sum over channels.

    Raises:
        UserError: an attention gives the same at every frame.
    """
    spread = Spread()
    for number in range(len(batches)):
        pairs, mask = batches.read(number, device)
        changes = [
            wanted - given if student.is_layer else wanted
            for student, (given, wanted) in zip(students, pairs, strict=True)
        ]
        spread.add(changes, mask)
    variances = spread.variances
    for place, variance in enumerate(variances):
        if not variance > 0 or not math.isfinite(variance):
            raise UserError(
                f"the attention of replaced layer {place + 1} gives the same at every frame: there is "
                "nothing to transfer; --transfer 0 trains without"
            )
    return variances


@torch.no_grad()
def measure_errors(
    students: Sequence[Student], batches: PairBatches, dtype: str, device: torch.device
) -> list[float]:
    """The normalised error of each student on these batches, by their own variance."""
    variances = measure_variance(students, batches, device)
    errors, frames = [0.0] * len(students), 0
    for student in students:
        student.block.eval()
    for number in range(len(batches)):
        pairs, mask = batches.read(number, device)
        frames += int(count_frames(pairs[0][0], mask).sum())
        for place, (student, pair) in enumerate(zip(students, pairs, strict=True)):
            errors[place] += float(_squares(student, pair, mask, dtype))
    return [error / frames / variance for error, variance in zip(errors, variances, strict=True)]


def learn(
    students: Sequence[Student],
    train: PairBatches,
    held_out: PairBatches,
    settings: TransferSettings,
    layers: Sequence[int],
    dtype: str,
    device: torch.device,
    checkpoint: Path,
    on_step: Callable[[int, Curve], None] = lambda step, curve: None,
    spread: PairBatches | None = None,
) -> Curve:
    """Let the students learn, from a checkpoint if there is one.

    Args:
        students: those of the replaced layers, from the lowest.
        train: pairs to learn from.
        held_out: pairs to measure the error on.
        settings: how.
        layers: numbers of the layers, for the curve.
        dtype: precision of the products, as ``suffix_dtype``.
        device: where.
        checkpoint: file to go on from, and to write every ``KEEPS`` steps; left for the caller to delete.
        on_step: called after each step with its number and the curve so far.
        spread: pairs by whose variance the loss is normalised; None = all of ``train``, which are read for
            it.

    Raises:
        UserError: the loss is not finite.
    """
    dtype, began = choose_dtype(dtype, device), time.monotonic()
    blocks = nn.ModuleList(student.block for student in students).to(device)
    optimiser = torch.optim.Adam(blocks.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(settings.steps, 1))
    curve, done, since = Curve(tuple(layers)), 0, torch.zeros(len(students), device=device)
    torch.manual_seed(settings.seed)
    variances = measure_variance(students, train if spread is None else spread, device)
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        blocks.load_state_dict(state["blocks"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"].cpu())
        curve, done, since = Curve(**state["curve"]), state["done"], state["since"]
    else:
        curve.steps.append(0)
        curve.held_out.append(measure_errors(students, held_out, dtype, device))
    earlier = curve.seconds
    looks = {round(settings.steps * look / LOOKS) for look in range(1, LOOKS + 1)}
    for step in range(done + 1, settings.steps + 1):
        blocks.train()
        pairs, mask = train.read(batch_of(step - 1, len(train), settings.seed), device)
        frames = int(count_frames(pairs[0][0], mask).sum())
        errors = torch.stack(
            [
                _squares(student, pair, mask, dtype) / frames / variance
                for student, pair, variance in zip(students, pairs, variances, strict=True)
            ]
        )
        if not errors.isfinite().all():
            raise UserError(
                f"the error of the transfer is not finite at step {step}: give a lower learning rate, "
                f"--transfer_args '--lr {settings.lr / 2:g}'"
            )
        optimiser.zero_grad()
        errors.sum().backward()
        for block in blocks:
            nn.utils.clip_grad_norm_(block.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        since += errors.detach()
        if step in looks:
            passed = step - curve.steps[-1]
            curve.train.append((since / passed).tolist())
            curve.steps.append(step)
            curve.held_out.append(measure_errors(students, held_out, dtype, device))
            since = torch.zeros_like(since)
        curve.seconds = earlier + time.monotonic() - began
        if step % KEEPS == 0:
            state = {
                "blocks": blocks.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "random": torch.get_rng_state(),
                "curve": asdict(curve),
                "done": step,
                "since": since,
            }
            write_atomically(checkpoint, lambda temporary, state=state: torch.save(state, temporary))
        on_step(step, curve)
    blocks.eval()
    return curve


def batch_of(step: int, count: int, seed: int) -> int:
    """The number of the batch of a step: every batch once, in another order each time."""
    epoch, place = divmod(step, count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
    return int(order[place])
