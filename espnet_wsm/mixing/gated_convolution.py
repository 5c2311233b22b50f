"""A gated convolution over time between two low-rank projections."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_wsm.mixing.means import zero_padding


class GatedConvolution(nn.Module):
    """A low-rank addition to a projection (LoRA) sees one frame at a time; this one sees its neighbours too.

        [a_t ; g_t] = A x_t      u_t = a_t * sigmoid(g_t)      y_t = (alpha / r) B sum_j c_j * u_{t+j}

    with r channels in a, g and u, and one kernel c for each of them over |j| <= (kernel - 1) / 2. B starts at
    zero, and with it y. This is our reading of the abstract of GC-LoRA (arXiv 2606.10464): gate and
    convolution are those of Conformer; sizes, and that there is neither a norm nor a further activation, are
    our choice.

    Args:
        dim: channels of input and output.
        rank: r, typically 8.
        kernel: frames that the convolution sees, an odd number; 15 are 300 ms.
        alpha: y is scaled by ``alpha / rank``.
    """

    def __init__(self, dim: int, rank: int = 8, kernel: int = 15, alpha: float = 16.0):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel has to be an odd number of frames, got {kernel}")
        # Names as PEFT's: the encoder keeps what is called lora_ from ESPnet's initialisation.
        self.lora_A = nn.Linear(dim, 2 * rank, bias=False)
        self.lora_conv = nn.Conv1d(rank, rank, kernel, padding=kernel // 2, groups=rank, bias=False)
        self.lora_B = nn.Linear(rank, dim, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.scale = alpha / rank

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Mix over time.

        Args:
            x: (B, T, D).
            padding_mask: (B, T) bool, True = padded; None = no padding.

        Returns:
            (B, T, D), zeros at padded frames. Valid frames depend neither on the other utterances of the
            batch nor on what the padding holds, as long as it is finite.
        """
        gated = F.glu(self.lora_A(x), dim=-1)  # (B, T, r)
        mixed = self._convolve(zero_padding(gated, padding_mask))
        return zero_padding(self.scale * self.lora_B(mixed), padding_mask)

    def _convolve(self, x: Tensor) -> Tensor:
        """(B, T, r) to (B, T, r), in float32 at least.

        On CPUs, PyTorch 2.14.1 returns wrong results in half precision for groups of fewer than 16 channels.
        """
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            mixed = F.conv1d(
                x.to(wide).transpose(1, 2),
                self.lora_conv.weight.to(wide),
                padding=self.lora_conv.padding,
                groups=self.lora_conv.groups,
            )
        return mixed.transpose(1, 2).to(x.dtype)
