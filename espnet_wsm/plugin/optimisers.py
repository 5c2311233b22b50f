"""Whether optimiser and scheduler can be made as a training's arguments say, before anything is stored."""

import argparse
import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.rules import is_number

# ESPnet's own schedulers: the modules that have them. Its table of all classes takes seconds to import.
SCHEDULERS = {
    "noamlr": "noam_lr:NoamLR",
    "warmuplr": "warmup_lr:WarmupLR",
    "piecewiselinearwarmuplr": "piecewise_linear_warmup_lr:PiecewiseLinearWarmupLR",
    "warmupsteplr": "warmup_step_lr:WarmupStepLR",
    "warmupreducelronplateau": "warmup_reducelronplateau:WarmupReduceLROnPlateau",
    "cosineannealingwarmuprestarts": "cosine_anneal_warmup_restart:CosineAnnealingWarmupRestarts",
    "tristagelr": "tristage_lr:TristageLR",
    "exponentialdecaywarmup": "exponential_decay_warmup:ExponentialDecayWarmup",
}

FUSED = ("adam", "adamw")  # have a step in one pass over memory


def fuse(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments of a training with the fused form of its optimiser, where that is there.

    On a CPU a step of AdamW takes a quarter of the time of torch's default, one operation after the other.
    What ``optim_conf`` says of ``fused`` or ``foreach`` stands.
    """
    conf = args.optim_conf or {}
    if args.ngpu > 0 or (args.optim or "").lower() not in FUSED or conf.keys() & {"fused", "foreach"}:
        return args
    return argparse.Namespace(**vars(args) | {"optim_conf": {**conf, "fused": True}})


def check_optimiser(args: argparse.Namespace, source: object) -> None:
    """Make the optimiser and the scheduler of a training for one parameter.

    Args:
        args: ``optim``, ``optim_conf``, ``scheduler`` and ``scheduler_conf``; classes that are not torch's
            or ESPnet's own are left to ESPnet.
        source: the file or the command line that they are from, for messages.

    Raises:
        UserError: they cannot be made; says what torch says, or names a flag where a number is meant.
    """
    import torch

    parameters = [torch.nn.Parameter(torch.zeros(1))]
    made = _make(source, "optim_conf", _find_optimiser(args.optim or ""), parameters, args)
    if made is not None and args.scheduler is not None:
        _make(source, "scheduler_conf", _find_scheduler(args.scheduler), made, args)


def _make(source: object, name: str, found: type | None, first: Any, args: argparse.Namespace) -> Any:
    """The class with its settings, None if the class is not known."""
    conf: Mapping[str, Any] = getattr(args, name) or {}
    if found is None:
        return None
    parameters = inspect.signature(found).parameters
    for key, value in conf.items():
        if isinstance(value, bool) and key in parameters and is_number(parameters[key].default):
            raise UserError(f"{source}: {name}.{key} has to be a number, got {value!r}")
    try:
        return found(first, **conf)
    except (TypeError, ValueError, ArithmeticError) as error:
        reason = str(error).removeprefix(f"{found.__name__}.__init__() ")
        raise UserError(f"{source}: {name} does not fit {found.__name__}: {reason}") from error


def _find_optimiser(name: str) -> type | None:
    import torch
    from espnet2.optimizers.sgd import SGD  # with a learning rate by default

    known = {key.lower(): value for key, value in vars(torch.optim).items() if inspect.isclass(value)}
    return (known | {"sgd": SGD}).get(name.lower())


def _find_scheduler(name: str) -> type | None:
    import torch

    if place := SCHEDULERS.get(name.lower()):
        module, _, found = place.partition(":")
        return getattr(import_module(f"espnet2.schedulers.{module}"), found)
    of_torch = vars(torch.optim.lr_scheduler).items()
    return {key.lower(): value for key, value in of_torch if inspect.isclass(value)}.get(name.lower())
