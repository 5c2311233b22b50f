"""Notice a CTC training whose hypotheses stay empty, which is easily taken for one that only needs time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.errors import UserError

STAT = "tokens_ctc"  # tokens of CTC's best path per validation utterance, in ESPnet's reporter
MIN_EPOCHS, MIN_STEPS = 2, 100  # before these, blanks alone are no reason to warn, unless training ends
LEARNING = 0.02  # an epoch that lowers the validation loss by this share begins to learn


def count_tokens(best: torch.Tensor, lengths: torch.Tensor, blank: int) -> int:
    """The number of tokens in best paths, without repeats and blanks.

    Args:
        best: (B, T) the best token of every frame.
        lengths: (B,) number of valid frames.
        blank: id of the blank.
    """
    frames = torch.arange(best.size(1), device=best.device)
    starts = torch.ones_like(best, dtype=torch.bool)
    starts[:, 1:] = best[:, 1:] != best[:, :-1]
    valid = frames < lengths.to(best.device)[:, None]
    return int((valid & starts & (best != blank)).sum())


class TokenCounter:
    """Counts what CTC's best path has while an ESPnet model validates, if nothing but CTC decodes.

    Example:
      with TokenCounter(model) as counter:
          validate(model)
      utterances, tokens, in_texts = counter.sum(distributed=False)
    """

    def __init__(self, model: torch.nn.Module) -> None:
        model = getattr(model, "module", model)  # of DistributedDataParallel
        ctc, decoder = (getattr(model, name, None) for name in ("ctc", "decoder"))
        self.ctc = ctc if decoder is None else None
        self.blank: int = getattr(model, "blank_id", 0)
        layers = getattr(getattr(model, "encoder", None), "interctc_layer_idx", ())
        # ESPnet calls CTC for the output first, then for each layer inside.
        self.calls, self.calls_each = 0, 1 + (len(layers) if getattr(model, "interctc_weight", 0) else 0)
        self.counts = [(0, 0, 0)]  # utterances, tokens, tokens of their texts, of each batch

    def __enter__(self) -> "TokenCounter":
        self.handle = self.ctc and self.ctc.register_forward_hook(self.note)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.handle:
            self.handle.remove()

    def note(self, ctc: torch.nn.Module, args: tuple[torch.Tensor, ...], _output: Any) -> None:
        """After the forward pass of ESPnet's CTC: count the batch."""
        self.calls += 1
        if (self.calls - 1) % self.calls_each:
            return
        encoded, lengths, _, text_lengths = args
        tokens = count_tokens(ctc.argmax(encoded), lengths, self.blank)
        self.counts.append((len(lengths), tokens, int(text_lengths.sum())))

    def sum(self, distributed: bool) -> tuple[int, int, int]:
        """Utterances, their tokens, and the tokens of their texts, of all processes."""
        total = torch.tensor(self.counts).sum(dim=0)
        if distributed and self.ctc is not None:
            total = total.to(next(self.ctc.parameters()).device)
            torch.distributed.all_reduce(total)
        utterances, tokens, in_texts = total.tolist()
        return utterances, tokens, in_texts


class BlankWatch:
    """Decides from one epoch to the next whether a training is stuck with blanks.

    It is stuck if no validation utterance has a token and the last epoch lowered the validation loss by less
    than ``LEARNING``: while CTC predicts blanks its loss stands still, and it falls before the first token.

    Args:
        stop_after: epochs in a row with blanks alone after which a stuck training stops; 0: never.
    """

    def __init__(self, stop_after: int = 0) -> None:
        if stop_after < 0:
            raise UserError(f"stop_if_blank has to be a number of epochs, or 0 for never, got {stop_after}")
        self.stop_after = stop_after
        self.epochs = 0  # in a row with blanks alone
        self.losses: list[float] = []  # of the last two epochs
        self.steps = 0
        self.rate = self.peak = float("nan")
        self.note = ""  # what to tell the user

    def replay(self, stats: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> None:
        """Take over what ESPnet's reporter has of the epochs of a training that is resumed."""
        for epoch in sorted(stats):
            valid = stats[epoch].get("valid", {})
            if STAT in valid:
                self.add(valid[STAT], valid["loss"])

    def add(self, tokens: float, loss: float) -> None:
        """An epoch ended with so many tokens per utterance and this validation loss."""
        self.epochs = 0 if tokens > 0 else self.epochs + 1
        self.losses = [*self.losses[-1:], float(loss)]

    def trained(self, steps: int, optimizer: torch.optim.Optimizer) -> None:
        """An epoch of training ended after so many steps in all."""
        self.steps = steps
        group = optimizer.param_groups[0]
        self.rate, self.peak = group["lr"], group.get("initial_lr", group["lr"])

    @property
    def is_stuck(self) -> bool:
        """Whether there are blanks alone, and the loss does not fall."""
        falls = len(self.losses) == 2 and self.losses[1] < (1 - LEARNING) * self.losses[0]
        return self.epochs > 0 and not falls

    def look(self, utterances: int, in_texts: int, is_last: bool) -> str:
        """A warning, if this is the first epoch that deserves one, else nothing.

        Args:
            utterances: number of validation utterances.
            in_texts: number of tokens in their texts.
            is_last: whether training ends here.
        """
        if not self.epochs:
            self.note = ""
        long_enough = self.epochs >= MIN_EPOCHS and self.steps >= MIN_STEPS and self.is_stuck
        if self.note or not (long_enough or (self.epochs and is_last)):
            return ""
        losses = " and then ".join(f"{loss:.2f}" for loss in self.losses)
        self.note = (
            f"the hypotheses of {count(utterances, 'validation utterance')} are empty after "
            f"{count(self.epochs, 'epoch')} ({count(self.steps, 'step')}): CTC predicts nothing but blanks, "
            f"where the texts have {count(in_texts, 'token')}; the validation loss is {losses}. Train longer "
            "(max_epoch, num_iters_per_epoch), help it with model_conf.flat_start, shorten the warm-up "
            "(scheduler_conf; the learning rate is "
            f"{self.rate:.3g} of {self.peak:.3g} now), or try learning rates from a third to three times the "
            "present one (optim_conf.lr)"
        )
        return self.note

    def stop(self, output_dir: Path) -> None:
        """End the training in ``output_dir`` if it is stuck for as many epochs as the user allows.

        Raises:
            UserError: it is.
        """
        if self.stop_after and self.epochs >= self.stop_after and self.is_stuck:
            raise UserError(
                f"{output_dir}: stop_if_blank {self.stop_after}: this training has had "
                f"{count(self.epochs, 'epoch')} in which CTC predicted nothing but blanks for the validation "
                "set. Train anew, in another folder, with model_conf.flat_start, another learning rate "
                "(optim_conf.lr), a shorter warm-up (scheduler_conf) or more steps (num_iters_per_epoch, "
                "max_epoch)"
            )
