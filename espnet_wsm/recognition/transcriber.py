"""Speech to text in one call, for audio of any length: long audio in overlapping chunks."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from espnet_wsm.data.audio.channels import mix_down
from espnet_wsm.data.audio.recordings import LARGEST_PEAK, convert
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.recognition.trained_model import load_decoder
from espnet_wsm.upstream.pieces import CONTEXT, Pieces


class Transcriber:
    """An hour-long recording does not fit into one pass: attention below the cut is quadratic in time.

    Longer audio is split into chunks of equal length that overlap by 4 s, without padding. The outer 2 s of
    each chunk are dropped where a neighbouring chunk has the same frames further from its edge. The best
    tokens of the remaining frames are joined and collapsed once, as if they came from a single pass, so no
    token is doubled or lost where two chunks meet. What a model computes over the whole utterance (the global
    summary, attention below the cut, normalisation of the waveform) is then computed over a chunk. Audio that
    fits into one chunk takes one forward pass and gives the same text as ``asr_inference_greedy``.

    Args:
        model: as in ``espnet_wsm.load``, whose errors are those here.
        chunk_seconds: see there.
        batch_size: see there.
        **parts: other arguments of that function.
    """

    def __init__(self, model: Path | str, *, chunk_seconds: float = 30.0, batch_size: int = 4, **parts: Any):
        shortest = 4 * CONTEXT * HOP / SAMPLE_RATE  # half of every chunk would be computed twice
        if not shortest <= chunk_seconds < math.inf:
            raise UserError(
                f"chunk_seconds is {chunk_seconds:g}: give {shortest:g} or more, as 2 s at either end of a "
                "chunk are context"
            )
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}: give 1 or more")
        self.chunk_frames = round(chunk_seconds * SAMPLE_RATE / HOP)
        self.batch_size = batch_size
        self.decoder = load_decoder(model, **parts)
        prefix = self.decoder.model.encoder.prefix
        self.receptive_field = prefix.family.receptive_field
        most = prefix.family.limit_frames(prefix.expert)
        if most is not None and self.chunk_frames > most:
            raise UserError(
                f"chunk_seconds is {chunk_seconds:g}: give {most * HOP / SAMPLE_RATE:g} or less, as the "
                "model's upstream takes no more"
            )

    def __call__(self, waveform: np.ndarray | Tensor, sample_rate: int = SAMPLE_RATE) -> str:
        """The text of a waveform.

        Args:
            waveform: (N,) or (N, channels); floating point with full scale ±1, or int16 or int32.
            sample_rate: in Hz. Other rates than 16 kHz are resampled, and several channels are averaged.

        Raises:
            UserError: the waveform is empty, has another shape or type, has samples that are not finite or
                far beyond full scale, or has channels that cancel out.
        """
        return self.transcribe(_convert_waveform(waveform, sample_rate))

    def transcribe(self, samples: np.ndarray, progress: bool = False) -> str:
        """The text of (N,) float32 samples at 16 kHz; ``progress`` shows a progress bar for long audio."""
        frames = max(1, (len(samples) - self.receptive_field) // HOP + 1)
        pieces = Pieces.plan([frames], self.chunk_frames, self.receptive_field)
        chunks = pieces.cut([torch.from_numpy(np.require(samples, requirements="CW"))])
        if len(chunks) == 1:
            return self.decoder(chunks[0][None], torch.tensor([len(samples)]))[0].text
        best: list[tuple[Tensor, Tensor]] = []  # of each chunk, token ids and scores
        bar = tqdm(
            total=len(chunks), desc="chunks", unit="chunk", leave=False,
            disable=not progress or len(chunks) <= self.batch_size,
        )  # fmt: skip
        with bar:
            for batch in itertools.batched(chunks, self.batch_size):
                sizes = torch.full((len(batch),), pieces.samples)
                ids, scores, lengths = self.decoder.best_frames(torch.stack(batch), sizes)
                assert set(lengths.tolist()) == {self.chunk_frames}, lengths
                best += zip(ids, scores, strict=True)
                bar.update(len(batch))
        ids, scores = (
            pieces.join([of_chunk[:, None] for of_chunk in column], [frames]).flatten()
            for column in zip(*best, strict=True)
        )
        return self.decoder.hypothesis(ids, scores).text


def _convert_waveform(waveform: np.ndarray | Tensor, sample_rate: int) -> np.ndarray:
    """(M,) float32 samples at 16 kHz from any supported waveform."""
    if isinstance(waveform, Tensor):
        waveform = waveform.detach().cpu()
        waveform = (waveform.float() if waveform.is_floating_point() else waveform).numpy()
    samples = np.asarray(waveform)
    if samples.ndim not in (1, 2):
        raise UserError(f"the waveform has the shape {samples.shape}: give (N,) or (N, channels)")
    if not samples.size:
        raise UserError(f"the waveform is empty, of the shape {samples.shape}")
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.shape[0] < samples.shape[1]:
        raise UserError(f"the waveform has the shape {samples.shape}: give (N, channels), transposed")
    if samples.dtype in (np.int16, np.int32):
        samples = samples / -np.float32(np.iinfo(samples.dtype).min)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise UserError(f"the waveform is of type {samples.dtype}: give floating point, int16 or int32")
    samples = samples.astype(np.float32, copy=False)
    peak = max(samples.max(), -samples.min())
    if not np.isfinite(peak):
        raise UserError("the waveform has samples that are not finite (NaN or infinity)")
    if peak >= LARGEST_PEAK:
        raise UserError(f"the waveform has samples up to {peak:.6g} where full scale is 1: rescale it")
    if not 0 < sample_rate < math.inf:
        raise UserError(f"sample_rate is {sample_rate}: give the waveform's rate in Hz")
    converted = convert(mix_down("the waveform", samples), sample_rate)
    if not len(converted):
        raise UserError(f"the waveform is too short: {len(samples)} samples at {sample_rate} Hz")
    return converted
