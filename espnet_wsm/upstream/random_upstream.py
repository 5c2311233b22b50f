"""Write a small upstream with random weights in a real on-disk form, for smoke tests."""

from dataclasses import dataclass
from pathlib import Path

import torch

from espnet_wsm.errors import UserError

DESCRIPTION_FILE = "upstream_description.txt"
RANDOM = "random upstream"  # what the description begins with
# transformers' model types that can be written, and what people call them
MODEL_TYPES = {"hubert": "HuBERT", "wav2vec2": "wav2vec 2.0", "wavlm": "WavLM"}


@dataclass(frozen=True)
class RandomUpstreamSize:
    """Architecture of the random upstream.

    Args:
        model_type: a key of ``MODEL_TYPES``.
        num_layers: transformer layers.
        dim: channels of the transformer, a multiple of ``heads``.
        heads: attention heads.
        conv_dim: channels of the seven convolutions in front (kernels and strides are HuBERT's own:
            receptive field 400 samples, hop 320).
    """

    model_type: str = "hubert"
    num_layers: int = 4
    dim: int = 192
    heads: int = 4
    conv_dim: int = 128


def write_random_upstream(directory: Path, size: RandomUpstreamSize, seed: int) -> str:
    """Write model and feature extractor with ``save_pretrained``; returns the description stored beside them.

    The model is pre-norm, with layer norm in the convolutions, as in HuBERT Large and XLS-R. In this variant,
    the result for an utterance does not depend on the padding of its batch.

    Raises:
        UserError: the directory already holds something else, or the sizes do not fit together.
    """
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor
    from transformers.utils import logging as transformers_logging

    if size.model_type not in MODEL_TYPES:
        raise UserError(f"model_type has to be one of {', '.join(MODEL_TYPES)}, got {size.model_type!r}")
    if size.dim % size.heads:
        raise UserError(f"dim has to be a multiple of heads, got dim={size.dim} and heads={size.heads}")
    if directory.exists() and not (directory / DESCRIPTION_FILE).is_file() and any(directory.iterdir()):
        raise UserError(
            f"{directory} is not empty and was not written by this tool; choose another directory"
        )
    transformers_logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        size.model_type,
        hidden_size=size.dim,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.dim,
        conv_dim=(size.conv_dim,) * 7,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    model = AutoModel.from_config(config)
    parameters = sum(p.numel() for p in model.parameters())
    description = (
        f"{RANDOM}: {MODEL_TYPES[size.model_type]} with random weights (seed {seed}), "
        f"{size.num_layers} layers of {size.dim}, {parameters:,} parameters, never trained on speech"
    )
    directory.mkdir(parents=True, exist_ok=True)
    # Written first, so that a half-written directory is recognised as ours and written again.
    (directory / DESCRIPTION_FILE).write_text(description + "\n", encoding="utf-8")
    model.save_pretrained(directory)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(directory)
    return description


def describe_upstream(upstream: str) -> str | None:
    """The description that was stored with an upstream directory, None if there is none."""
    description = Path(upstream) / DESCRIPTION_FILE
    return description.read_text(encoding="utf-8").strip() if description.is_file() else None


def is_random(upstream: str) -> bool:
    """Whether an upstream was written here with random weights."""
    return (describe_upstream(upstream) or "").startswith(RANDOM)
