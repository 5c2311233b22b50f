"""DistilHuBERT: fairseq layers inside a different model class."""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.fairseq import FairseqFamily


@dataclass(frozen=True)
class DistillerFamily(FairseqFamily):
    """``distilhubert*``, ``distiller_local``: the encoder's output, without the heads that imitate HuBERT."""

    layer_class = "s3prl.upstream.distiller.module:TransformerSentenceEncoderLayer"

    def recognise(self, checkpoint: Mapping[str, Any]) -> bool:
        return {"Config", "Distiller"} <= checkpoint.keys()

    def load(self, files: tuple[Path, ...]) -> nn.Module:
        with contextlib.redirect_stdout(io.StringIO()):  # S3PRL prints a dozen lines
            return super().load(files)

    def check_expert(self, expert: nn.Module) -> None:
        config = self.model(expert).config
        if config.attention_type != "original":
            raise UserError(f"{self.name} upstreams with {config.attention_type} attention are not supported")
        if config.task_emb_type in ("add", "concat"):
            raise UserError(
                f"{self.name} upstreams with task embeddings at the input (task_emb_type "
                f"{config.task_emb_type}) are not supported"
            )
        super().check_expert(expert)

    def release(self, expert: nn.Module) -> None:
        self.model(expert).output_layer = None

    def model(self, expert: nn.Module) -> nn.Module:
        return expert.model.model

    def normalises(self, expert: nn.Module) -> bool:
        return False

    def embed(self, model: nn.Module, padded: Tensor) -> Tensor:
        features = model.feature_extractor(padded).transpose(1, 2)
        return features if model.post_extract_proj is None else model.post_extract_proj(features)

    def run_encoder(self, encoder: nn.Module, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        return encoder(x, padding_mask)[0]  # keeps no list of states

    def describe_layers(self, expert: nn.Module) -> dict[str, Any]:
        return super().describe_layers(expert) | {"attention_type": "original"}
