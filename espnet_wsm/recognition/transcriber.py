"""Speech to text in one call, for audio of any length: long audio in overlapping chunks."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from espnet_wsm.data.audio.channels import mix_down
from espnet_wsm.data.audio.recordings import LARGEST_PEAK, convert
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.recognition.trained_model import load_decoder
from espnet_wsm.recognition.transcript import Transcript
from espnet_wsm.upstream.pieces import CONTEXT, Pieces

READ_AHEAD = 4  # full batches
MOST_AHEAD = 128  # recordings
MOST_PADDING = 0.15  # of a batch: more takes longer to compute than another batch does


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
        self.decoder = load_decoder(model, **parts)
        prefix = self.decoder.model.encoder.prefix
        self.receptive_field = prefix.family.receptive_field
        self.batch_samples = batch_size * ((self.chunk_frames - 1) * HOP + self.receptive_field)
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

    def detailed(self, waveform: np.ndarray | Tensor, sample_rate: int = SAMPLE_RATE) -> Transcript:
        """The text of a waveform, and its words with start, end and confidence.

        Args and errors are those of calling it.
        """
        (transcript,) = self.detail_all([_convert_waveform(waveform, sample_rate)])
        return transcript

    def transcribe(self, samples: np.ndarray, progress: bool = False) -> str:
        """The text of (N,) float32 samples at 16 kHz; ``progress`` shows a progress bar for long audio."""
        (text,) = self.transcribe_all([samples], progress)
        return text

    def transcribe_all(self, recordings: Iterable[np.ndarray], progress: bool = False) -> Iterator[str]:
        """The texts of many recordings, in their order.

        Some are read ahead, and what is of similar length shares a batch, of short ones many. A batch takes
        no more room than ``batch_size`` chunks.

        Args:
            recordings: each (N,) float32 samples at 16 kHz; read when they are needed.
            progress: whether to show a progress bar where there are several batches.
        """
        for _, (ids, scores) in self._decode(recordings, progress, self.decoder.best_frames):
            yield self.decoder.hypothesis(ids, scores).text

    def detail_all(
        self,
        recordings: Iterable[np.ndarray],
        progress: bool = False,
        watch: Callable[[float], None] | None = None,
    ) -> Iterator[Transcript]:
        """As ``transcribe_all``, with words, their times and their confidences.

        These are calibrated, the probability that a word is right, where stage 5 has learnt to do that for
        this checkpoint. Those of its characters are as ``measure_confidence`` has them.

        ``watch`` is called after each batch with the share of the recordings read so far that is done, above
        0 to 1; what it raises ends the work.
        """
        for samples, (ids, scores, confidences) in self._decode(
            recordings, progress, self.decoder.rated_frames, watch
        ):
            words = self.decoder.find_words(ids, confidences)
            text = self.decoder.hypothesis(ids, scores).text
            if calibration := self.decoder.calibration:
                words = tuple(replace(word, confidence=calibration(word.confidence)) for word in words)
            yield Transcript(text, words, len(samples) / SAMPLE_RATE)

    def log_probs(self, samples: np.ndarray, progress: bool = False) -> Tensor:
        """(T, V) log probabilities of the tokens in (N,) float32 samples at 16 kHz, on the CPU."""

        def read(speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            found, frames = self.decoder.log_probs(speech, lengths)
            return found.cpu(), frames.cpu()

        ((_, (found,)),) = self._decode([samples], progress, read)
        return found

    def _decode(
        self,
        recordings: Iterable[np.ndarray],
        progress: bool,
        read: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
        watch: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[np.ndarray, list[Tensor]]]:
        """Each recording, and what ``read`` finds in it: tensors of its frames, (T, ...).

        ``read`` takes (B, N) samples and their numbers (B,); it gives tensors (B, T, ...), and the numbers of
        frames (B,).
        """
        for group in self._read_ahead(recordings):
            yield from zip(group, self._decode_group(group, progress, read, watch), strict=True)

    def _read_ahead(self, recordings: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
        group: list[np.ndarray] = []
        samples = 0
        for recording in recordings:
            group.append(recording)
            samples += len(recording)
            if samples >= READ_AHEAD * self.batch_samples or len(group) == MOST_AHEAD:
                yield group
                group, samples = [], 0
        if group:
            yield group

    def _decode_group(
        self,
        group: list[np.ndarray],
        progress: bool,
        read: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
        watch: Callable[[float], None] | None,
    ) -> Iterator[list[Tensor]]:
        plans = [self._plan(samples) for samples in group]
        chunks = [
            _Chunk(place, chunk)
            for place, (samples, (_, pieces)) in enumerate(zip(group, plans, strict=True))
            for chunk in pieces.cut([torch.from_numpy(np.require(samples, requirements="CW"))])
        ]
        read_of: list[list[tuple[Tensor, ...]]] = [[] for _ in group]  # of each chunk
        batches = list(self._make_batches(chunks))
        with tqdm(
            total=len(chunks), desc="chunks", unit="chunk", leave=False,
            disable=not progress or len(batches) == 1,
        ) as bar:  # fmt: skip
            done = 0
            for batch in batches:
                lengths = torch.tensor([len(chunk.samples) for chunk in batch])
                padded = pad_sequence([chunk.samples for chunk in batch], batch_first=True)
                *found, frames = read(padded, lengths)
                for chunk, *row, count in zip(batch, *found, frames.tolist(), strict=True):
                    read_of[chunk.recording].append(tuple(values[:count] for values in row))
                bar.update(len(batch))
                done += len(batch)
                if watch is not None:
                    watch(done / len(chunks))
        for (frames, pieces), of_chunks in zip(plans, read_of, strict=True):
            columns = zip(*of_chunks, strict=True)
            if len(of_chunks) == 1:
                yield [column[0] for column in columns]
            else:
                yield [_join(pieces, column, frames) for column in columns]

    def _plan(self, samples: np.ndarray) -> tuple[int, Pieces]:
        frames = max(1, (len(samples) - self.receptive_field) // HOP + 1)
        return frames, Pieces.plan([frames], self.chunk_frames, self.receptive_field)

    def _make_batches(self, chunks: list["_Chunk"]) -> Iterator[list["_Chunk"]]:
        """Chunks of a recording keep their order, as they are all of one length."""
        # A model without exact padding would encode a chunk otherwise beside a longer one.
        most = MOST_PADDING if self.decoder.model.encoder.config.exact_padding else 0.0
        batch: list[_Chunk] = []
        own = 0  # samples in it
        for chunk in sorted(chunks, key=_Chunk.__len__):
            room = len(chunk) * (len(batch) + 1)
            if batch and (room > self.batch_samples or room - own - len(chunk) > most * room):
                yield batch
                batch, own = [], 0
            batch.append(chunk)
            own += len(chunk)
        if batch:
            yield batch


def _join(pieces: Pieces, chunks: Sequence[Tensor], frames: int) -> Tensor:
    """(T, ...) of a recording from those of its chunks."""
    (joined,) = pieces.join([chunk.reshape(len(chunk), -1) for chunk in chunks], [frames])
    return joined.reshape(frames, *chunks[0].shape[1:])


@dataclass(frozen=True)
class _Chunk:
    """(N,) samples of a recording, by its number in the group."""

    recording: int
    samples: Tensor

    def __len__(self) -> int:
        return len(self.samples)


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
