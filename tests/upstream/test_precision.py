import pytest
import torch

from espnet_wsm.upstream import choose_dtype, precision

CPU = torch.device("cpu")


@pytest.fixture
def set_processor(monkeypatch, tmp_path):
    def set_processor(bf16: bool, amx: bool, vendor: str = "GenuineIntel") -> None:
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: a processor\n")
        monkeypatch.setattr(precision, "CPUINFO", cpuinfo)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)

    return set_processor


@pytest.mark.parametrize(
    "vendor, bf16, amx, chosen",
    [
        ("GenuineIntel", False, False, "float32"),
        ("GenuineIntel", True, False, "float32"),
        ("GenuineIntel", True, True, "bfloat16"),
        ("AuthenticAMD", False, False, "float32"),
        ("AuthenticAMD", True, False, "bfloat16"),
    ],
)
def test_auto_is_bfloat16_only_where_the_cpu_is_fast_in_it(set_processor, vendor, bf16, amx, chosen):
    set_processor(bf16, amx, vendor)
    assert choose_dtype("auto", CPU) == chosen
    for dtype in ("float32", "bfloat16"):
        assert choose_dtype(dtype, CPU) == dtype


def test_auto_is_float32_where_nothing_says_whose_processor_it_is(set_processor, monkeypatch, tmp_path):
    set_processor(True, False)
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "none")
    assert choose_dtype("auto", CPU) == "float32"


def test_auto_is_bfloat16_on_gpus_since_ampere(monkeypatch):
    for capability, dtype in (((7, 5), "float32"), ((8, 0), "bfloat16"), ((12, 0), "bfloat16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, value=capability: value)
        assert choose_dtype("auto", torch.device("cuda")) == dtype


def test_auto_is_float32_elsewhere(set_processor):
    set_processor(True, True)
    assert choose_dtype("auto", torch.device("mps")) == "float32"


def test_this_torch_has_what_says_it():
    assert choose_dtype("auto", CPU) in ("float32", "bfloat16")
