"""Token mixing in plain PyTorch: means over time, the blocks made of them, and two rivals of theirs."""

from espnet_wsm.mixing.gated_convolution import GatedConvolution
from espnet_wsm.mixing.head_windows import HeadWindows
from espnet_wsm.mixing.means import block_mean, masked_mean, running_mean
from espnet_wsm.mixing.pooled_attention import PooledAttention
from espnet_wsm.mixing.stream_memory import StreamMemory
from espnet_wsm.mixing.summary import SummaryMixing, WindowedSummaryMixing
from espnet_wsm.mixing.windows import weighted_windowed_mean, windowed_mean

__all__ = [
    "GatedConvolution",
    "HeadWindows",
    "PooledAttention",
    "StreamMemory",
    "SummaryMixing",
    "WindowedSummaryMixing",
    "block_mean",
    "masked_mean",
    "running_mean",
    "weighted_windowed_mean",
    "windowed_mean",
]
