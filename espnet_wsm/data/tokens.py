"""Token lists: characters or sentencepiece units, in the files and the order that ESPnet expects."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import sentencepiece

from espnet_wsm.data.lists import find_id_fault, raise_collected, read_list
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically, write_text

BLANK, UNKNOWN, SPACE, START_END = "<blank>", "<unk>", "<space>", "<sos/eos>"
# <unk>, <s> and </s> come first in every sentencepiece vocabulary; ESPnet's own symbols take their place.
META_PIECES = 3
SYMBOLS = "nlsyms.txt"  # beside tokens.txt, where there are any


def read_symbols(path: Path) -> list[str]:
    """ESPnet's non-linguistic symbols, such as ``[eng]``, a line each; the longest first, as they are tried.

    Raises:
        UserError: the file cannot be read; a symbol holds white space.
    """
    try:
        symbols = {line.rstrip() for line in path.read_text(encoding="utf-8").split("\n")} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): write a symbol a line in UTF-8") from None
    raise_collected(
        [f"{path}: symbol {each!r} {fault}" for each in sorted(symbols) if (fault := find_id_fault(each))],
        path,
    )
    return sorted(sorted(symbols), key=len, reverse=True)


def split_characters(text: str, symbols: Sequence[str] = ()) -> list[str]:
    """ESPnet's ``char`` tokens of ``text``: code points, the blank written as ``<space>``.

    A symbol is one token; those that begin others come after them.
    """
    parts = re.findall("|".join([*map(re.escape, symbols), "."]), text, re.DOTALL) if symbols else text
    return [SPACE if part == " " else part for part in parts]


def _find_reserved(text: str, token_type: str) -> str | None:
    """What in ``text`` cannot become a token, in words."""
    for char in text:
        if char == "\0":
            return "a NUL character"
        if token_type == "char" and char.isspace() and char != " ":
            return f"the white space U+{ord(char):04X}, which ESPnet strips from its token list"
        if token_type != "char" and char == "\u2581":
            return "U+2581, which sentencepiece keeps for the blank"
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


def _make_characters(texts: list[str], nbpe: int, out: Path, symbols: Sequence[str]) -> list[str]:
    """Characters, the most frequent first; equally frequent ones as they first occur, as in ESPnet."""
    for name in ("bpe.model", "bpe.vocab"):
        (out / name).unlink(missing_ok=True)
    counts = Counter(char for text in texts for char in split_characters(text, symbols))
    return [char for char, _ in counts.most_common()]


def _explain_size(error: RuntimeError, nbpe: int) -> UserError:
    """sentencepiece's message about a vocabulary size, as a sentence that says which sizes there are."""
    message = str(error)
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        least = int(match[1])
        return UserError(
            f"--nbpe {nbpe} is too small: the text has {least - META_PIECES} distinct characters (with the "
            f"word mark) and sentencepiece adds {META_PIECES} pieces: use {least} or more"
        )
    if match := re.search(r"too high \(\d+\)\. Please set it to a value <= (\d+)", message):
        return UserError(f"--nbpe {nbpe} is too large for this text: use {match[1]} or less")
    return UserError(f"sentencepiece cannot make {nbpe} pieces from this text: {message.strip()}")


def _make_pieces(
    texts: list[str], nbpe: int, out: Path, symbols: Sequence[str], model_type: str
) -> list[str]:
    """Train sentencepiece with its default (nmt_nfkc) normalisation; write ``bpe.model`` and ``bpe.vocab``.

    One thread and all sentences in their order: the same text gives the same bytes.
    """
    if nbpe < 1:
        raise UserError(f"--nbpe {nbpe}: the number of pieces must be positive")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type=model_type,
            vocab_size=nbpe,
            character_coverage=1.0,
            user_defined_symbols=list(symbols),
            shuffle_input_sentence=False,
            num_threads=1,
            # Longer sentences (in bytes) would be left out silently.
            max_sentence_length=1 + max(len(text.encode()) for text in texts),
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explain_size(error, nbpe) from None
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    write_atomically(out / "bpe.model", lambda temporary: temporary.write_bytes(model.getvalue()))
    scores = [f"{piece}\t{processor.get_score(index):g}" for index, piece in enumerate(pieces)]
    write_text(out / "bpe.vocab", scores)
    return pieces[META_PIECES:]


# type -> (texts, nbpe, out, symbols) -> tokens between <unk> and <sos/eos>
TOKEN_TYPES: dict[str, Callable[[list[str], int, Path, Sequence[str]], list[str]]] = {
    "char": _make_characters,
    "bpe": partial(_make_pieces, model_type="bpe"),
    "unigram": partial(_make_pieces, model_type="unigram"),
}


def make_token_list(
    text: Path, out: Path, token_type: str, nbpe: int, symbols: Sequence[str] = ()
) -> list[str]:
    """Make the tokens of the transcripts ``text`` (``id words`` lines) and write them to ``out/tokens.txt``.

    ``token_type`` is ``char``, ``bpe`` or ``unigram``; the latter two also write ``bpe.model`` and
    ``bpe.vocab``. ``nbpe`` is the length of the list for them: ``<blank>``, ``<unk>`` and ``<sos/eos>``
    stand where sentencepiece has its three meta pieces. ESPnet calls both of them ``bpe``.
    ``symbols`` (of `read_symbols`) are one token each, and are written to ``out/nlsyms.txt``.

    Raises UserError for faults of the text, characters that cannot be tokens, and a size that the text does
    not allow, with the one that it does.
    """
    if token_type not in TOKEN_TYPES:
        raise UserError(f"--token_type {token_type} is unknown: use one of {', '.join(TOKEN_TYPES)}")
    tokens = TOKEN_TYPES[token_type](_read_texts(text, token_type), nbpe, out, symbols)
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
    """Text to tokens and ids exactly as ESPnet's training does it, without importing ESPnet.

    Args:
        directory: what `make_token_list` wrote.
        token_type: ``char``, ``bpe`` or ``unigram``; None: sentencepiece where there is a ``bpe.model``.

    Raises UserError when the files for the type are missing.
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
        """Token ids of ``text``; what is not in the list becomes ``<unk>``."""
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
        raise UserError(f"{path} has no {UNKNOWN}: it is no token list of ESPnet, make the tokens again")
    return tokens
