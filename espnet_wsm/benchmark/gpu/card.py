"""A card of a given size: on a larger GPU by torch's own limit, on a CPU by counting what autograd keeps."""

import contextlib
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
    """Raises as soon as autograd keeps more than so many bytes."""

    def __init__(self, model: nn.Module, limit: int):
        super().__init__(model)
        self.limit, self.total = limit, 0
        self._storages: set[int] = set()

    def hooks(self) -> contextlib.AbstractContextManager:
        """Context for the forward pass."""

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._own | self._storages:
                self._storages.add(storage.data_ptr())
                self.total += storage.nbytes()
            if self.total > self.limit:
                raise torch.OutOfMemoryError(f"out of memory: more than {self.limit} bytes are kept")
            return tensor

        return torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)


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
        self._kept = counted.total

    def read_peak(self) -> int:
        """Bytes that autograd kept in the last :meth:`limit`."""
        return self._kept


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was too small: torch's own exception, or what a library of CUDA says in its place."""
    said = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in said or "ALLOC_FAILED" in said or "can't allocate memory" in said)
    )
