"""Which precision a processor is fast in."""

import torch


def choose_dtype(dtype: str, device: torch.device) -> str:
    """A dtype's name from a configuration, with ``auto`` decided for a device.

    ``auto`` is bfloat16 where the processor has instructions for products of matrices in it (some x86 since
    2020, NVIDIA since Ampere). A CPU without them computes the same in 50 times the time of float32 and more.
    Devices that are neither CPU nor CUDA count as such.
    """
    if dtype != "auto":
        return dtype
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:  # no public function says it (torch 2.11 to 2.14)
        fast = device.type == "cpu" and (
            torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        )
    return "bfloat16" if fast else "float32"
