"""Find configuration and checkpoint of a trained experiment, without loading it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.files import read_written_yaml, refuse_stand_in

UNFINISHED = ".unfinished"  # what a stage leaves in its folder until that is whole
REMEDY = "name an experiment's folder as stage 3 leaves it, e.g. exp/asr_X, or a checkpoint in it"


@dataclass(frozen=True)
class Experiment:
    """What stage 3 leaves.

    Args:
        config: content of ESPnet's ``config.yaml``.
        checkpoint: the model's file.
    """

    config: dict[str, Any]
    checkpoint: Path


def find_experiment(place: Path) -> Experiment:
    """The experiment of a folder, with the checkpoint of :func:`choose_average`, or that of a checkpoint.

    Args:
        place: a folder with ``config.yaml``, or a checkpoint in it.

    Raises:
        UserError: there is none, it is no experiment, or its training is unfinished.
    """
    if not place.exists():
        raise UserError(f"{place} does not exist: {REMEDY}")
    folder = place if place.is_dir() else place.parent
    config = folder / "config.yaml"
    if not config.is_file():
        raise UserError(f"{folder} has no {config.name}: {REMEDY}")
    refuse_stand_in(config)
    conf = read_written_yaml(config)
    if place.is_file():
        return Experiment(conf, place)
    if (folder / UNFINISHED).exists():
        raise UserError(f"{folder} is unfinished: let its training (stage 3) end, or name a checkpoint in it")
    return Experiment(conf, choose_average(folder, conf["best_model_criterion"], "name a checkpoint in it"))


def choose_average(folder: Path, criteria: Sequence[Sequence[str]], otherwise: str) -> Path:
    """ESPnet's average of the best epochs by the first criterion that has one, validation criteria first.

    Args:
        folder: of the experiment.
        criteria: ``best_model_criterion`` of its configuration: phase, figure, min or max.
        otherwise: what to do besides finishing the training, for the message.

    Raises:
        UserError: there is no average.
    """
    names = [f"{phase}.{criterion}.ave.pth" for phase, criterion, _ in criteria]
    names.sort(key=lambda name: not name.startswith("valid."))
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder} has no {' or '.join(names)}: finish its training (stage 3), or {otherwise}")
