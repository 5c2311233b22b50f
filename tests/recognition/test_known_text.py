"""Times of a text that is known."""

import pytest
import torch

from espnet_wsm.errors import UserError
from espnet_wsm.recognition.known_text import align_text

TOKENS = ["<blank>", "<unk>", "a", "b", "D", "<space>", "<sos/eos>"]


class StubTranscriber:
    """A model that hears ``path`` in anything.

    Args:
        path: token of each frame.
        token_type: of the model.
        tokens: its list.
    """

    def __init__(self, path: str, token_type: str = "char", tokens=TOKENS, split=list):
        ids = {"-": 0, "_": tokens.index("<space>") if "<space>" in tokens else 0}
        self.path = [ids[c] if c in ids else tokens.index(c) for c in path]
        self.size = len(tokens)
        self.decoder = self
        self.model = self
        self.token_list, self.blank_id = tokens, 0
        self.train_args = type("", (), {"token_type": token_type})
        self.tokenizer = type("", (), {"text2tokens": staticmethod(split)})

    def log_probs(self, audio, advance) -> tuple[torch.Tensor, float]:
        probs = torch.full((len(self.path), self.size), 0.1 / (self.size - 1))
        probs[range(len(self.path)), self.path] = 0.9
        return probs.log(), len(audio) / 16000


PATH = "----------aa--b------_-----b---------D----------"
SAMPLES = torch.zeros(len(PATH) * 320).numpy()


def test_lines_become_segments_of_words_in_their_own_spelling():
    aligned = align_text(StubTranscriber(PATH), SAMPLES, ["Ab!", "", "  Bd  "])
    assert [(s.text, s.start, s.end) for s in aligned.segments] == [("Ab!", 0.14, 0.42), ("Bd", 0.48, 0.88)]
    words = [word for segment in aligned.segments for word in segment.words]
    assert [character.text for character in words[1].characters] == ["b", "D"]
    assert words[0].confidence == pytest.approx(0.9) and aligned.missing == {"!": 1}
    assert aligned.duration == len(PATH) * 0.02


def test_words_that_the_model_cannot_spell_lie_between_their_neighbours():
    aligned = align_text(StubTranscriber(PATH), SAMPLES, ["123 ab 4 5 bd 67 8"])
    words = aligned.segments[0].words
    assert [word.text for word in words] == ["123", "ab", "4", "5", "bd", "67", "8"]
    assert (words[0].start, words[0].end) == (0.0, words[1].start)
    assert words[2].start == words[1].end < words[3].start == words[2].end < words[3].end == words[4].start
    assert words[2].confidence is None and sum(aligned.missing.values()) == 8
    # Nothing lies behind the last word that was placed: it is shortened.
    assert words[4].end == words[5].start == pytest.approx(0.84)
    assert words[4].characters[-1].end == words[4].end and words[6].end == pytest.approx(0.88)


def test_what_was_not_said_is_less_sure():
    said, other = (align_text(StubTranscriber(PATH), SAMPLES, [text]) for text in ("ab bd", "ab ba"))
    assert said.segments[0].words[1].confidence > 0.8 > 0.2 > other.segments[0].words[1].confidence
    assert other.segments[0].words[0].confidence > 0.8


def test_tokens_of_sentencepiece_are_words_too():
    tokens = ["<blank>", "▁h", "e", "y", "▁"]
    stub = StubTranscriber("-----e-----y----", "bpe", tokens, lambda text: ["▁h", *text[1:]])
    stub.path[2] = 1
    aligned = align_text(stub, SAMPLES[: 16 * 320], ["hey"])
    (word,) = aligned.segments[0].words
    assert word.text == "hey" and [c.text for c in word.characters] == ["h", "e", "y"]
    assert aligned.missing == {}


def test_a_text_in_another_script_is_refused_with_the_script_of_the_model():
    with pytest.raises(UserError, match="no character that the model knows, which has a b D"):
        align_text(StubTranscriber(PATH), SAMPLES, ["привет"])
