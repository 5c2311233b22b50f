"""The identity of an upstream inside of the checkpoints of what was trained on it."""

import json

import torch
from torch import Tensor

from espnet_wsm.upstream.checkpoint import Checkpoint


def encode_identity(checkpoint: Checkpoint) -> Tensor:
    """Name and digest as JSON, one float per byte, which survives ESPnet's averaging unchanged."""
    record = {"upstream": checkpoint.name, "digest": checkpoint.digest}
    return torch.tensor(list(json.dumps(record).encode()), dtype=torch.float64)


def decode_identity(state: Tensor) -> dict[str, str]:
    """``upstream`` and ``digest`` from the result of :func:`encode_identity`."""
    return json.loads(bytes(state.long().tolist()))
