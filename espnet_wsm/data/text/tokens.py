"""Token lists: characters or sentencepiece units, in the files and the order that ESPnet expects."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import sentencepiece

from espnet_wsm.data.kaldi.lists import find_id_fault, raise_collected, read_list
from espnet_wsm.data.text.characters import compose
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically, write_text

BLANK, UNKNOWN, SPACE, START_END = "<blank>", "<unk>", "<space>", "<sos/eos>"
# <unk>, <s> and </s> come first in every sentencepiece vocabulary; ESPnet's own symbols take their place.
META_PIECES = 3
SYMBOLS = "nlsyms.txt"  # beside tokens.txt, where there are any
NUM_BYTES = 256  # pieces <0x00> to <0xFF>
UNLIMITED = 10**7  # pieces
TOKEN_TYPES = ("char", "bpe", "unigram")


def read_symbols(path: Path) -> list[str]:
    """ESPnet's non-linguistic symbols, such as ``[eng]``, one per line; sorted longest first, for matching.

    They are composed as transcripts are, because otherwise they would match none.

    Raises:
        UserError: the file cannot be read; a symbol holds white space.
    """
    try:
        symbols = {line.rstrip() for line in path.read_text(encoding="utf-8-sig").split("\n")} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): write one symbol per line in UTF-8") from None
    raise_collected(
        [f"{path}: symbol {each!r} {fault}" for each in sorted(symbols) if (fault := find_id_fault(each))],
        path,
    )
    return sorted(sorted({compose(each) for each in symbols} - {""}), key=len, reverse=True)


def split_characters(text: str, symbols: Sequence[str] = ()) -> list[str]:
    """ESPnet's ``char`` tokens of ``text``: code points, with the space written as ``<space>``.

    Each of ``symbols`` is one token. A symbol must come before any symbol that is its prefix.
    """
    parts = re.findall("|".join([*map(re.escape, symbols), "."]), text, re.DOTALL) if symbols else text
    return [SPACE if part == " " else part for part in parts]


def _find_reserved(text: str, token_type: str) -> str | None:
    """The part of ``text`` that cannot become a token, in words; None if there is none."""
    for char in text:
        if char == "\0":
            return "a NUL character"
        if token_type == "char" and char.isspace() and char != " ":
            return f"the white space U+{ord(char):04X}, which ESPnet strips from its token list"
        if token_type != "char" and char == "\u2581":
            return "U+2581, which sentencepiece reserves for the space"
    return None


def _read_texts(path: Path, token_type: str) -> list[str]:
    problems: list[str] = []
    entries = read_list(path, problems)
    for utterance, entry in entries.items():
        where = f"{path}:{entry.line}: id {utterance}"
        if not entry.value.strip():
            problems.append(f"{where} has an empty transcript: remove the utterance")
        elif what := _find_reserved(entry.value, token_type):
            problems.append(f"{where}: the text holds {what}: replace it when preparing the data")
    raise_collected(problems, path)
    return [entry.value for entry in entries.values()]


def _make_characters(texts: list[str], out: Path, symbols: Sequence[str]) -> list[str]:
    """Characters, most frequent first; ties in order of first occurrence, as in ESPnet."""
    for name in ("bpe.model", "bpe.vocab"):
        (out / name).unlink(missing_ok=True)
    counts = Counter(char for text in texts for char in split_characters(text, symbols))
    return [char for char, _ in counts.most_common()]


def _train_pieces(texts: list[str], model_type: str, vocab_size: int, **options: object) -> bytes:
    """A sentencepiece model without normalisation, because stage 2 has already normalised the texts. With
    sentencepiece's default, NFKC, no hypothesis in Thai would match its reference.

    It uses one thread and all sentences in order, so the same text gives the same bytes.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type=model_type,
        vocab_size=vocab_size,
        character_coverage=1.0,
        normalization_rule_name="identity",
        shuffle_input_sentence=False,
        num_threads=1,
        # Longer sentences (in bytes) would silently be skipped; sentencepiece accepts no limit below 10.
        max_sentence_length=max(10, 1 + max(len(text.encode()) for text in texts)),
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def _count_pieces(texts: list[str], model_type: str, symbols: Sequence[str]) -> int:
    """How many pieces ``texts`` yield if their number is not limited, including the three meta pieces."""
    options = {"user_defined_symbols": list(symbols), "hard_vocab_limit": False}
    model = _train_pieces(texts, model_type, UNLIMITED, **options)
    return sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()


def _explain_size(
    texts: list[str], model_type: str, nbpe: int, symbols: Sequence[str], byte_fallback: bool
) -> str | None:
    """Why a model of ``nbpe`` pieces is impossible and which sizes are possible; None if it is possible.

    Found by trial: the smallest model has only single characters, the largest is trained without a limit.
    """
    of_bytes = NUM_BYTES if byte_fallback else 0
    least = _count_pieces(texts, "char", symbols) + of_bytes
    most = _count_pieces(texts, model_type, symbols) + of_bytes
    if least <= nbpe <= most:
        return None
    extra = META_PIECES + len(symbols)
    return (
        f"--nbpe {nbpe} is too {'small' if nbpe < least else 'large'} for this text: set it to {least} or "
        f"more, up to {most}. {least} is its {least - of_bytes - extra} distinct characters (with the word "
        f"mark), {extra} symbols{f' and {of_bytes} bytes' if byte_fallback else ''}; {most} is all that "
        f"{model_type} finds in it"
    )


