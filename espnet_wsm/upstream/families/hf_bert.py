"""wav2vec2-BERT of transformers: conformer layers over log-mel frames that its feature extractor makes."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.upstream.families.contract import Waveforms
from espnet_wsm.upstream.families.hf import HfFamily


@dataclass(frozen=True)
class HfBertFamily(HfFamily):
    """``model_type: wav2vec2-bert`` (w2v-BERT 2.0). Its convolutions are causal and skip padding."""

    receptive_field = 560  # two windows
    feed_forward = ("ffn1", "ffn2")
    attention = "self_attn"
    convolves = True
    in_torch = False  # transformers makes its log-mel frames in numpy
    projections = ("linear_q", "linear_k", "linear_v", "linear_out")

    def check_expert(self, expert: nn.Module) -> None:
        super().check_expert(expert)
        config = expert.model.config
        if config.position_embeddings_type not in ("relative_key", None):
            raise UserError(
                f"{self.name} models with position_embeddings_type {config.position_embeddings_type} are not "
                "supported, only relative_key"
            )
        if expert.model.intermediate_ffn is not None:
            raise UserError(f"{self.name} models with use_intermediate_ffn_before_adapter are not supported")

    def convolutions(self, expert: nn.Module) -> list[nn.Conv1d]:
        return []

    def positions(self, expert: nn.Module) -> None:
        return None

    def count_frames(self, expert: nn.Module, lengths: tuple[int, ...]) -> tuple[int, ...]:
        # Windows of 25 ms every 10 ms; two windows make one frame, and an odd last window is dropped.
        return tuple(
            (max(length, self.receptive_field) - self.receptive_field) // HOP + 1 for length in lengths
        )

    def encode(self, expert: nn.Module, wavs: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        # transformers' feature extractor works in numpy: one transfer of the batch there, and one back.
        batch = Waveforms.pad(wavs)
        lengths = batch.lengths
        padded = nn.functional.pad(batch.padded, (0, max(0, self.receptive_field - max(lengths))))
        samples = padded.float().cpu().numpy()
        inputs = expert.extracter(
            [row[: max(length, self.receptive_field)] for row, length in zip(samples, lengths, strict=True)],
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            padding=True,
            return_attention_mask=True,
        )
        weight = next(expert.model.parameters())
        # An odd last window makes a frame that is always masked. It is cut off, so that all frames count.
        frames = self.count_frames(expert, lengths)
        features = inputs["input_features"][:, : max(frames)].to(weight.device, weight.dtype)
        valid = inputs["attention_mask"][:, : max(frames)].to(weight.device)
        hidden = expert.model(features, attention_mask=valid).last_hidden_state
        return hidden, None if min(frames) == max(frames) else ~valid.bool()

    def normalises(self, expert: nn.Module) -> bool:
        return False  # of samples; it normalises its frames

    def describe_norms(self, expert: nn.Module) -> str:
        return "conformer layers with a norm before each part and behind them, on log-mel frames"

    def has_final_norm(self, expert: nn.Module) -> bool:
        return False

    def attention_dropout(self, attention: nn.Module) -> float:
        return attention.dropout.p

    def adds_positions(self, attention: nn.Module) -> bool:
        return attention.position_embeddings_type is not None

    def list_more_arguments(self, valid: Tensor | None) -> dict[str, Any]:
        return {"conv_attention_mask": valid}
