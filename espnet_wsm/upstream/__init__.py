"""S3PRL upstreams: configuration, loading, the cut, and surgery on the attention layers above it."""

from espnet_wsm.upstream.checkpoint import Checkpoint, find_checkpoint
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.cut import cut_upstream
from espnet_wsm.upstream.layer_table import LayerTable
from espnet_wsm.upstream.load import load_upstream
from espnet_wsm.upstream.mixers import MIXERS
from espnet_wsm.upstream.precision import choose_dtype
from espnet_wsm.upstream.prefix import FrozenPrefix, count_frames
from espnet_wsm.upstream.stream import SuffixStream
from espnet_wsm.upstream.suffix import LayerWeights, TrainableSuffix, run_suffix
from espnet_wsm.upstream.surgery import prepare_suffix, replace_attention

__all__ = [
    "MIXERS",
    "Checkpoint",
    "FrozenPrefix",
    "LayerTable",
    "LayerWeights",
    "SuffixStream",
    "TrainableSuffix",
    "WsmConfig",
    "choose_dtype",
    "count_frames",
    "cut_upstream",
    "find_checkpoint",
    "load_upstream",
    "prepare_suffix",
    "replace_attention",
    "run_suffix",
]
