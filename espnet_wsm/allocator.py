"""Where a process computes, and the memory that it keeps: tensors on a CPU, and what imports leave."""

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from espnet_wsm.errors import UserError

if TYPE_CHECKING:
    import torch

# mallopt's numbers in glibc's malloc.h, and their values in bytes. A C int holds no larger ones.
SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
    "MALLOC_TOP_PAD_": (-2, 2**26),
    "MALLOC_MMAP_THRESHOLD_": (-3, 2**30),
}


# How many kernels oneDNN keeps for shapes that it has seen: 1024, if this is not set when it is first used.
# Few serve the layers of a batch, which have the same shapes one after the other.
KERNELS, FEW = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16"


def keep_memory(kernels: bool = False) -> bool:
    """Let glibc keep what is freed, for the next tensor of that size.

    It maps every tensor above 32 MiB anew, and unmaps it when it is freed. The kernel then hands out and
    zeroes each page once more, 4 KiB at a time, which takes longer than a windowed mean over it. A process
    holds its peak from then on. Other C libraries do as they do; variables of the environment by these names
    count more.

    Args:
        kernels: whether oneDNN keeps all kernels, for shapes that come again and again: a convolution of a
            second of audio then takes half the time. Of batches of ever other sizes none is used in two, and
            each lies where it was made, among large tensors: what these leave free between two of them fits
            none of the next, and the process grows by a gigabyte in an hour of audio. So a few are kept,
            for the layers of a batch: to make one anew for each takes longer than to use it, in bfloat16 with
            AMX.

    Returns:
        Whether the settings are in force.
    """
    if not kernels:
        os.environ.setdefault(KERNELS, FEW)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = [setting for name, setting in SETTINGS.items() if name not in os.environ]
    return all([mallopt(number, value) == 1 for number, value in wanted])


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


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Run what makes many objects that stay, such as imports, without Python's search for garbage.

    The search looks through all that is there, time and again: a fifth of what importing torch takes. What is
    there at the end is left out of later searches too.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
