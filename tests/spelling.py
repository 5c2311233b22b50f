"""Decoders in place of a model's, which hear what the samples spell."""

from types import SimpleNamespace

import numpy as np
import torch

from espnet_wsm.frames import HOP

CHARACTERS = ["<blank>", "a", "b", "<space>"]


class Spelling:
    """Hears a token in each frame: the samples hold its number. Its confidence falls with it.

    Args:
        tokens: by id; the first is the blank.
        token_type: ``char`` or ``bpe``.
    """

    calibration = None

    def __init__(self, tokens: list[str] = CHARACTERS, token_type: str = "char"):
        self.model = SimpleNamespace(token_list=tokens, blank_id=0)
        self.train_args = SimpleNamespace(token_type=token_type)
        self.tokenizer = SimpleNamespace(tokens2text=self.spell)
        self.longest = 0  # samples heard at once

    @staticmethod
    def spell(tokens: list[str]) -> str:
        """As ESPnet's tokenizers do."""
        spelled = b""
        for token in tokens:
            spelled += bytes([int(token[3:5], 16)]) if token.startswith("<0x") else token.encode()
        return spelled.decode(errors="replace").replace("<space>", " ").replace("▁", " ").strip(" ")

    def rated_frames(self, speech: torch.Tensor, lengths: torch.Tensor):
        """As ``GreedyCtcDecoder`` does."""
        self.longest = max(self.longest, speech.size(1))
        ids = self.hear(speech[:, : speech.size(1) // HOP * HOP].unflatten(1, (-1, HOP)))
        return ids, ids.float(), 1 / (1 + ids.float()), torch.full((len(speech),), ids.size(1))

    def hear(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T) tokens of (B, T, HOP) samples."""
        return frames[..., 0].long()

    def open_stream(self) -> None:
        """There is none."""


class Beeps(Spelling):
    """Hears an a in what is loud."""

    def hear(self, frames: torch.Tensor) -> torch.Tensor:
        return (frames.square().mean(dim=-1) > 0.01).long()


def spell_samples(ids: list[int]) -> np.ndarray:
    """(N,) float32 samples in which :class:`Spelling` hears these tokens, one a frame."""
    return np.repeat(np.asarray(ids, np.float32), HOP)


def make_beeps(count: int, rate: int = 16000) -> np.ndarray:
    """(N,) float32 samples: so many times a beep of 0.3 s and a pause of 1.2 s."""
    times = np.arange(round(1.5 * rate)) / rate
    return np.tile(np.float32(0.5) * np.sin(2760 * times).astype(np.float32) * (times < 0.3), count)
