"""Times of a text that is known: which of its characters a model can place, and where its words are."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from espnet_wsm.annotations import Segment, Word
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.alignment import align_tokens
from espnet_wsm.recognition.transcript import make_segment
from espnet_wsm.recognition.words import META, SPACE, Piece, collapse_path, place_words

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Advance, Audio, Transcriber

SHORTEST = 0.02  # seconds
CASES: tuple[Callable[[str], str], ...] = (lambda text: text, str.lower, str.upper)


@dataclass(frozen=True)
class Aligned:
    """A text with times.

    Args:
        segments: its lines, empty ones left out. A word is as sure as its least probable token.
        missing: characters (with bpe: words) that the model's tokens lack, with how often they are in the
            text; what is around them is aligned, and a word of nothing else lies between its neighbours.
        duration: of the audio in seconds.
    """

    segments: tuple[Segment, ...]
    missing: dict[str, int]
    duration: float


def align_text(
    transcriber: "Transcriber", audio: "Audio", lines: Sequence[str], advance: "Advance | None" = None
) -> Aligned:
    """Times for the words of a text.

    Letters that the model knows in another case only are taken in that.

    Args:
        transcriber: the model.
        audio: (N,) float32 samples at 16 kHz, or an iterable of blocks of these.
        lines: of the text; each becomes a segment.
        advance: called with seconds of audio when these have gone through the model.

    Raises:
        UserError: there is nothing in the text that the model knows, or it is not the text of the audio.
    """
    decoder = transcriber.decoder
    spell = _Speller(decoder.train_args.token_type, decoder.model.token_list, decoder.tokenizer.text2tokens)
    split = [line.split() for line in lines if line.strip()]
    words = [word for line in split for word in line]
    spelled = [spell(word) for word in words]
    if not any(spelled):
        raise UserError(
            "the text has no character that the model knows, which has "
            f"{' '.join(token for token in decoder.model.token_list if len(token) == 1)[:200]}: give the "
            "text in the script of the training"
        )
    sequence: list[int] = []
    for tokens in filter(None, spelled):
        sequence += [spell.space] if sequence and spell.space is not None else []
        sequence += tokens
    log_probs, duration = transcriber.log_probs(audio, advance)
    path, probabilities = align_tokens(log_probs, sequence, decoder.model.blank_id)
    pieces = collapse_path(path, decoder.model.token_list, decoder.model.blank_id)
    assert len(pieces) == len(sequence)
    if spell.space is not None:
        pieces = [piece for piece in pieces if piece.text != SPACE]
    left = iter(pieces)
    groups = [[_strip(next(left)) for _ in tokens] for tokens in spelled if tokens]
    sure = _spread(path, probabilities, decoder.model.blank_id)
    placed = iter(place_words(groups, len(path), sure))
    timed = _fill_in([replace(next(placed), text=w) if s else w for w, s in zip(words, spelled, strict=True)])
    left_words = iter(timed)
    segments = tuple(make_segment([next(left_words) for _ in line]) for line in split)
    return Aligned(segments, dict(spell.missing.most_common()), duration)


class _Speller:
    """The ids of the tokens of words; counts what has none in ``missing``."""

    def __init__(self, token_type: str, tokens: Sequence[str], split: Callable[[str], list[str]]):
        self.ids = {token: place for place, token in enumerate(tokens)}
        self.token_type, self.split = token_type, split
        self.space = self.ids.get(SPACE) if token_type == "char" else None
        self.missing: Counter[str] = Counter()

    def __call__(self, word: str) -> list[int]:
        if self.token_type == "char":
            return [token for part in word for token in self._find(part, list)]
        return self._find(word, self.split)

    def _find(self, text: str, split: Callable[[str], list[str]]) -> list[int]:
        """In the first case of letters in which all tokens are known; else what is known of it as it is."""
        for case in CASES:
            tokens = split(case(text))
            if tokens and all(token in self.ids for token in tokens):
                return [self.ids[token] for token in tokens]
        self.missing[text] += 1
        return [self.ids[token] for token in split(text) if token in self.ids]


def _strip(piece: Piece) -> Piece:
    return piece._replace(text=piece.text.removeprefix(META))


def _spread(path: Sequence[int], probabilities: Sequence[float], blank: int) -> list[float]:
    """For each frame the highest probability of its token's run; 1 for blanks, which do not count."""
    found: list[float] = []
    for token, run in groupby(path):
        length = sum(1 for _ in run)
        best = 1.0 if token == blank else max(probabilities[len(found) : len(found) + length])
        found += [min(1.0, best)] * length
    return found


def _fill_in(words: Sequence[Word | str]) -> list[Word]:
    """Words that could not be placed share what lies between their neighbours, and take what they need of it.

    Each gets ``SHORTEST`` seconds at least, if need be from the word before them, of which half is left.
    """
    found: list[Word] = []
    for unplaced, run in groupby(words, key=lambda word: isinstance(word, str)):
        if not unplaced:
            found += run
            continue
        texts = list(run)
        following = next((word for word in words[len(found) + len(texts) :] if isinstance(word, Word)), None)
        start = found[-1].end if found else 0.0
        end = start if following is None else max(start, following.start)
        lacking = max(0.0, SHORTEST * len(texts) - (end - start))
        if found and lacking:
            taken = min(lacking, found[-1].duration / 2)
            start -= taken
            found[-1] = _shorten(found[-1], start)
        borders = [round(start + (end - start) * place / len(texts), 3) for place in range(len(texts) + 1)]
        found += [Word(*span, text) for span, text in zip(pairwise(borders), texts, strict=True)]
    return found


def _shorten(word: Word, end: float) -> Word:
    """A word that ends earlier, its characters with their share of what is left."""
    share = (end - word.start) / word.duration if word.duration else 0.0
    borders = [round(word.start + share * (each.start - word.start), 3) for each in word.characters] + [end]
    characters = tuple(
        replace(each, start=start, end=behind)
        for each, (start, behind) in zip(word.characters, pairwise(borders), strict=True)
    )
    return replace(word, end=end, characters=characters)
