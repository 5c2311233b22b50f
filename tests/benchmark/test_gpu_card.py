"""What is asked of CUDA, with a stand-in for it: the real one is asked by tools/gpu_check.sh."""

from types import SimpleNamespace

import pytest
import torch

from espnet_wsm.benchmark.gpu import ceilings
from espnet_wsm.benchmark.gpu.arm import Moment
from espnet_wsm.benchmark.gpu.card import CONTEXT_BYTES, CudaCard
from espnet_wsm.benchmark.gpu.plan import DRY_RUN
from espnet_wsm.benchmark.gpu.worker import begin, describe_machine


class FakeEvent:
    """Events of a queue in which each comes 2 ms after the one before."""

    now = 0.0

    def __init__(self, enable_timing: bool):
        assert enable_timing
        self.synchronised = False

    def record(self) -> None:
        FakeEvent.now += 2.0
        self.time = FakeEvent.now

    def synchronize(self) -> None:
        self.synchronised = True

    def elapsed_time(self, later: "FakeEvent") -> float:
        assert later.synchronised, "the later event may not have come yet"
        return later.time - self.time


@pytest.fixture
def cuda(monkeypatch) -> list[float]:
    """A GPU of 80 GB; gives the fractions of its memory that were asked for."""
    fractions: list[float] = []
    properties = SimpleNamespace(
        name="A Card", major=9, minor=0, multi_processor_count=132, total_memory=80_000_000_000
    )
    stand_ins = {
        "mem_get_info": lambda: (70_000_000_000, 80_000_000_000),
        "set_per_process_memory_fraction": fractions.append,
        "empty_cache": lambda: None,
        "max_memory_allocated": lambda: 123,
        "get_device_properties": lambda _index: properties,
        "Event": FakeEvent,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return fractions


def test_a_larger_gpu_is_limited_to_the_card_and_set_free_again(cuda):
    card = CudaCard(24_000_000_000)
    assert card.usable == 24_000_000_000 - CONTEXT_BYTES
    with pytest.raises(torch.OutOfMemoryError), card.limit(torch.nn.Linear(1, 1)):
        assert cuda == [card.usable / 80_000_000_000]
        raise torch.OutOfMemoryError
    assert cuda[1:] == [1.0] and card.read_peak() == 123


def test_a_smaller_gpu_is_taken_as_it_is(cuda):
    assert CudaCard(200_000_000_000).usable == 80_000_000_000 - CONTEXT_BYTES


def test_the_time_between_two_moments_is_in_seconds(cuda):
    first, second = Moment(), Moment()
    assert second - first == 0.002


def test_ceilings_are_rates_of_the_median(cuda, monkeypatch):
    monkeypatch.setattr(ceilings, "COPIED", 1000)
    monkeypatch.setattr(ceilings, "SIDE", 8)
    real = {name: getattr(torch, name) for name in ("empty", "randn")}
    for name, make in real.items():
        monkeypatch.setattr(
            torch, name, lambda *size, device, make=make, **more: make(*size, device="cpu", **more)
        )
    found = ceilings.measure_ceilings("cuda")
    assert found["copy_bytes_per_s"] == pytest.approx(2 * 1000 / 0.002)
    assert found["matmul_flops"] == pytest.approx(dict.fromkeys(("float32", "bfloat16"), 2 * 8**3 / 0.002))
    assert ceilings.measure_ceilings("cpu") == {"copy_bytes_per_s": None, "matmul_flops": None}


def test_a_gpu_is_described(cuda):
    machine = describe_machine("cuda")
    assert machine["gpu"] == "A Card" and machine["capability"] == "9.0"
    assert machine["gpu_memory_bytes"] == 80_000_000_000


def test_a_process_begins_with_the_upstream_and_the_machine(tmp_path):
    first, builder = begin(DRY_RUN, "tiny", tmp_path)
    assert first["machine"]["device"] == "cpu" and builder("ceilings")["matmul_flops"] is None
    assert builder.upstream.is_dir() and builder("release") == {"bytes_left": 0}
