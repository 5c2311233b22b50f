"""What fine-tuning costs, read off a model: bytes that autograd keeps, size of a file, a step in parts."""

import contextlib
import io
import statistics
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn
    from torch.optim import Optimizer


class SavedBytes:
    """What autograd keeps between forward and backward, in bytes.

    At the end of the forward pass, the storages of saved tensors are counted, each once and as a whole. The
    first count leaves out those of the model's parameters and buffers, which exist anyway; the second
    includes them. Both are exact and repeatable.
    """

    class _Kept:
        def __init__(self, tensor: "Tensor"):
            # As it is, an operation's own result would keep the operation alive, and that would keep this.
            self.tensor = tensor.detach()

    def __init__(self, model: "nn.Module"):
        self._own = {
            t.untyped_storage().data_ptr()
            for tensors in (model.parameters(), model.buffers())
            for t in tensors
        }
        self._kept: weakref.WeakSet[SavedBytes._Kept] = weakref.WeakSet()

    def hooks(self) -> contextlib.AbstractContextManager:
        """Context for the forward pass."""
        from torch.autograd.graph import saved_tensors_hooks

        def pack(tensor: "Tensor") -> SavedBytes._Kept:
            kept = self._Kept(tensor)
            self._kept.add(kept)
            return kept

        return saved_tensors_hooks(pack, lambda kept: kept.tensor)

    @contextlib.contextmanager
    def only(self, module: "nn.Module") -> Iterator[None]:
        """Hooks on the forward pass of one module, whatever is called around it."""
        inside: list[contextlib.AbstractContextManager] = []

        def enter(*_: Any) -> None:
            inside.append(self.hooks())
            inside[-1].__enter__()

        def leave(*_: Any) -> None:
            inside.pop().__exit__(None, None, None)

        handles = [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def count(self) -> dict[str, int]:
        """Bytes that are still kept, without and with the model's own tensors."""
        storages = {}
        for kept in self._kept:
            storage = kept.tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return {
            "saved_bytes": sum(size for pointer, size in storages.items() if pointer not in self._own),
            "saved_with_parameters_bytes": sum(storages.values()),
        }


def draw_texts(
    generator: "Generator", batch: int, num_tokens: int, vocabulary: int
) -> tuple["Tensor", "Tensor"]:
    """Random transcripts without blanks, (B, S), and their lengths, (B,)."""
    import torch

    targets = torch.randint(1, vocabulary, (batch, num_tokens), generator=generator)
    return targets, torch.full((batch,), num_tokens)


def take_step(
    encode: Callable[[], tuple["Tensor", "Tensor"]],
    ctc: "nn.Module",
    texts: tuple["Tensor", "Tensor"],
    optimizer: "Optimizer",
    saved: SavedBytes | None = None,
    precision: contextlib.AbstractContextManager | None = None,
    mark: Callable[[str], None] = lambda name: None,
) -> dict[str, int]:
    """One step of training with a CTC head: forward, loss, backward, update.

    Args:
        encode: returns (B, T, D) and lengths (B,).
        ctc: ESPnet's head with its loss.
        texts: targets (B, S) and their lengths (B,).
        optimizer: of all that trains.
        saved: counts what the forward pass leaves.
        precision: context of the forward pass.
        mark: called with the name of each part when it is done: encoded, loss, head_done (its backward pass),
            backward, updated.

    Returns:
        what ``saved`` counted.
    """
    with saved.hooks() if saved else contextlib.nullcontext():
        with precision or contextlib.nullcontext():
            encoded, lengths = encode()
            mark("encoded")
            if encoded.requires_grad:
                encoded.register_hook(lambda _grad: mark("head_done"))
            loss = ctc(encoded, lengths, *texts)
    mark("loss")
    counted = saved.count() if saved else {}
    loss.backward()
    mark("backward")
    optimizer.step()
    mark("updated")
    optimizer.zero_grad(set_to_none=True)
    return counted


class CountingFile(io.RawIOBase):
    """Counts what is written and discards it."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Count ``data``."""
        written = memoryview(data).nbytes
        self.size += written
        return written


def saved_size(value: Any) -> int:
    """Bytes of the file that ``torch.save`` writes for ``value``."""
    import torch

    file = CountingFile()
    torch.save(value, file)
    return file.size


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, least and greatest."""
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def find_cpu_name() -> str:
    """The processor's name; ``unknown`` if the system does not tell."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return "unknown"
