"""Speech that is still going on: words as soon as they are sure, and what may follow them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from espnet_wsm.annotations import Word
from espnet_wsm.data.text.tokens import SPACE
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.recognition.transcript import PAUSE
from espnet_wsm.recognition.words import BYTE, Piece, collapse_path, place_words, split_words, to_seconds

if TYPE_CHECKING:
    from espnet_wsm.recognition.greedy import GreedyCtcDecoder
    from espnet_wsm.recognition.transcriber import Transcriber

STEP, LOOK_AHEAD, CONTEXT = 0.5, 1.0, 10.0  # seconds
SHORTEST = 0.1  # seconds of a step


@dataclass(frozen=True)
class LiveOptions:
    """Raise UserError unless all of them are numbers that make sense.

    Args:
        step: seconds of new audio after which the model runs again.
        look_ahead: seconds of audio that a frame has behind it before it is settled. More is later, and
            nearer to what the whole recording gives.
        context: seconds of settled audio that the model hears again, before what is not settled.
        pause: seconds without a word that end an utterance.
    """

    step: float = STEP
    look_ahead: float = LOOK_AHEAD
    context: float = CONTEXT
    pause: float = PAUSE

    def __post_init__(self):
        for name, least in (("step", SHORTEST), ("look_ahead", 0.0), ("context", 0.0), ("pause", 0.0)):
            if not least <= getattr(self, name) < float("inf"):
                raise UserError(f"--{name} {getattr(self, name):g}: give {least:g} seconds or more")


@dataclass(frozen=True)
class Update:
    """What one more piece of audio has brought.

    Args:
        words: that are new. They are final, and follow those of the updates before.
        begun: text of the word behind them, as far as it is final: it only grows until the word is whole.
        tail: text behind that (and before it the space, if a new word begins), which may change.
        heard: seconds of audio so far.
        ends_utterance: whether a pause follows the words.
    """

    words: tuple[Word, ...]
    begun: str
    tail: str
    heard: float
    ends_utterance: bool = False


class LiveTranscriber:
    """Audio comes for hours, and what a word is may depend on what comes after it.

    So the last seconds are recognised again and again, every ``step``. The best token of a frame is settled
    as soon as ``look_ahead`` seconds have come after it, and never changes; a word is given out when all of
    it is settled and another one, or a pause, comes after it. So no more audio is held than the model hears
    at once, and a step costs the same after hours.

    If the layers above the cut look at no, or few, frames after a frame (``WsmS3prlEncoder.open_stream``),
    they compute each frame once; then nothing is said of what may change.

    Args:
        transcriber: of ``espnet_wsm.load``.
        options: see there.

    Raises:
        UserError: the model takes no audio as long as the options ask for.
    """

    def __init__(self, transcriber: "Transcriber", options: LiveOptions | None = None):
        self.options = options or LiveOptions()
        self.decoder, self.most = transcriber.decoder, transcriber.chunk_frames
        settings = self.options
        needed = settings.context + settings.look_ahead + settings.step
        longest = self.most * HOP / SAMPLE_RATE
        if needed > longest:
            raise UserError(
                f"--context, --look_ahead and --step are {needed:g} s together, and the model hears "
                f"{longest:g} s at once (--chunk_seconds): give less"
            )
        self.step = round(settings.step * SAMPLE_RATE)
        self.look_ahead, self.context, pause = (
            round(seconds * SAMPLE_RATE / HOP)
            for seconds in (settings.look_ahead, settings.context, settings.pause)
        )
        self._waiting: list[np.ndarray] = []
        self._new = 0  # samples in it
        self._held = np.zeros(0, np.float32)
        self._begin = 0  # frame at which the held samples begin
        self._known = 0  # frames that are settled, or given to the stream
        self._path = _SettledPath(self.decoder, pause)
        self._stream = self.decoder.open_stream()

    @property
    def heard(self) -> float:
        """Seconds of audio that have come."""
        return (self._begin * HOP + len(self._held) + self._new) / SAMPLE_RATE

    @property
    def missing(self) -> float:
        """Seconds of audio until the model runs again."""
        return (self.step - self._new) / SAMPLE_RATE

    def push(self, samples: np.ndarray) -> Update | None:
        """(N,) float32 samples at 16 kHz more; None while a step is not full.

        However many they are, the model hears no more at once than it can: one update stands for all.
        """
        self._waiting.append(samples)
        self._new += len(samples)
        return self._run(last=False) if self._new >= self.step else None

    def finish(self) -> Update:
        """What is left, when no more audio comes; nothing may be pushed after it."""
        return self._run(last=True)

    def _run(self, last: bool) -> Update:
        come = np.concatenate(self._waiting) if self._waiting else np.zeros(0, np.float32)
        self._waiting, self._new = [], 0
        words: list[Word] = []
        ended = is_done = False
        while not is_done:
            room = self.most * HOP - len(self._held)
            self._held, come = np.concatenate([self._held, come[:room]]), come[room:]
            is_done = not len(come)
            if len(self._held):
                self._hear(last and is_done)
            more, has_ended = self._path.take(last and is_done)
            words, ended = [*words, *more], ended or has_ended
        begun, tail = self._path.read_rest()
        return Update(tuple(words), begun, tail, self.heard, ended)

    def _hear(self, last: bool) -> None:
        """Settle what the held samples tell, and let go those that are not needed any more."""
        speech = torch.from_numpy(self._held).unsqueeze(0)
        known = self._known - self._begin
        if self._stream is None:
            ids, _, confidences, (count,) = self.decoder.rated_frames(speech, torch.tensor([len(self._held)]))
            settled = self._find_settled(int(count), last)
            self._path.settle(ids[0, known:settled].tolist(), confidences[0, known:settled].tolist())
            self._path.guess(ids[0, settled : int(count)].tolist())
        else:
            below = self._stream.find_hidden(speech)
            settled = self._find_settled(below.size(1), last)
            self._path.settle(*self._stream.push(below[:, known:settled], last))
        self._known = self._begin + settled
        if (passed := self._known - self.context - self._begin) > 0:
            self._held, self._begin = self._held[passed * HOP :], self._begin + passed

    def _find_settled(self, count: int, last: bool) -> int:
        """How many of so many held frames are settled by now."""
        return count if last else max(self._known - self._begin, count - self.look_ahead)


class _SettledPath:
    """The best tokens of the frames that are settled, from the end of the last word on that has been given
    out, and guesses at those behind."""

    def __init__(self, decoder: "GreedyCtcDecoder", pause: int):
        self.decoder, self.pause, self.begin = decoder, pause, 0
        self.ids: list[int] = []
        self.confidences: list[float] = []
        self.guesses: list[int] = []
        self.last_end = 0.0  # seconds, of the last word that was given out
        self.is_in_utterance = False

    def settle(self, ids: list[int], confidences: list[float]) -> None:
        """Tokens and confidences of the next frames."""
        self.ids += ids
        self.confidences += confidences

    def guess(self, ids: list[int]) -> None:
        """Tokens of the frames behind, in place of the last guess."""
        self.guesses = ids

    def take(self, last: bool) -> tuple[list[Word], bool]:
        """The words that are whole, with ``last`` all; and whether a pause after them ends an utterance."""
        pieces = self._collapse(self.ids)
        groups = split_words(pieces, self.decoder.train_args.token_type)
        silent = len(self.ids) - (pieces[-1].end if pieces else 0)
        is_whole = last or silent >= self.pause or bool(pieces and pieces[-1].text == SPACE)
        whole = len(groups) if is_whole else len(groups) - 1
        words = [self._make(word) for word in place_words(groups, len(self.ids), self.confidences)[:whole]]
        if words:
            self._drop(groups[whole - 1][-1].end)
            self.is_in_utterance = True
        elif not groups and silent > self.pause:
            self._drop(len(self.ids) - self.pause)
        ends = self.is_in_utterance and whole == len(groups) and (last or silent >= self.pause)
        self.is_in_utterance = self.is_in_utterance and not ends
        return words, ends

    def read_rest(self) -> tuple[str, str]:
        """Text of what is settled and not given out, and what the guesses add to it."""
        settled = self._collapse(self.ids)
        while settled and BYTE.fullmatch(settled[-1].text):  # the others of the character may be missing
            settled.pop()
        begun = self._spell(settled)
        return begun, self._spell(self._collapse(self.ids + self.guesses)).removeprefix(begun)

    def _collapse(self, ids: list[int]) -> list[Piece]:
        return collapse_path(ids, self.decoder.model.token_list, self.decoder.model.blank_id)

    def _spell(self, pieces: list[Piece]) -> str:
        return self.decoder.tokenizer.tokens2text([piece.text for piece in pieces]).lstrip()

    def _drop(self, frames: int) -> None:
        self.begin += frames
        self.ids, self.confidences = self.ids[frames:], self.confidences[frames:]

    def _make(self, word: Word) -> Word:
        """A word of these frames as one of the audio, behind those before it."""
        start, end = (max(self.last_end, time + to_seconds(self.begin)) for time in (word.start, word.end))
        self.last_end = end
        rate = self.decoder.calibration
        sure = rate(word.confidence) if rate else word.confidence
        return Word(round(start, 3), round(end, 3), word.text, sure)
