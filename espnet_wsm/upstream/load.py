"""Load an upstream through S3PRL, or say in one sentence why it cannot be loaded."""

import contextlib
import os
import textwrap
import warnings
from collections.abc import Iterator

import torch
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.checkpoint import Checkpoint, find_checkpoint
from espnet_wsm.upstream.conversion import load_blocks
from espnet_wsm.upstream.weights.pickles import Distrusted, runs_code

# Characters shown of a loader's message; torch may list hundreds of weights.
LONGEST_REASON = 300


def load_upstream(upstream: str, trust: bool = False) -> tuple[nn.Module, Checkpoint]:
    """S3PRL's expert with its weights, in eval mode, and the checkpoint it came from.

    S3PRL draws random numbers before it loads the weights. They do not come from the global generator, so
    that new blocks are initialised the same whether an upstream was loaded or not.

    Args:
        upstream: S3PRL's name, or the path of a checkpoint.
        trust: whether a pickle may run code.

    Raises:
        UserError: the upstream is not on this machine, not supported, damaged, or needs ``trust``.
    """
    checkpoint = find_checkpoint(upstream, trust)
    family, place = checkpoint.family, checkpoint.place
    with (
        torch.random.fork_rng(devices=[]),
        _unpickling(trust),
        warnings.catch_warnings(action="ignore"),  # about S3PRL's own code, even of unrelated upstreams
    ):
        try:
            expert = family.load(checkpoint.weights)
        except UserError:
            raise
        except Exception as error:  # S3PRL, transformers and pickle may raise anything here
            if runs_code(error) and not trust:
                raise Distrusted(place, error) from error
            reason = textwrap.shorten(f"{type(error).__name__}: {error}", LONGEST_REASON, placeholder=" ...")
            raise UserError(f"upstream {checkpoint.name} cannot be loaded from {place}: {reason}") from error
        family.check_expert(expert)
        family.check_weights(expert, checkpoint.weights)
        if checkpoint.conversion is not None:
            load_blocks(expert, checkpoint.conversion, family, checkpoint.place)
    # transformers keeps the precision of the file. The layers above the cut cannot train in half precision.
    return expert.float().eval(), checkpoint


@contextlib.contextmanager
def _unpickling(trust: bool) -> Iterator[None]:
    """Make every torch.load inside read only weights, or with ``trust`` whatever the file holds."""
    # ESPnet's loader has its own switch, and otherwise asks on the terminal.
    allowing = ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "ESPNET_ALLOW_UNSAFE_TORCH_LOAD")
    forbidding = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD",)
    # torch refuses to load anything while both of its variables are set.
    before = {name: os.environ.pop(name, None) for name in (*allowing, *forbidding)}
    os.environ.update(dict.fromkeys(allowing if trust else forbidding, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
