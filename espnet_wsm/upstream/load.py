"""Load an upstream through S3PRL, or say in one sentence why it cannot be loaded."""

import warnings
from pathlib import Path

import torch
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families import FamilyContract, find_family

PATH_SUFFIXES = ("_custom", "_local")


def load_upstream(name: str, path: str | None = None) -> tuple[nn.Module, FamilyContract]:
    """S3PRL's expert for ``name`` with its weights, in eval mode, and the contract of its family.

    The random numbers that S3PRL draws before it loads the weights are not taken from the global generator,
    so that new blocks start the same whether an upstream was loaded or not.

    Args:
        name: S3PRL's name; those that end in ``_custom`` or ``_local`` need a ``path``.
        path: checkpoint file or directory.

    Raises:
        UserError: unknown name, missing path, or a path that is not a checkpoint of that family.
    """
    family = find_family(name)
    if name.endswith("_url"):
        raise UserError(f"upstream {name}: fetch the file and name it with {name.removesuffix('_url')}_local")
    if name.endswith(PATH_SUFFIXES) and not path:
        raise UserError(f"upstream {name} needs the path of a checkpoint: set encoder_conf 'path'")
    if path and not name.endswith(PATH_SUFFIXES):
        # S3PRL would fetch its own checkpoint all the same.
        raise UserError(f"upstream {name} has its own checkpoint and takes no path, got {path}")
    if path:
        if not Path(path).exists():
            raise UserError(f"upstream path {path} does not exist")
        family.check_path(Path(path))

    with warnings.catch_warnings(action="ignore"):  # about the code of upstreams that nobody has asked for
        from s3prl import hub  # takes seconds
    from transformers.utils import logging as transformers_logging

    if not hasattr(hub, name):
        raise UserError(f"upstream {name!r} is unknown to the installed S3PRL")
    transformers_logging.disable_progress_bar()  # one bar per load would drown the training log
    with torch.random.fork_rng(devices=[]):
        try:
            expert = getattr(hub, name)(ckpt=path) if path else getattr(hub, name)()
        except Exception as error:  # S3PRL, transformers and pickle raise anything here
            source = path or "its download"
            raise UserError(
                f"upstream {name} cannot be loaded from {source}: {type(error).__name__}: {error}"
            ) from error
        family.check_expert(expert)
        if path:
            family.check_weights(expert, Path(path))
    return expert.eval(), family