def _make_pieces(
    texts: list[str], out: Path, model_type: str, nbpe: int, symbols: Sequence[str], byte_fallback: bool
) -> list[str]:
    """Train sentencepiece and write ``bpe.model`` and ``bpe.vocab``."""
    try:
        if nbpe < 1:
            raise RuntimeError("a vocabulary needs a positive size")
        model = _train_pieces(
            texts, model_type, nbpe, user_defined_symbols=list(symbols), byte_fallback=byte_fallback
        )
    except RuntimeError as error:
        raise UserError(
            _explain_size(texts, model_type, nbpe, symbols, byte_fallback)
            or f"sentencepiece cannot make {nbpe} pieces from this text: {error}"
        ) from None
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    write_atomically(out / "bpe.model", lambda temporary: temporary.write_bytes(model))
    scores = [f"{piece}\t{processor.get_score(index):g}" for index, piece in enumerate(pieces)]
    write_text(out / "bpe.vocab", scores)
    return pieces[META_PIECES:]


def make_token_list(
    text: Path,
    out: Path,
    token_type: str,
    nbpe: int,
    symbols: Sequence[str] = (),
    byte_fallback: bool = False,
) -> list[str]:
    """Make the tokens for the transcripts ``text`` (``id words`` lines) and write them to ``out/tokens.txt``.

    ``token_type`` is ``char``, ``bpe`` or ``unigram``; the latter two, both of which ESPnet calls ``bpe``,
    also write ``bpe.model`` and ``bpe.vocab``. For them, ``nbpe`` is the length of the list; ``<blank>``,
    ``<unk>`` and ``<sos/eos>`` replace sentencepiece's three meta pieces. ``symbols`` (from `read_symbols`)
    are one token each, and are written to ``out/nlsyms.txt``. With ``byte_fallback``, 256 of the tokens are
    bytes, and a character that the text lacks is written as the bytes of its UTF-8 form instead of ``<unk>``.

    Raises UserError for faults of the text, characters that cannot be tokens, ``byte_fallback`` with
    ``char``, and a size that the text does not allow (the message names the sizes that it allows).
    """
    if token_type not in TOKEN_TYPES:
        raise UserError(f"--token_type {token_type} is unknown: use one of {', '.join(TOKEN_TYPES)}")
    if byte_fallback and token_type == "char":
        raise UserError("--byte_fallback is for --token_type bpe or unigram; characters have no bytes")
    texts = _read_texts(text, token_type)
    if token_type == "char":
        tokens = _make_characters(texts, out, symbols)
    else:
        tokens = _make_pieces(texts, out, token_type, nbpe, symbols, byte_fallback)
    tokens = [BLANK, UNKNOWN, *tokens, START_END]
    broken = [f"piece {token!r} holds white space" for token in tokens if token != token.strip()]
    broken += [f"piece {token!r} occurs twice" for token, count in Counter(tokens).items() if count > 1]
    raise_collected([f"{text}: {fault}, which ESPnet refuses: change the text" for fault in broken], text)
    (out / SYMBOLS).unlink(missing_ok=True)
    if symbols:
        write_text(out / SYMBOLS, symbols)
    write_text(out / "tokens.txt", tokens)
    return tokens


class Tokenizer:
    """Convert text to tokens and ids exactly as ESPnet's training does, without importing ESPnet.

    Args:
        directory: folder written by `make_token_list`.
        token_type: ``char``, ``bpe`` or ``unigram``; None: sentencepiece if there is a ``bpe.model``.

    Raises UserError if the files for the type are missing.
    """

    def __init__(self, directory: Path, token_type: str | None = None):
        model = directory / "bpe.model"
        self._ids = {token: index for index, token in enumerate(_read_tokens(directory / "tokens.txt"))}
        if token_type is not None and token_type not in TOKEN_TYPES:
            raise UserError(f"--token_type {token_type} is unknown: use one of {', '.join(TOKEN_TYPES)}")
        if token_type == "char" or (token_type is None and not model.exists()):
            symbols = read_symbols(directory / SYMBOLS) if (directory / SYMBOLS).exists() else ()
            self.tokenize: Callable[[str], list[str]] = partial(split_characters, symbols=symbols)
            return
        if not model.exists():
            raise UserError(f"{model} does not exist: make the tokens with --token_type {token_type}")
        try:
            processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        except RuntimeError:
            raise UserError(f"{model} is not a sentencepiece model: make the tokens again") from None
        self.tokenize = processor.encode_as_pieces

    def ids(self, text: str) -> list[int]:
        """Token ids of ``text``; tokens that are not in the list become ``<unk>``."""
        unknown = self._ids[UNKNOWN]
        return [self._ids.get(token, unknown) for token in self.tokenize(text)]


def _read_tokens(path: Path) -> Iterable[str]:
    try:
        tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): make the tokens first") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 at byte {error.start}: make the tokens again") from None
    if UNKNOWN not in tokens:
        raise UserError(f"{path} has no {UNKNOWN}: it is not an ESPnet token list, make the tokens again")
    return tokens
