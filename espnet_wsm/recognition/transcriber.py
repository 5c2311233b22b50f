"""Speech to text in one call, for audio of any length: long audio in chunks."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from espnet_wsm.data.audio.channels import mix_down
from espnet_wsm.data.audio.recordings import LARGEST_PEAK, convert
from espnet_wsm.data.text.tokens import SPACE
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.recognition.chunks import Chunk, ChunkedRecording
from espnet_wsm.recognition.trained_model import load_decoder
from espnet_wsm.recognition.transcript import Transcript

SHORTEST = 1.0  # seconds of --chunk_seconds
READ_AHEAD = 4  # full batches
MOST_AHEAD = 128  # recordings
MOST_PADDING = 0.15  # of a batch: more takes longer to compute than another batch does
Audio = np.ndarray | Iterable[np.ndarray]
Advance = Callable[[float], None]


class Transcriber:
    """An hour-long recording does not fit into one pass: attention below the cut is quadratic in time.

    Longer audio is cut where it is quietest, into chunks of 5 to 10 s, as long as utterances usually are in
    training. The best tokens of their frames are joined as if they came from a single pass, with a space
    between two chunks. What a model computes over the whole utterance (the global summary, attention below
    the cut, normalisation of the waveform) is then computed over a chunk. Audio of up to ``chunk_seconds``
    takes one forward pass and gives the same text as ``asr_inference_greedy``.

    Args:
        model: as in ``espnet_wsm.load``, whose errors are those here.
        chunk_seconds: see there.
        batch_size: see there.
        **parts: other arguments of that function.
    """

    def __init__(self, model: Path | str, *, chunk_seconds: float = 30.0, batch_size: int = 4, **parts: Any):
        if not SHORTEST <= chunk_seconds < math.inf:
            raise UserError(f"chunk_seconds is {chunk_seconds:g}: give {SHORTEST:g} or more")
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

    def transcribe(self, samples: Audio) -> str:
        """The text of (N,) float32 samples at 16 kHz."""
        (text,) = self.transcribe_all([samples])
        return text

    def transcribe_all(self, recordings: Iterable[Audio], advance: Advance | None = None) -> Iterator[str]:
        """The texts of many recordings, in their order.

        Some are read ahead, and what is of similar length shares a batch, of short ones many. A batch takes
        no more room than ``batch_size`` chunks; no more than four batches of audio are held at a time,
        however long a recording is that comes in blocks.

        Args:
            recordings: each (N,) float32 samples at 16 kHz, or an iterable of blocks of these; read when
                they are needed. The text of no samples is empty.
            advance: called with seconds of audio when these are done.
        """
        for recording, found in self._decode(recordings, advance, self.decoder.best_frames):
            if found:
                self.part(found[0], recording.joints)
            yield self.decoder.hypothesis(*found).text if found else ""

    def detail_all(self, recordings: Iterable[Audio], advance: Advance | None = None) -> Iterator[Transcript]:
        """As ``transcribe_all``, with words, their times and their confidences.

        These are calibrated, the probability that a word is right, where stage 5 has learnt to do that for
        this checkpoint. Those of its characters are as ``measure_confidence`` has them.
        """
        for recording, found in self._decode(recordings, advance, self.decoder.rated_frames):
            if not found:
                yield Transcript("", (), 0.0)
                continue
            ids, scores, confidences = found
            self.part(ids, recording.joints)
            words = self.decoder.find_words(ids, confidences)
            text = self.decoder.hypothesis(ids, scores).text
            if calibration := self.decoder.calibration:
                words = tuple(replace(word, confidence=calibration(word.confidence)) for word in words)
            yield Transcript(text, words, recording.samples / SAMPLE_RATE)

    def part(self, ids: Tensor, joints: list[int]) -> None:
        """Put a space between two chunks, in the last frame of the first one, where neither has one there.

        Models that are trained on utterances need not say one where those end.
        """
        model = self.decoder.model
        if SPACE not in model.token_list or not joints:
            return
        space = model.token_list.index(SPACE)
        said = (ids != model.blank_id).nonzero().flatten()
        behind = torch.searchsorted(said, torch.tensor(joints)).tolist()
        last = 0
        for joint, place in zip(joints, behind, strict=True):
            around = said[max(0, place - 1) : place + 1]  # the frames of the tokens before and behind it
            if place > last and len(around) == 2 and joint not in around and not (ids[around] == space).any():
                ids[joint], last = space, place

    def log_probs(self, audio: Audio, advance: Advance | None = None) -> tuple[Tensor, float]:
        """(T, V) log probabilities of the tokens, on the CPU, and the duration in seconds.

        Args are one recording, and ``advance``, as in ``transcribe_all``.
        """

        def read(speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            found, frames = self.decoder.log_probs(speech, lengths)
            return found.cpu(), frames.cpu()

        ((recording, (found,)),) = self._decode([audio], advance, read)
        return found, recording.samples / SAMPLE_RATE

    def _decode(
        self,
        recordings: Iterable[Audio],
        advance: Advance | None,
        read: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    ) -> Iterator[tuple[ChunkedRecording, list[Tensor]]]:
        """Each recording, and what ``read`` finds in it: tensors of its frames, (T, ...).

        ``read`` takes (B, N) samples and their numbers (B,); it gives tensors (B, T, ...), and the numbers of
        frames (B,).
        """
        waiting: deque[ChunkedRecording] = deque()
        for chunks in self._read_ahead(recordings, waiting):
            for batch in self._make_batches(chunks):
                lengths = torch.tensor([len(chunk) for chunk in batch])
                padded = pad_sequence([chunk.samples for chunk in batch], batch_first=True)
                *found, frames = read(padded, lengths)
                for chunk, *row, count in zip(batch, *found, frames.tolist(), strict=True):
                    chunk.recording.put(chunk, [values[:count] for values in row])
                if advance is not None:
                    advance(sum(map(len, batch)) / SAMPLE_RATE)
            while waiting and waiting[0].is_whole:
                recording = waiting.popleft()
                yield recording, recording.take()

    def _read_ahead(
        self, recordings: Iterable[Audio], waiting: deque[ChunkedRecording]
    ) -> Iterator[list[Chunk]]:
        """Chunks that are decoded together; the recordings are put into ``waiting`` when they begin."""
        chunks: list[Chunk] = []
        samples = begun = 0
        for audio in recordings:
            recording = ChunkedRecording(self.chunk_frames, self.receptive_field)
            waiting.append(recording)
            begun += 1
            for chunk in recording.cut([audio] if isinstance(audio, np.ndarray) else audio):
                chunks.append(chunk)
                samples += len(chunk)
                if samples >= READ_AHEAD * self.batch_samples:
                    yield chunks
                    chunks, samples, begun = [], 0, 0
            if begun >= MOST_AHEAD:
                yield chunks
                chunks, samples, begun = [], 0, 0
        yield chunks

    def _make_batches(self, chunks: list[Chunk]) -> Iterator[list[Chunk]]:
        """Chunks of similar length share a batch."""
        # A model without exact padding would encode a chunk otherwise beside a longer one.
        most = MOST_PADDING if self.decoder.model.encoder.config.exact_padding else 0.0
        batch: list[Chunk] = []
        own = 0  # samples in it
        for chunk in sorted(chunks, key=Chunk.__len__):
            room = len(chunk) * (len(batch) + 1)
            if batch and (room > self.batch_samples or room - own - len(chunk) > most * room):
                yield batch
                batch, own = [], 0
            batch.append(chunk)
            own += len(chunk)
        if batch:
            yield batch


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
