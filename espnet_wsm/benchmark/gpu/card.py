"""A card of a given size: on a larger GPU by torch's own limit, on a CPU by counting what autograd keeps."""

import collections
import contextlib
import weakref
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from espnet_wsm.meters import SavedBytes

# What a process needs of a GPU beside the memory that torch gives to tensors: kernels and libraries.
CONTEXT_BYTES = 500_000_000


class CudaCard:
    """A GPU as if it had less memory: torch's allocator refuses what goes beyond.

    Args:
        size: bytes of the card, with those of the CUDA context.
    """

    def __init__(self, size: int):
        total = torch.cuda.mem_get_info()[1]
        self.usable = min(size, total) - CONTEXT_BYTES
        self._fraction = self.usable / total

    @contextlib.contextmanager
    def limit(self, model: nn.Module) -> Iterator[None]:
        """Within, ``torch.OutOfMemoryError`` is raised where such a card would have no more."""
        torch.cuda.empty_cache()  # what is cached counts
        torch.cuda.set_per_process_memory_fraction(self._fraction)
        try:
            yield None
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)

    def read_peak(self) -> int:
        """Bytes that torch gave to tensors at most since the last reset, in or after :meth:`limit`."""
        return torch.cuda.max_memory_allocated()


class _CountedBytes(SavedBytes):
    """What autograd keeps at a time, counted while it comes and goes; raises where that is more than so much.

    A backward pass keeps tensors too, where it computes values again, and may get them at the addresses of
    those that it has released, so that a storage counts only as long as something keeps it.
    """

    def __init__(self, model: nn.Module, limit: int):
        super().__init__(model)
        self.limit, self.now, self.peak = limit, 0, 0
        self._uses: collections.Counter[int] = collections.Counter()

    def hooks(self) -> contextlib.AbstractContextManager:
        """Context for forward and backward pass."""

        def pack(tensor: Tensor) -> SavedBytes._Kept:
            kept = self._Kept(tensor)
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._own:
                self._hold(storage.data_ptr(), storage.nbytes())
                weakref.finalize(kept, self._release, storage.data_ptr(), storage.nbytes())
            if self.peak > self.limit:
                raise torch.OutOfMemoryError(f"out of memory: more than {self.limit} bytes are kept")
            return kept

        return torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor)

    def _hold(self, address: int, size: int) -> None:
        self._uses[address] += 1
        if self._uses[address] == 1:
            self.now += size
            self.peak = max(self.peak, self.now)

    def _release(self, address: int, size: int) -> None:
        self._uses[address] -= 1
        if self._uses[address] == 0:
            self.now -= size


class CountingCard:
    """Stands in for a GPU in a dry run: autograd may keep so many bytes beside the model's own.

    Args:
        size: bytes.
    """

    def __init__(self, size: int):
        self.usable = size
        self._kept = 0

    @contextlib.contextmanager
    def limit(self, model: nn.Module) -> Iterator[None]:
        """Within, ``torch.OutOfMemoryError`` is raised where more is kept."""
        counted = _CountedBytes(model, self.usable)
        with counted.hooks():
            yield None
        self._kept = counted.peak

    def read_peak(self) -> int:
        """Bytes that autograd kept at most in the last :meth:`limit`."""
        return self._kept


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was too small: torch's own exception, or what a library of CUDA says in its place."""
    said = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in said or "ALLOC_FAILED" in said or "can't allocate memory" in said)
    )
