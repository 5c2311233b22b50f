"""Linear-time token mixing in plain PyTorch: summaries over time, and the blocks made of them."""

from espnet_wsm.mixing.means import masked_mean, windowed_mean
from espnet_wsm.mixing.summary import SummaryMixing, WindowedSummaryMixing

__all__ = ["SummaryMixing", "WindowedSummaryMixing", "masked_mean", "windowed_mean"]
