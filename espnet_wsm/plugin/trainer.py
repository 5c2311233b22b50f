"""ESPnet's trainer, with files that survive a kill at any moment and errors that name the cause."""

import argparse
import contextlib
import errno
import logging
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from espnet2.main_funcs.average_nbest_models import average_nbest_models
from espnet2.torch_utils.safe_torch_load import safe_torch_load
from espnet2.train.reporter import Reporter, SubReporter, aggregate
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from espnet_wsm.data.kaldi.lists import count, name_some
from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in, write_atomically
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.plugin.blanks import STAT, BlankWatch, TokenCounter
from espnet_wsm.recipe.progress import find_progress_file, write_progress

MAX_BAD_STEPS = 10  # consecutive steps with a loss that is NaN or infinite
SHOWN = ("cer_ctc", "cer", "loss")  # validation figures beside the progress bar, if there are any


@dataclass
class WsmTrainerOptions(TrainerOptions):
    """ESPnet's, and after how many epochs with nothing but blanks to stop; 0: never."""

    stop_if_blank: int


class WsmTrainer(Trainer):
    """ESPnet 202611 writes checkpoints in place, and the files of an epoch one after the other.

    A kill during a write leaves a checkpoint that cannot be read. A kill between two files leaves an epoch
    without its model or links, on which the averaging at the end fails, or older models that are never
    removed. Here every file is renamed into place when it is complete, and resuming first completes what the
    last epoch left undone. Where there are no symbolic links, copies stand in for them.

    ESPnet's trainer also goes on for hours if every loss is NaN, and then ends with status 0; and it does not
    say which batch was too large for the GPU. See :meth:`train_one_epoch`. Both are mended, and a file says
    how far the training is. See `espnet_wsm.plugin.blanks` for trainings with empty hypotheses.
    """

    # Of the last epoch of this training. ESPnet's trainers are not instantiated.
    figures: ClassVar[dict[str, float]] = {}
    watch: ClassVar[BlankWatch] = BlankWatch()

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """As ESPnet's, with an option of our own."""
        super().add_arguments(parser)
        parser.add_argument(
            "--stop_if_blank",
            type=int,
            default=0,
            help="end a training whose CTC predicts nothing but blanks for the validation set after so many "
            "epochs, and whose validation loss does not fall (default: 0, never)",
        )

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> WsmTrainerOptions:
        """As ESPnet's."""
        return build_dataclass(WsmTrainerOptions, args)

    @classmethod
    def resume(cls, *, reporter: Reporter, **kwargs: Any) -> None:
        """As ESPnet's."""
        super().resume(reporter=reporter, **kwargs)
        cls.watch.replay(reporter.stats)

    @classmethod
    def run(cls, model, *args, trainer_options, distributed_option, **kwargs) -> None:
        """As ESPnet's."""
        output_dir = Path(trainer_options.output_dir)
        cls.figures, cls.watch = {}, BlankWatch(trainer_options.stop_if_blank)
        with atomic_torch_save(), links_or_copies():
            if is_first(distributed_option):
                for leftover in output_dir.glob(".*.tmp"):  # of a run killed in the middle of writing
                    leftover.unlink()
                if trainer_options.resume and (output_dir / "checkpoint.pth").exists():
                    complete_last_epoch(trainer_options)
            super().run(
                model,
                *args,
                trainer_options=trainer_options,
                distributed_option=distributed_option,
                **kwargs,
            )
        cls.watch.stop(output_dir)

    @classmethod
    def train_one_epoch(cls, model: torch.nn.Module, **kwargs: Any) -> bool:
        """As ESPnet's. In both, a step with a loss that is NaN or infinite does not change the model.

        Raises:
            UserError: there were ``MAX_BAD_STEPS`` such steps in a row, or no others in an epoch; or a batch
                did not fit into the GPU's memory; or the training is stuck with blanks.
        """
        cls.watch.stop(Path(kwargs["options"].output_dir))
        cls.report_progress(kwargs["reporter"].epoch - 1, **kwargs)
        last = LastBatch()
        handles = (
            model.register_forward_pre_hook(last.note, with_kwargs=True),
            model.register_forward_hook(last.check_loss),
        )
        try:
            only_bad_steps = super().train_one_epoch(model=model, **kwargs)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the GPU ran out of memory with {last}: lower --batch_bins, --max_wav_duration of stage 2 "
                f"or num_replaced ({' '.join(str(error).split())})"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
        if only_bad_steps:
            raise UserError(f"no step of this epoch could be used, the last with {last}: {REMEDY}")
        steps = kwargs["reporter"].get_total_count() // kwargs["options"].accum_grad
        cls.watch.trained(steps, kwargs["optimizers"][0])
        return only_bad_steps

    @classmethod
    def validate_one_epoch(cls, **kwargs: Any) -> None:
        """As ESPnet's; also counts the tokens of CTC's best path."""
        with TokenCounter(kwargs["model"]) as counter:
            super().validate_one_epoch(**kwargs)
        stats = kwargs["reporter"].stats
        values = {name: float(aggregate(stats[name])) for name in SHOWN if name in stats}
        cls.figures = {f"valid {name}": value for name, value in values.items() if math.isfinite(value)}
        cls.watch_blanks(counter, **kwargs)
        cls.report_progress(kwargs["reporter"].epoch, **kwargs)

    @classmethod
    def watch_blanks(
        cls,
        counter: TokenCounter,
        reporter: SubReporter,
        options: TrainerOptions,
        distributed_option: Any,
        **_: Any,
    ) -> None:
        """Report the tokens of an epoch, and warn once of a training that is stuck with blanks."""
        utterances, tokens, in_texts = counter.sum(distributed_option.distributed)
        if not utterances:
            return
        cls.watch.add(tokens, float(aggregate(reporter.stats["loss"])))
        reporter.register({STAT: tokens / utterances})
        reporter.next()
        warning = cls.watch.look(utterances, in_texts, is_last=reporter.epoch == options.max_epoch)
        if warning and is_first(distributed_option):
            logging.warning(warning)

    @classmethod
    def report_progress(cls, epochs: int, options: TrainerOptions, distributed_option: Any, **_: Any) -> None:
        """Write how many epochs are done, with the last figures, once for all processes."""
        if is_first(distributed_option):
            file = find_progress_file(Path(options.output_dir) / "train.log")
            write_progress(file, epochs, options.max_epoch, cls.figures, note=cls.watch.note)


