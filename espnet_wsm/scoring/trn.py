"""Pair reference and hypothesis by utterance id, and write them as ESPnet's ``ref.trn`` and ``hyp.trn``."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet_wsm.data.kaldi.lists import byte_order, name_some, parse_list, raise_collected
from espnet_wsm.data.text import tokens
from espnet_wsm.data.text.rules import find_unspaced_script, split_graphemes
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

# Where sclite and Kaldi split. `str.split()` would also split at the no-break space and other Unicode spaces.
ASCII_SPACE = re.compile(r"[ \t\r\v\f]+")


@dataclass(frozen=True)
class TextPair:
    """Reference and hypothesis of one utterance as tokens: words, or characters after split_characters."""

    id: str
    speaker: str
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


def read_kaldi_text(path: Path) -> dict[str, tuple[str, ...]]:
    """Read ``id word word ...`` lines into id -> words, in the order of the file; words may be missing.

    Lines end only at line feeds, and words only at ASCII white space.

    Raises:
        UserError: the file cannot be read; a line has no id, is not UTF-8, or repeats an id.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: check the path") from error
    problems: list[str] = []
    entries = parse_list(path, data, problems, strict=False)
    raise_collected(problems, path)
    return {id: tuple(filter(None, ASCII_SPACE.split(entry.value))) for id, entry in entries.items()}


def _remove_symbols(words: Sequence[str], symbols: Sequence[str]) -> tuple[str, ...]:
    text = re.sub("|".join(map(re.escape, symbols)), "", " ".join(words))
    return tuple(word for word in text.split(" ") if word)


def pair_texts(
    reference: Path, hypothesis: Path, utt2spk: Path | None = None, symbols: Sequence[str] = ()
) -> list[TextPair]:
    """Pair two Kaldi texts by id, sorted by id as ``LC_ALL=C sort`` does.

    ``symbols`` (non-linguistic, see `espnet_wsm.data.text.tokens.read_symbols`) are removed from both sides.

    Without ``utt2spk``, every utterance is its own speaker, by Kaldi's convention. An empty hypothesis is
    kept and counts as deletions. Ids that are only in ``utt2spk`` are ignored.

    Raises:
        UserError: as :func:`read_kaldi_text`; there is no reference; a reference is empty; an id is in only
            one of the texts; an id does not have exactly one speaker.
    """
    references, hypotheses = read_kaldi_text(reference), read_kaldi_text(hypothesis)
    if symbols:
        for texts in (references, hypotheses):
            texts.update({key: _remove_symbols(words, symbols) for key, words in texts.items()})
    if not references:
        raise UserError(f"{reference} is empty: it needs one line per utterance")
    problems = []
    if empty := [key for key, words in references.items() if not words]:
        problems.append(
            f"{reference}: empty reference of {name_some(empty)}: an error rate needs reference words, "
            "remove these utterances from the set"
        )
    if missing := [key for key in references if key not in hypotheses]:
        problems.append(
            f"{hypothesis}: no hypothesis for {name_some(missing)} of {reference}: decode again; an empty "
            "hypothesis is a line with the id alone"
        )
    if unknown := [key for key in hypotheses if key not in references]:
        problems.append(
            f"{hypothesis}: {name_some(unknown)} not in {reference}: score against the set that was decoded"
        )
    speakers = {key: (key,) for key in references} if utt2spk is None else read_kaldi_text(utt2spk)
    if lacking := [key for key in references if len(speakers.get(key, ())) != 1]:
        problems.append(
            f"{utt2spk}: {name_some(lacking)} needs one line `utterance speaker`: add or correct it"
        )
    raise_collected(problems, hypothesis)
    return [
        TextPair(key, speakers[key][0], references[key], hypotheses[key])
        for key in sorted(references, key=byte_order)
    ]


def split_characters(pair: TextPair) -> TextPair:
    """The tokens of the character error rate: ESPnet's ``char`` tokens, ``<space>`` between words."""
    return _split_sides(pair, tokens.split_characters)


def _split_graphemes(text: str) -> list[str]:
    return [tokens.SPACE if cluster == " " else cluster for cluster in split_graphemes(text)]


def _split_sides(pair: TextPair, split: Callable[[str], Iterable[str]]) -> TextPair:
    """Join the words of each side with spaces, and split the result into tokens."""
    reference, hypothesis = (tuple(split(" ".join(words))) for words in (pair.reference, pair.hypothesis))
    return replace(pair, reference=reference, hypothesis=hypothesis)


def _without_spaces(split: Callable[[str], Iterable[str]]) -> Callable[[TextPair], TextPair]:
    return lambda pair: _split_sides(pair, lambda text: split(text.replace(" ", "")))


# Metric -> how the words of a pair become its tokens. A character is a code point, as in ESPnet; a grapheme
# is what a reader sees as one character, with its vowel signs and tone marks.
TOKENIZERS: dict[str, Callable[[TextPair], TextPair]] = {
    "wer": lambda pair: pair,
    "cer": split_characters,
    "cer_nospace": _without_spaces(tokens.split_characters),
    "gcer": lambda pair: _split_sides(pair, _split_graphemes),
    "gcer_nospace": _without_spaces(_split_graphemes),
}


def find_reason_against_words(pairs: Iterable[TextPair]) -> str | None:
    """Why a word error rate would be meaningless for these references, None if it is meaningful."""
    script = find_unspaced_script(" ".join(pair.reference) for pair in pairs)
    return script and (
        f"{script} is written without spaces between words, so that a WER would count phrases: use the "
        "character error rates, CER by code point or GCER by grapheme"
    )


def write_trns(directory: Path, pairs: Iterable[TextPair]) -> None:
    """Write ``ref.trn`` and ``hyp.trn``: tokens, a tab, ``(speaker-id)``, as ESPnet's asr.sh; atomically."""
    pairs = list(pairs)
    for name, side in (("ref.trn", "reference"), ("hyp.trn", "hypothesis")):
        lines = (f"{' '.join(getattr(pair, side))}\t({pair.speaker}-{pair.id})" for pair in pairs)
        write_text(directory / name, lines)
