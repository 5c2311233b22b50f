"""Batched greedy CTC decoding: the best token of every frame, with repeats and blanks removed."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from espnet2.text.token_id_converter import TokenIDConverter
from torch import Tensor

from espnet_wsm.annotations import Word
from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in
from espnet_wsm.recognition.acoustic_model import build_tokenizer, load_model
from espnet_wsm.recognition.calibration import Calibration
from espnet_wsm.recognition.confidence import measure_confidence
from espnet_wsm.recognition.texts import LineTokenizer
from espnet_wsm.recognition.words import collapse_path, group_words
from espnet_wsm.upstream import SuffixStream


@dataclass(frozen=True)
class Hypothesis:
    """One decoded utterance; ``score`` is the log probability of its best path."""

    text: str
    tokens: list[str]
    token_ids: list[int]
    score: float
    words: tuple[Word, ...] = ()


class GreedyCtcDecoder:
    """Beam search takes about a second per utterance; the best path of a whole batch takes one argmax.

    Args:
        train_config: ESPnet's ``config.yaml`` of the model.
        model_file: its checkpoint.
        device: torch device.
        dtype: precision of the model, one of ``espnet_wsm.recognition.dtypes.DTYPES``.
        cache: folder of a stored cut; the decoder then takes (B, T, D) features of it in place of samples.

    Raises:
        UserError: a file is missing, or the model has no CTC output.
    """

    def __init__(
        self,
        train_config: Path,
        model_file: Path,
        device: str = "cpu",
        dtype: str = "trained",
        cache: Path | None = None,
    ):
        for file in (train_config, model_file):
            if not Path(file).is_file():
                raise UserError(f"{file} does not exist; train the model first (stage 3)")
            refuse_stand_in(file)
        self.model, self.train_args = load_model(train_config, model_file, device, dtype, cache)
        self.device, self.model_file = device, Path(model_file)
        self._turn = threading.Lock()  # upstreams of S3PRL keep what their hooks find in themselves
        self.calibration: Calibration | None = None  # of words' confidences, where that has been learnt
        self.converter = TokenIDConverter(token_list=self.model.token_list)
        self.tokenizer = LineTokenizer(build_tokenizer(self.train_args.token_type, self.train_args.bpemodel))

    def __call__(self, speech: Tensor, speech_lengths: Tensor) -> list[Hypothesis]:
        """Decode 16 kHz samples (B, N), of which (B,) ``speech_lengths`` are valid."""
        *found, lengths = self.rated_frames(speech, speech_lengths)
        hypotheses = []
        for *frames, length in zip(*found, lengths.tolist(), strict=True):
            ids, scores, confidences = (values[:length] for values in frames)
            words = self.find_words(ids, confidences)
            hypotheses.append(replace(self.hypothesis(ids, scores), words=words))
        return hypotheses

    def best_frames(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best token of every frame, blanks and repeats included.

        Args:
            speech: (B, N) 16 kHz samples.
            speech_lengths: (B,) number of valid samples of each.

        Returns:
            (B, T) token ids, (B, T) their log probabilities, and (B,) number of valid frames, on the CPU.
        """
        log_probs, lengths = self.log_probs(speech, speech_lengths)
        scores, ids = log_probs.max(dim=-1)
        return ids.cpu(), scores.cpu(), lengths.cpu()

    def rated_frames(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As :meth:`best_frames`, with (B, T) confidences of ``measure_confidence`` before the lengths."""
        log_probs, lengths = self.log_probs(speech, speech_lengths)
        scores, ids = log_probs.max(dim=-1)
        return ids.cpu(), scores.cpu(), measure_confidence(log_probs).cpu(), lengths.cpu()

    @torch.inference_mode()
    def log_probs(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, V) float32 log probabilities of the tokens and (B,) number of valid frames, on the device.

        Threads are served one after the other.

        Args:
            speech: (B, N) 16 kHz samples.
            speech_lengths: (B,) number of valid samples of each.
        """
        with self.taking_turns():
            encoded, lengths = self.model.encode(speech.to(self.device), speech_lengths.to(self.device))
        if isinstance(encoded, tuple):  # an encoder with intermediate CTC
            encoded = encoded[0]
        return self.model.ctc.log_softmax(encoded).float(), lengths

    def taking_turns(self) -> threading.Lock:
        """To be held while the upstream runs."""
        return self._turn

    def open_stream(self) -> "FrameStream | None":
        """For audio that goes on; None if the layers above the cut need the whole of it."""
        try:
            return FrameStream(self, self.model.encoder.open_stream(self.model.ctc))
        except UserError:
            return None

    def hypothesis(self, frame_ids: Tensor, frame_scores: Tensor) -> Hypothesis:
        """Collapse the best path of one utterance, (T,) token ids and (T,) log probabilities; no words."""
        token_ids = [i for i in torch.unique_consecutive(frame_ids).tolist() if i != self.model.blank_id]
        tokens = self.converter.ids2tokens(token_ids)
        return Hypothesis(self.tokenizer.tokens2text(tokens), tokens, token_ids, float(frame_scores.sum()))

    def find_words(self, frame_ids: Tensor, confidences: Tensor) -> tuple[Word, ...]:
        """The words of a path, (T,) token ids and (T,) confidences of its frames, with their times."""
        pieces = collapse_path(frame_ids.tolist(), self.model.token_list, self.model.blank_id)
        return tuple(group_words(pieces, self.train_args.token_type, len(frame_ids), confidences.tolist()))


class FrameStream:
    """The best tokens of audio that goes on, each frame computed once above the cut.

    Args:
        decoder: of a model whose encoder has a stream.
        suffix: that stream.
    """

    def __init__(self, decoder: GreedyCtcDecoder, suffix: SuffixStream):
        self.decoder, self.suffix = decoder, suffix

    def find_hidden(self, speech: Tensor) -> Tensor:
        """(1, T, D) states below the cut of (1, N) samples at 16 kHz, computed anew."""
        with self.decoder.taking_turns(), torch.inference_mode():
            hidden, _ = self.decoder.model.encoder.prefix([speech[0].to(self.decoder.device)])
        return hidden

    def push(self, hidden: Tensor, last: bool) -> tuple[list[int], list[float]]:
        """The tokens of the frames that are known now, and their confidences.

        Args:
            hidden: (1, T, D) states below the cut of the next frames.
            last: whether none follow.
        """
        with torch.inference_mode():
            encoded = self.suffix.push(hidden, last)
            log_probs = self.decoder.model.ctc.log_softmax(encoded).float()
        return log_probs[0].argmax(dim=-1).tolist(), measure_confidence(log_probs)[0].tolist()
