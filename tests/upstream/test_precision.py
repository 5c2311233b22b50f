import pytest
import torch

from espnet_wsm.upstream import choose_dtype

CPU = torch.device("cpu")


@pytest.fixture
def set_processor(monkeypatch):
    def set_processor(bf16: bool, amx: bool) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)

    return set_processor


def test_auto_is_bfloat16_only_where_the_cpu_has_instructions_for_it(set_processor):
    for bf16, amx in ((False, False), (True, False), (False, True), (True, True)):
        set_processor(bf16, amx)
        assert choose_dtype("auto", CPU) == ("bfloat16" if bf16 or amx else "float32")
        for dtype in ("float32", "bfloat16"):
            assert choose_dtype(dtype, CPU) == dtype


def test_auto_is_bfloat16_on_gpus_since_ampere(monkeypatch):
    for capability, dtype in (((7, 5), "float32"), ((8, 0), "bfloat16"), ((12, 0), "bfloat16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, value=capability: value)
        assert choose_dtype("auto", torch.device("cuda")) == dtype


def test_auto_is_float32_elsewhere(set_processor):
    set_processor(True, True)
    assert choose_dtype("auto", torch.device("mps")) == "float32"


def test_this_torch_has_what_says_it():
    assert choose_dtype("auto", CPU) in ("float32", "bfloat16")
