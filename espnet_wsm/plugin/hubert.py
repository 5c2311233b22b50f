"""HuBERT pre-training with ESPnet: an encoder fast enough for a CPU, and files that survive a kill."""

import torch
from espnet2.asr.encoder.hubert_encoder import TorchAudioHuBERTPretrainEncoder
from espnet2.tasks.hubert import HubertTask
from torch import nn
from torch.nn import functional

from espnet_wsm.errors import UserError
from espnet_wsm.plugin.trainer import WsmTrainer
from espnet_wsm.upstream import choose_dtype

LOGIT_TEMPERATURE = 0.1  # as torchaudio has it, after Hsu et al., 2021, arXiv:2106.07447, equation 3


class CosineLogits(nn.Module):
    """Scores of frames against the cluster embeddings, as in torchaudio's ``LogitGenerator``.

    torchaudio expands every pair of a frame and a cluster before it takes their cosine, which on a CPU takes
    most of a step. One matrix product gives the same numbers.

    Args:
        generator: torchaudio's module, whose parameters are used under the same names.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.final_proj = generator.final_proj
        self.label_embeddings = generator.label_embeddings

    def score(self, projected: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scores (N, 1 + K) of frames (N, F) with clusters (N,): the true one, then all, with -inf for it."""
        frames = functional.normalize(projected.float(), dim=-1)
        clusters = functional.normalize(self.label_embeddings.float(), dim=-1)
        scores = frames @ clusters.T / LOGIT_TEMPERATURE  # (N, K)
        true = labels.long()[:, None]
        return torch.cat([scores.gather(1, true), scores.scatter(1, true, float("-inf"))], dim=1)

    def forward(
        self, x: torch.Tensor, label: torch.Tensor, mask_m: torch.Tensor, mask_u: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of the masked and of the other frames, from outputs (B, T, D), clusters and masks (B, T).

        Both are needed because ESPnet reports the accuracy of both.
        """
        projected = self.final_proj(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.score(projected[mask_m], label[mask_m]), self.score(projected[mask_u], label[mask_u])


class HubertPretrainEncoder(TorchAudioHuBERTPretrainEncoder):
    """ESPnet's ``torchaudio_hubert`` with :class:`CosineLogits` and, on request, bfloat16.

    ESPnet's trainer supports mixed precision only on CUDA. Recent CPUs multiply bfloat16 matrices several
    times faster than float32 ones.

    Args:
        dtype: precision of the matrix products: float32; bfloat16, which needs no loss scaling; or auto,
            bfloat16 where the processor is faster in it.
        **kwargs: those of ``TorchAudioHuBERTPretrainEncoder``.

    Raises:
        UserError: an unknown ``dtype``, or sizes that cannot be computed in bfloat16.
    """

    def __init__(self, dtype: str = "float32", **kwargs) -> None:
        if dtype not in ("float32", "bfloat16", "auto"):
            raise UserError(f"dtype has to be float32, bfloat16 or auto, got {dtype!r}")
        super().__init__(**kwargs)
        self.dtype = dtype
        model = self.hubert_pretrain_model
        if dtype != "float32":
            _refuse_narrow_groups(model)
        model.logit_generator = CosineLogits(model.logit_generator)

    def forward(self, xs_pad: torch.Tensor, *args, **kwargs):
        """As ESPnet's; scores are float32."""
        low_precision = choose_dtype(self.dtype, xs_pad.device) == "bfloat16"
        with torch.autocast(xs_pad.device.type, torch.bfloat16, enabled=low_precision):
            return super().forward(xs_pad, *args, **kwargs)


def _refuse_narrow_groups(model: nn.Module) -> None:
    """On CPUs, PyTorch 2.14.1 silently returns wrong results in half precision when the number of channels
    per group is not a multiple of 16."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d) and module.groups > 1 and module.in_channels // module.groups % 16:
            raise UserError(
                f"dtype bfloat16 needs groups of a multiple of 16 channels, got {module.in_channels} "
                f"channels in encoder_pos_conv_groups {module.groups}: choose fewer groups, or dtype float32"
            )


class WsmHubertTask(HubertTask):
    """ESPnet's task, with a trainer that can be killed at any moment and resumed."""

    trainer = WsmTrainer
