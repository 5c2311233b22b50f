"""S3PRL upstreams: configuration, loading, surgery on the last attention layers, and the cut below them."""

from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.cut import FrozenPrefix, TrainableSuffix, cut_upstream
from espnet_wsm.upstream.load import load_upstream
from espnet_wsm.upstream.mixers import MIXERS
from espnet_wsm.upstream.surgery import SurgeryReport, replace_last_attention

__all__ = [
    "MIXERS",
    "FrozenPrefix",
    "SurgeryReport",
    "TrainableSuffix",
    "WsmConfig",
    "cut_upstream",
    "load_upstream",
    "replace_last_attention",
]
