"""Token mixing in plain PyTorch: means over time, the blocks made of them, and two rivals of theirs."""

from espnet_wsm.mixing.gated_convolution import GatedConvolution
from espnet_wsm.mixing.means import block_mean, masked_mean, windowed_mean
from espnet_wsm.mixing.pooled_attention import PooledAttention
from espnet_wsm.mixing.summary import SummaryMixing, WindowedSummaryMixing

__all__ = [
    "GatedConvolution",
    "PooledAttention",
    "SummaryMixing",
    "WindowedSummaryMixing",
    "block_mean",
    "masked_mean",
    "windowed_mean",
]
