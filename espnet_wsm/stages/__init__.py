"""The commands that stage scripts and launchers call; those that people type are in bin."""

from typing import TYPE_CHECKING

from espnet_wsm.allocator import keep_memory
from espnet_wsm.errors import UserError

if TYPE_CHECKING:
    import torch


def find_device(ngpu: int) -> "torch.device":
    """The GPU, or the CPU for ``ngpu`` 0, on which the process then keeps its memory for the next tensors.

    Raises:
        UserError: a GPU is asked for, and there is none.
    """
    import torch  # takes seconds

    if ngpu > 0 and not torch.cuda.is_available():
        raise UserError("--ngpu 1, but PyTorch finds no CUDA device here; use --ngpu 0")
    if ngpu == 0:
        keep_memory()
    return torch.device("cuda" if ngpu > 0 else "cpu")


def split_arguments(argv: list[str]) -> tuple[list[str], list[str]]:
    """The arguments before the first ``--``, and those after it, which belong to another program."""
    if "--" not in argv:
        return argv, []
    place = argv.index("--")
    return argv[:place], argv[place + 1 :]
