"""ESPnet's trainer with files that survive a kill at any moment."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from espnet2.torch_utils.safe_torch_load import safe_torch_load
from espnet2.train.reporter import Reporter
from espnet2.train.trainer import Trainer

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically


class WsmTrainer(Trainer):
    """ESPnet 202611 writes checkpoints in place, and one epoch's files one after the other.

    A kill in the first leaves a checkpoint that cannot be read, a kill between the others an epoch whose
    model or links are missing, on which the averaging at the end fails. Here every file is moved into place
    when it is whole, and resuming first completes what the last epoch left undone.
    """

    @classmethod
    def run(cls, model, *args, trainer_options, distributed_option, **kwargs) -> None:
        """As ESPnet's."""
        output_dir = Path(trainer_options.output_dir)
        if not distributed_option.distributed or distributed_option.dist_rank == 0:
            for leftover in output_dir.glob(".*.pth.*.tmp"):  # of a run killed in the middle of writing
                leftover.unlink()
            if trainer_options.resume and (output_dir / "checkpoint.pth").exists():
                complete_last_epoch(output_dir, trainer_options.best_model_criterion)
        with atomic_torch_save():
            super().run(
                model,
                *args,
                trainer_options=trainer_options,
                distributed_option=distributed_option,
                **kwargs,
            )


@contextlib.contextmanager
def atomic_torch_save() -> Iterator[None]:
    """Let ``torch.save`` to a path write a neighbour first; ESPnet's trainer takes no other save function."""
    save = torch.save

    def save_atomically(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(f, (str, Path)):
            write_atomically(Path(f), lambda temporary: save(obj, temporary, *args, **kwargs))
        else:
            save(obj, f, *args, **kwargs)

    torch.save = save_atomically
    try:
        yield
    finally:
        torch.save = save


def complete_last_epoch(output_dir: Path, criteria: list[list[str]]) -> None:
    """Write the model and the links of the epoch in ``checkpoint.pth`` where a kill left them out.

    Args:
        output_dir: the experiment's folder.
        criteria: ESPnet's ``best_model_criterion``.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    checkpoint = output_dir / "checkpoint.pth"
    try:
        states = safe_torch_load(checkpoint, map_location="cpu")
        model, reporter = states["model"], Reporter()
        reporter.load_state_dict(states["reporter"])
    except Exception as error:  # torch and pickle raise anything here
        raise UserError(
            f"{checkpoint} cannot be resumed from ({type(error).__name__}: {error}): delete it to train anew"
        ) from error
    epoch = reporter.get_epoch()
    file = output_dir / f"{epoch}epoch.pth"
    if not file.exists():
        logging.warning("%s is missing: written again from %s", file, checkpoint)
        write_atomically(file, lambda temporary: torch.save(model, temporary))
    _link(output_dir / "latest.pth", file.name)
    for phase, name, mode in criteria:
        if reporter.has(phase, name) and reporter.get_best_epoch(phase, name, mode) == epoch:
            _link(output_dir / f"{phase}.{name}.best.pth", file.name)


def _link(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
