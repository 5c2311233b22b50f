"""CTC beam search with a word language model and an open vocabulary: any other word can be spelt too."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import kenlm
import torch
from flashlight.lib.text.decoder import (
    LM,
    CriterionType,
    LexiconFreeDecoder,
    LexiconFreeDecoderOptions,
    LMState,
)
from torch import Tensor

from espnet_wsm.data.text.language_model import load_model
from espnet_wsm.data.text.tokens import SPACE
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.confidence import measure_confidence
from espnet_wsm.recognition.greedy import GreedyCtcDecoder, Hypothesis
from espnet_wsm.recognition.words import BYTE
from espnet_wsm.recognition.words import META as WORD_MARK


@dataclass(frozen=True)
class LmSearchConfig:
    """The score of a hypothesis, and how many hypotheses are kept.

    The score is ``log p(tokens) + lm_weight * log p(words) + word_bonus * number of words``, in natural
    logarithms. The first term is that of CTC, summed over all alignments.

    Args:
        lm_weight: weight of the language model.
        word_bonus: added for each word, to balance the preference of language models for few words.
        unk_score: log10 probability of a word that the language model does not know.
        beam_size: hypotheses kept in each frame.
        beam_size_token: number of tokens, the most probable ones, by which they are extended in each frame.
        beam_threshold: hypotheses that score this much less than the best (natural logarithm) are dropped.

    Raises:
        UserError: a value is out of range.
    """

    lm_weight: float
    word_bonus: float
    unk_score: float
    beam_size: int
    beam_size_token: int
    beam_threshold: float

    def __post_init__(self):
        least = {"lm_weight": 0, "beam_size": 1, "beam_size_token": 1, "beam_threshold": 0}
        for field, value in dataclasses.asdict(self).items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"--{field} {value}: a finite number is needed")
            if field in least and value < least[field]:
                raise UserError(f"--{field} {value}: it must be {least[field]} or more")
        if self.unk_score > 0:
            raise UserError(f"--unk_score {self.unk_score}: the logarithm of a probability is not positive")


class WordLm(LM):
    """KenLM scores words, but flashlight's search scores tokens: a word is scored when the next one begins.

    A word is what the tokens spell between two ``<space>``, or from one word mark of sentencepiece to the
    next; byte tokens are joined. So it does not matter into which pieces a model splits a word.

    Args:
        model: word n-gram.
        tokens: the acoustic model's token list.
        config: weights.
    """

    def __init__(self, model: kenlm.Model, tokens: list[str], config: LmSearchConfig):
        super().__init__()
        self.model, self.config = model, config
        # For each token: whether a word ends before it, and the bytes it adds to the next word.
        self.spelled: list[tuple[bool, bytes]] = []
        for token in tokens:
            if token == SPACE:
                self.spelled.append((True, b""))
            elif match := BYTE.fullmatch(token):
                self.spelled.append((False, bytes([int(match[1], 16)])))
            else:
                self.spelled.append((token.startswith(WORD_MARK), token.replace(WORD_MARK, "").encode()))
        # flashlight's state -> KenLM's after all whole words, and the bytes of the word that has begun
        self.hypotheses: dict[LMState, tuple[kenlm.State, bytes]] = {}
        # The search asks for the same scores again and again, so the results of :meth:`score` are kept.
        self.answers: dict[tuple[LMState, int], tuple[LMState, float]] = {}

    def start(self, start_with_nothing: bool) -> LMState:
        """The state at the beginning of an utterance; forgets the previous utterance."""
        root, state = LMState(), kenlm.State()
        self.model.BeginSentenceWrite(state)
        self.hypotheses, self.answers = {root: (state, b"")}, {}
        return root

    def score(self, state: LMState, usr_token_idx: int) -> tuple[LMState, float]:
        """The state after a token, and the score of the word that the token ends."""
        if answer := self.answers.get((state, usr_token_idx)):
            return answer
        child, score = state.child(usr_token_idx), 0.0
        begins, spelled = self.spelled[usr_token_idx]
        words, begun = self.hypotheses[state]
        if not begins:
            spelled = begun + spelled
        elif begun:
            words, score = self.score_word(words, begun)
        self.hypotheses[child] = (words, spelled)
        answer = self.answers[state, usr_token_idx] = (child, score)
        return answer

    def finish(self, state: LMState) -> tuple[LMState, float]:
        """The state itself, and the score of its last word and of the end of the sentence."""
        words, begun = self.hypotheses[state]
        score = 0.0
        if begun:
            words, score = self.score_word(words, begun)
        end = self.model.BaseScore(words, "</s>", kenlm.State())
        return state, score + self.config.lm_weight * math.log(10) * end

    def score_word(self, state: kenlm.State, spelled: bytes) -> tuple[kenlm.State, float]:
        """KenLM's state after a word, and the word's weighted score plus the bonus."""
        word, after = spelled.decode("utf-8", errors="replace"), kenlm.State()
        log10 = self.model.BaseScore(state, word, after)
        if word not in self.model:
            log10 = self.config.unk_score
        return after, self.config.lm_weight * math.log(10) * log10 + self.config.word_bonus


class LmCtcDecoder(GreedyCtcDecoder):
    """CTC prefix beam search by flashlight-text, with shallow fusion of a word n-gram.

    The model runs in batches, as in greedy decoding. Each utterance is searched by itself, so its result is
    the same in any batch that gives it the same log probabilities.

    Args:
        train_config: ESPnet's ``config.yaml`` of the model.
        model_file: its checkpoint.
        lm_file: word n-gram in ARPA or KenLM format.
        config: weights and sizes.
        device: torch device of the model; the search runs on the CPU.
        dtype: precision of the model, one of ``DTYPES``.

    Raises:
        UserError: a file is missing or not what it should be, or the model has no CTC output.
    """

    def __init__(
        self,
        train_config: Path,
        model_file: Path,
        lm_file: Path,
        config: LmSearchConfig,
        device: str = "cpu",
        dtype: str = "trained",
    ):
        lm = load_model(Path(lm_file))
        super().__init__(train_config, model_file, device, dtype)
        self.prepare_search(lm, config)

    def prepare_search(self, lm: kenlm.Model, config: LmSearchConfig) -> None:
        """Make the search for the tokens of ``self.model``."""
        tokens = list(self.model.token_list)
        options = LexiconFreeDecoderOptions(
            beam_size=config.beam_size,
            beam_size_token=min(config.beam_size_token, len(tokens)),
            beam_threshold=config.beam_threshold,
            lm_weight=1.0,  # WordLm applies the weight
            sil_score=0.0,
            log_add=True,
            criterion_type=CriterionType.CTC,
        )
        self.lm = WordLm(lm, tokens, config)
        blank = self.model.blank_id
        self.search = LexiconFreeDecoder(options, self.lm, blank, blank, [])

    def __call__(self, speech: Tensor, speech_lengths: Tensor) -> list[Hypothesis]:
        """Decode 16 kHz samples (B, N), of which (B,) ``speech_lengths`` are valid.

        The scores of the hypotheses include those of their words.
        """
        log_probs, lengths = self.log_probs(speech, speech_lengths)
        pairs = zip(log_probs.cpu(), lengths.tolist(), strict=True)
        return [self.search_utterance(frames[:length]) for frames, length in pairs]

    def search_utterance(self, log_probs: Tensor) -> Hypothesis:
        """The best hypothesis of (T, V) log probabilities."""
        log_probs = log_probs.float().contiguous()
        best = self.search.decode(log_probs.data_ptr(), *log_probs.shape)[0]
        path = torch.tensor(best.tokens[1:-1])  # one of its alignments, between a start and an end
        words = self.find_words(path, measure_confidence(log_probs))
        return dataclasses.replace(
            self.hypothesis(path, torch.zeros(len(path))), score=best.score, words=words
        )
