"""Converted layers learn on their own inputs: the states of one student after the other, up to the output."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically
from espnet_wsm.transfer.learning import KEEPS, LOOKS, Spread, batch_of, sum_squares
from espnet_wsm.upstream.prefix import count_frames
from espnet_wsm.upstream.suffix import TrainableSuffix, autocast_products

CLIP = 1.0  # of the norm of all gradients
WARM_UP = 20  # steps from the start, and after the best blocks were put back
WORSE = 1.3  # times the best error so far: it diverges


@dataclass(frozen=True)
class TogetherSettings:
    """How converted layers learn on their own inputs: Adam, a warm-up, and a cosine from ``lr`` to zero."""

    steps: int = 400
    lr: float = 1.5e-4
    seed: int = 0


@dataclass
class TogetherCurve:
    """Errors on the way: squared, over valid frames, normalised by the variance of what is to be given.

    Args:
        steps: at which the errors were measured, the first is 0.
        held_out: of each step, the error of each layer's output on held-out speech, then that of the
            encoder's.
        halved: steps at which the learning rate was halved, because the errors grew.
        seconds: wall time so far.
    """

    steps: list[int] = field(default_factory=list)
    held_out: list[list[float]] = field(default_factory=list)
    halved: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> float:
        """The least mean error so far."""
        return min(map(fmean, self.held_out))


class States:
    """The outputs of the converted layers and of the encoder.

    Args:
        suffix: of the teacher or of the student.
        lowest: place of the lowest converted layer.
        channels: which of the states below the cut are its own: teacher and student may have others.
    """

    def __init__(self, suffix: TrainableSuffix, lowest: int, channels: slice):
        self.suffix, self.lowest, self.channels = suffix, lowest, channels

    def run(self, hidden: Tensor, padding_mask: Tensor | None) -> list[Tensor]:
        """(B, T, D) of each, from the states (B, T, D or more) below the cut."""
        inputs: list[Tensor] = []
        last = self.suffix.family.run_layers(
            self.suffix.layers, hidden[..., self.channels], padding_mask, self.suffix.shared, inputs.append
        )
        norm = self.suffix.final_norm
        states = [*inputs[self.lowest + 1 :], last]
        return [*states, last if norm is None else norm(last)]


@dataclass(frozen=True)
class Comparison:
    """A student beside its teacher, from the same states below the cut."""

    teacher: States
    student: States
    dtype: str

    def find_targets(self, hidden: Tensor, padding_mask: Tensor | None) -> list[Tensor]:
        """What the teacher gives."""
        with torch.no_grad(), autocast_products(self.dtype, hidden.device):
            return [state.float() for state in self.teacher.run(hidden, padding_mask)]

    def sum_squares(self, hidden: Tensor, padding_mask: Tensor | None, targets: Sequence[Tensor]) -> Tensor:
        """The squared error of each state, a sum over channels and valid frames."""
        with autocast_products(self.dtype, hidden.device):
            states = self.student.run(hidden, padding_mask)
        pairs = zip(states, targets, strict=True)
        return torch.stack([sum_squares(state, target, padding_mask) for state, target in pairs])


Read = Callable[[int], tuple[Tensor, Tensor | None]]  # hidden states and padding mask of a batch


@torch.no_grad()
def measure_together(compared: Comparison, read: Read, count: int) -> tuple[list[float], list[float]]:
    """The normalised error of each state over ``count`` batches, and the variances."""
    spread, total = Spread(), None
    for number in range(count):
        hidden, mask = read(number)
        targets = compared.find_targets(hidden, mask)
        spread.add(targets, mask)
        squares = compared.sum_squares(hidden, mask, targets).double()
        total = squares if total is None else total + squares
    errors, variances = (total / spread.frames).tolist(), spread.variances
    return [error / variance for error, variance in zip(errors, variances, strict=True)], variances


def learn_together(
    compared: Comparison,
    blocks: Sequence[nn.Module],
    train: tuple[Read, int],
    held_out: tuple[Read, int],
    settings: TogetherSettings,
    checkpoint: Path,
    on_step: Callable[[int, TogetherCurve], None] = lambda step, curve: None,
) -> TogetherCurve:
    """Let blocks learn what the teacher's layers and its encoder give, from what they give themselves.

    Whenever the held-out error has grown by a third beyond its best, or a loss is not finite, the best
    blocks are put back and the learning rate is halved. The best ones stay at the end.

    Args:
        compared: the student holds the blocks.
        blocks: what learns.
        train: how to read a batch, and how many there are.
        held_out: the same of what errors are measured on.
        settings: how.
        checkpoint: file to go on from, and to write every ``KEEPS`` steps; left for the caller to delete.
        on_step: called after each step with its number and the curve so far.

    Raises:
        UserError: the errors are not finite before the first step.
    """
    began = time.monotonic()
    compared.student.suffix.eval().requires_grad_(False)  # without dropout, as the teacher
    learning = nn.ModuleList(blocks).requires_grad_(True)
    optimiser = torch.optim.Adam(learning.parameters(), lr=settings.lr)
    curve, done, scale = TogetherCurve(), 0, 1.0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        learning.load_state_dict(state["blocks"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        curve, done, scale = TogetherCurve(**state["curve"]), state["done"], state["scale"]
        best, variances = state["best"], state["variances"]
    else:
        torch.manual_seed(settings.seed)
        errors, variances = measure_together(compared, *held_out)
        if not all(map(math.isfinite, errors)):
            raise UserError("the errors of the converted layers are not finite: convert with a lower --lr")
        best = copy.deepcopy(learning.state_dict())
        curve.steps.append(0)
        curve.held_out.append(errors)
    earlier = curve.seconds
    looks = {round(settings.steps * look / LOOKS) for look in range(1, LOOKS + 1)}
    for step in range(done + 1, settings.steps + 1):
        rate = scale * settings.lr * (1 + math.cos(math.pi * (step - 1) / settings.steps)) / 2
        # Adam's first steps are its largest.
        rate *= min(1.0, (step - max(curve.halved, default=0)) / WARM_UP)
        for group in optimiser.param_groups:
            group["lr"] = rate
        hidden, mask = train[0](batch_of(step - 1, train[1], settings.seed))
        targets = compared.find_targets(hidden, mask)
        frames = int(count_frames(hidden, mask).sum())
        squares = compared.sum_squares(hidden, mask, targets)
        loss = (squares / frames / squares.new_tensor(variances)).mean()
        diverges = not loss.isfinite()
        if not diverges:
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learning.parameters(), CLIP)
            optimiser.step()
        if step in looks or diverges:
            errors, _ = measure_together(compared, *held_out)
            mean = fmean(errors)
            diverges = diverges or not mean < WORSE * curve.best  # NaN too
            if diverges:
                learning.load_state_dict(best)
                optimiser.state.clear()
                scale /= 2
                curve.halved.append(step)
            else:
                if mean <= curve.best:
                    best = copy.deepcopy(learning.state_dict())
                curve.steps.append(step)
                curve.held_out.append(errors)
        curve.seconds = earlier + time.monotonic() - began
        if step % KEEPS == 0:
            state = {
                "blocks": learning.state_dict(), "optimiser": optimiser.state_dict(), "best": best,
                "random": torch.get_rng_state(), "curve": asdict(curve), "done": step, "scale": scale,
                "variances": variances,
            }  # fmt: skip
            write_atomically(checkpoint, lambda temporary, state=state: torch.save(state, temporary))
        on_step(step, curve)
    learning.load_state_dict(best)
    return curve