def is_first(distributed_option: Any) -> bool:
    """Whether this process writes for all that train together."""
    return not distributed_option.distributed or distributed_option.dist_rank == 0


REMEDY = (
    "the last checkpoint is untouched; look at the audio and text of these utterances, lower optim_conf.lr, "
    "or use float32 for prefix_dtype and suffix_dtype"
)


class LastBatch:
    """Keeps track of the utterances in the current batch and of the number of consecutive bad steps."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.seconds: list[float] = []
        self.bad_steps = 0

    def note(self, _model: torch.nn.Module, _args: Any, batch: dict[str, Any]) -> None:
        """Before the forward pass of an ESPnet model: keep the ids and lengths of the batch."""
        samples = HOP if batch["speech"].dim() == 3 else 1  # stored features, or waveforms
        self.ids = list(batch["utt_id"])
        self.seconds = [length * samples / SAMPLE_RATE for length in batch["speech_lengths"].tolist()]

    def check_loss(self, _model: torch.nn.Module, _args: Any, output: Any) -> None:
        """After the forward pass: count bad steps."""
        loss = (output["loss"] if isinstance(output, dict) else output[0]).detach()
        if torch.isfinite(loss).all():
            self.bad_steps = 0
            return
        self.bad_steps += 1
        logging.warning("the loss is %s with %s: this step is skipped", loss.tolist(), self)
        if self.bad_steps == MAX_BAD_STEPS:
            raise UserError(
                f"the loss was NaN or infinite in {MAX_BAD_STEPS} consecutive steps, the last with {self}: "
                f"{REMEDY}"
            )

    def __str__(self) -> str:
        longest = max(range(len(self.ids)), key=self.seconds.__getitem__)
        return (
            f"a batch of {count(len(self.ids), 'utterance')} ({name_some(self.ids)}; longest "
            f"{self.ids[longest]}, {self.seconds[longest]:.1f} s)"
        )


@contextlib.contextmanager
def atomic_torch_save() -> Iterator[None]:
    """Make ``torch.save`` write a temporary file first; ESPnet's trainer accepts no other save function."""
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


# What file systems without symbolic links answer: FAT, network and cloud drives.
NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})


@contextlib.contextmanager
def links_or_copies() -> Iterator[None]:
    """Make ``Path.symlink_to`` copy where there are no symbolic links; ESPnet's trainer calls it."""
    symlink = Path.symlink_to

    def link_or_copy(link: Path, target: Path | str, *args: Any, **kwargs: Any) -> None:
        try:
            symlink(link, target, *args, **kwargs)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            write_atomically(link, lambda temporary: shutil.copyfile(link.parent / target, temporary))

    Path.symlink_to = link_or_copy
    try:
        yield
    finally:
        Path.symlink_to = symlink


def complete_last_epoch(options: TrainerOptions) -> None:
    """Finish the last epoch, if ESPnet's trainer was killed after it wrote ``checkpoint.pth``.

    This writes the epoch's model, its links and, at the end of an interval, averages, and removes older
    models.

    Args:
        options: options of the training that is resumed.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    output_dir = Path(options.output_dir)
    checkpoint = output_dir / "checkpoint.pth"
    refuse_stand_in(checkpoint)
    try:
        states = safe_torch_load(checkpoint, map_location="cpu")
        model, reporter = states["model"], Reporter()
        reporter.load_state_dict(states["reporter"])
    except Exception as error:  # torch and pickle may raise anything here
        raise UserError(
            f"{checkpoint} cannot be resumed from ({type(error).__name__}: {error}): delete it to train anew"
        ) from error
    epoch = reporter.get_epoch()
    file = output_dir / f"{epoch}epoch.pth"
    if not file.exists():
        logging.warning("%s is missing: written again from %s", file, checkpoint)
        torch.save(model, file)
    _link(output_dir / "latest.pth", file.name)
    counts = options.keep_nbest_models
    counts = [counts] if isinstance(counts, int) else counts or [1]
    kept: set[int] = set()
    for phase, name, mode in options.best_model_criterion:
        if reporter.has(phase, name):
            epochs = reporter.sort_epochs(phase, name, mode)
            kept.update(epochs[: max(counts)])
            if epochs[0] == epoch:
                _link(output_dir / f"{phase}.{name}.best.pth", file.name)
    interval = options.nbest_averaging_interval
    if interval > 0 and epoch % interval == 0:
        average_nbest_models(output_dir, reporter, options.best_model_criterion, counts, f"till{epoch}epoch")
    for older in set(range(1, epoch)) - kept:
        (output_dir / f"{older}epoch.pth").unlink(missing_ok=True)


def _link(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
