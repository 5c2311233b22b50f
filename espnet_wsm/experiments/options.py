"""The options of run.sh that a training run of a grid has."""

import json
from typing import Any

from espnet_wsm.arms import ARMS, STUDENTS, TRANSFER_FRAMES, TRANSFER_STEPS
from espnet_wsm.experiments.runs import Run

OPTIONS = ("mixer", "trainable", "num_replaced")  # keys of an arm that are options of run.sh


def write_key(key: str, value: Any) -> str:
    """A key of ``encoder_conf`` as in ``asr_args``, which is split at spaces."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"--encoder_conf {key}={text}"


def options_of(
    run: Run, asr_args: str = "", transfer: int = TRANSFER_STEPS, frames: int = TRANSFER_FRAMES
) -> list[str]:
    """The options of run.sh for a run, with the grid's ``asr_args`` before its own.

    ``transfer`` is the number of steps for arms that have one, ``frames`` that of frames in a step.
    """
    conf = ARMS[run.arm].options | {"num_replaced": run.num_replaced}
    options = {key: value for key, value in conf.items() if key in OPTIONS}
    if ARMS[run.arm].transfers or conf["mixer"] in STUDENTS:
        options["transfer"] = transfer if ARMS[run.arm].transfers else 0
    given = [f"--frames {frames}"] if ARMS[run.arm].transfers and frames != TRANSFER_FRAMES else []
    given += [ARMS[run.arm].transfer_args] if ARMS[run.arm].transfer_args else []
    if given:
        options["transfer_args"] = " ".join(given)
    if ARMS[run.arm].pseudo_rounds:
        options["pseudo_rounds"] = ARMS[run.arm].pseudo_rounds
    if run.window is not None:
        options["window"] = run.window
    if run.minutes is not None:
        options["train_minutes"] = run.minutes
    arguments = [*asr_args.split(), *ARMS[run.arm].training.split(), f"--seed {run.seed}"]
    if run.lr is not None:
        arguments.append(f"--optim_conf lr={run.lr:g}")
    if run.width is not None:
        arguments.append(f"--encoder_conf width={run.width}")
    arguments += [write_key(key, value) for key, value in conf.items() if key not in OPTIONS]
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*words, "--asr_args", " ".join(arguments)]
