"""Which precision a processor is fast in."""

from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def choose_dtype(dtype: str, device: torch.device) -> str:
    """A dtype's name from a configuration, with ``auto`` decided for a device.

    ``auto`` is bfloat16 where the processor is faster in products of matrices in it than in float32: x86 with
    AMX, AMD's with AVX512-BF16, NVIDIA since Ampere. Intel's with AVX512-BF16 alone, a Xeon whose AMX the
    hypervisor hides, takes 1.7 times the time of float32; a CPU without any of them 50 times and more.
    Devices that are neither CPU nor CUDA count as such.
    """
    if dtype != "auto":
        return dtype
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:  # no public function says it (torch 2.11 to 2.14)
        fast = device.type == "cpu" and (
            torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and _is_of_amd())
        )
    return "bfloat16" if fast else "float32"


def _is_of_amd() -> bool:
    """Whether the processor is one of AMD's; False on systems other than Linux."""
    return CPUINFO.exists() and "AuthenticAMD" in CPUINFO.read_text()
