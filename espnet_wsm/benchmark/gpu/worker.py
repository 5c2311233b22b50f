"""The process of one upstream: builds its arms one after the other, and measures what it is asked to."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from espnet_wsm.benchmark.gpu.arm import DeviceArm
from espnet_wsm.benchmark.gpu.ceilings import measure_ceilings
from espnet_wsm.benchmark.gpu.plan import CheckPlan
from espnet_wsm.benchmark.memory import MEMORY_INFO, read_bytes
from espnet_wsm.benchmark.models import ARCHITECTURES, write_upstream
from espnet_wsm.benchmark.worker import Answer
from espnet_wsm.meters import find_cpu_name


class Builder:
    """Answers the requests of a check.

    Args:
        plan: of the check.
        architecture: of the upstream.
        upstream: its folder.
    """

    def __init__(self, plan: CheckPlan, architecture: str, upstream: Path):
        self.plan, self.architecture, self.upstream = plan, architecture, upstream
        self.arm: DeviceArm | None = None

    def __call__(self, do: str, **arguments: Any) -> Answer:
        """Do ``ceilings``, ``build``, ``use_cache``, ``point``, ``batch`` or ``release``.

        ``bytes_left`` is what is still in use when the model before is gone: 0 on a GPU, or something leaks.
        """
        return getattr(self, f"_{do}")(**arguments)

    def _ceilings(self) -> Answer:
        return measure_ceilings(self.plan.device)

    def _build(self, way: str, mixer: str, num_replaced: int | None) -> Answer:
        left = self._release()
        k = count_layers(self.architecture) if num_replaced is None else num_replaced
        self.arm = DeviceArm(way, mixer, k, self.architecture, self.upstream, self.plan)
        return self.arm.sizes() | left

    def _use_cache(self) -> Answer:
        self.arm.use_cache()
        return self.arm.sizes()

    def _point(self, seconds: float, dtype: str) -> Answer:
        return self.arm.measure_point(seconds, dtype)

    def _batch(self, utterances: int, dtype: str) -> Answer:
        return self.arm.try_batch(utterances, dtype)

    def _release(self) -> Answer:
        left = 0 if self.arm is None else self.arm.release()
        self.arm = None
        return {"bytes_left": left}


def count_layers(architecture: str) -> int:
    """Layers of an upstream."""
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(**ARCHITECTURES[architecture]).num_hidden_layers


def begin(plan: CheckPlan, architecture: str, folder: Path) -> tuple[Answer, Builder]:
    """Write the upstream and describe the machine; the body of a process, see ``benchmark.worker.serve``."""
    if plan.device == "cuda":
        # As ESPnet's training sets them; float32 products are torch's default.
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    upstream = write_upstream(folder, architecture, 0, with_native=False)
    machine = describe_machine(plan.device)
    return {"machine": machine}, Builder(plan, architecture, upstream)


def describe_machine(device: str) -> dict[str, Any]:
    """Hardware and the versions that belong to it."""
    described: dict[str, Any] = {
        "device": device,
        "gpu": None,
        "cpu": find_cpu_name(),
        "cores": os.cpu_count(),
        "memory_bytes": read_bytes(MEMORY_INFO, "MemTotal"),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        described |= {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "gpu_memory_bytes": properties.total_memory,
            "cudnn": torch.backends.cudnn.version(),
        }
    return described
