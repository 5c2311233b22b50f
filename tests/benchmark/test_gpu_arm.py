"""One arm on a device, here the CPU: what is measured, and what happens where memory is too small."""

import dataclasses

import pytest
import torch

from espnet_wsm.benchmark.gpu.card import CountingCard, is_out_of_memory
from espnet_wsm.benchmark.gpu.plan import DRY_RUN
from espnet_wsm.benchmark.gpu.worker import Builder, count_layers, describe_machine
from espnet_wsm.benchmark.models import write_upstream


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    return write_upstream(tmp_path_factory.mktemp("upstreams"), "tiny", 0, with_native=False)


@pytest.fixture
def make_builder(upstream):
    """``make_builder(**changes of the plan)``."""
    return lambda **changes: Builder(dataclasses.replace(DRY_RUN, **changes), "tiny", upstream)


def test_a_point_has_times_peak_and_what_autograd_keeps(make_builder):
    builder = make_builder(rounds=2)
    sizes = builder("build", way="cut", mixer="wsm", num_replaced=2)
    assert 0 < sizes["trained_parameters"] < sizes["parameters"] and sizes["resident_bytes"] > 0
    point = builder("point", seconds=0.5, dtype="float32")
    assert point["rounds"] == 2 and point["peak_bytes"] > point["saved_bytes"] > 0
    for name in ("step_s", "forward_s", "suffix_s", "decode_s", "real_time_factor"):
        assert 0 < point[name]["min"] <= point[name]["median"] <= point[name]["max"], name
    assert point["real_time_factor"]["median"] == pytest.approx(2 * point["decode_s"]["median"], rel=0.01)
    assert point["step_s"]["median"] > point["forward_s"]["median"]


def test_no_round_is_begun_after_the_time_of_a_point(make_builder):
    builder = make_builder(rounds=100, seconds_per_point=1e-9)
    builder("build", way="cut", mixer="wsm", num_replaced=2)
    assert builder("point", seconds=0.5, dtype="float32")["rounds"] == 1


def test_with_the_cache_the_prefix_is_gone_and_the_suffix_is_the_same(make_builder):
    builder = make_builder()
    whole = builder("build", way="cut", mixer="attention", num_replaced=None)
    kept = builder("point", seconds=0.5, dtype="float32")["saved_bytes"]
    suffix = builder("use_cache")
    assert suffix["trained_parameters"] == whole["trained_parameters"] == suffix["parameters"]
    point = builder("point", seconds=0.5, dtype="float32")
    assert "decode_s" not in point and 0 <= point["saved_bytes"] - kept < 0.1 * kept
    # bfloat16 has the same weights, now in another precision where the prefix was
    assert builder("point", seconds=0.5, dtype="bfloat16")["saved_bytes"] > 0


def test_a_batch_that_does_not_fit_is_said_to_and_the_next_ones_are_measured(make_builder):
    builder = make_builder(card_bytes=2_000_000)
    builder("build", way="today", mixer="attention", num_replaced=2)
    small, large = (builder("batch", utterances=n, dtype="float32") for n in (1, 8))
    assert small["fits"] and 0 < small["peak_bytes"] <= 2_000_000 == small["usable_bytes"]
    assert large == {
        "fits": False,
        "said": "did not fit: out of memory: more than 2000000 bytes are kept",
        "usable_bytes": 2_000_000,
    }
    assert all(parameter.grad is None for parameter in builder.arm.trained)
    again = builder("batch", utterances=1, dtype="float32")
    assert again["fits"] and again["peak_bytes"] == small["peak_bytes"]
    assert builder("point", seconds=0.5, dtype="float32")["saved_bytes"] == small["peak_bytes"]


def test_a_length_that_does_not_fit_has_the_reason(make_builder, monkeypatch):
    builder = make_builder()
    builder("build", way="cut", mixer="wsm", num_replaced=2)

    def refuse(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore lines")

    with monkeypatch.context() as patched:
        patched.setattr(builder.arm, "_step", refuse)
        answer = builder("point", seconds=0.5, dtype="float32")
    assert answer == {"skipped": "did not fit: CUDA out of memory. Tried to allocate 9 GiB"}
    assert "step_s" in builder("point", seconds=0.5, dtype="float32")


def test_another_failure_than_of_memory_is_none_of_memory(make_builder, monkeypatch):
    builder = make_builder()
    builder("build", way="cut", mixer="wsm", num_replaced=2)

    def fail(*_arguments):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(builder.arm, "_step", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        builder("batch", utterances=1, dtype="float32")


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("whatever"), True),
        (MemoryError(), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_too_little_memory(error, memory):
    assert is_out_of_memory(error) is memory


def test_a_model_that_is_released_leaves_nothing(make_builder):
    import weakref

    builder = make_builder()
    builder("build", way="cut", mixer="wsm", num_replaced=2)
    model = weakref.ref(builder.arm.model)
    assert builder("release")["bytes_left"] > 0 and model() is None


def test_a_counting_card_counts_as_the_first_step_does(make_builder):
    builder = make_builder()
    builder("build", way="cut", mixer="wsm", num_replaced=2)
    card = CountingCard(10**9)
    with card.limit(builder.arm.model):
        builder.arm._step(builder.arm._repeat_utterance(3), "float32", None)
    three = card.read_peak()
    with card.limit(builder.arm.model):
        builder.arm._step(builder.arm._repeat_utterance(1), "float32", None)
    assert 2.5 * card.read_peak() < three < 3.1 * card.read_peak()


def test_a_counting_card_counts_what_is_kept_at_a_time():
    card = CountingCard(10**6)
    with card.limit(torch.nn.Linear(1, 1)):
        for _ in range(5):  # the memory of the one before is free again, and is given to the next
            kept = [torch.ones(1000, requires_grad=True).exp() for _ in range(3)]
            kept.append(kept[0].view(10, 100).tanh())
            del kept
    assert card.read_peak() == 4 * 4000
    with pytest.raises(torch.OutOfMemoryError), CountingCard(15_999).limit(torch.nn.Linear(1, 1)):
        sum(torch.ones(1000, requires_grad=True).exp() for _ in range(4))


def test_the_layers_of_the_upstreams_are_theirs():
    assert [count_layers(name) for name in ("tiny", "wav2vec2_base", "xls_r_300m")] == [4, 12, 24]


def test_a_machine_without_a_gpu_says_so():
    machine = describe_machine("cpu")
    assert machine["gpu"] is None and machine["cores"] > 0 and machine["memory_bytes"] > 2**28
