"""The token list as other runtimes read it: ``SYMBOL ID`` a line, a space written as U+2581."""

from collections.abc import Sequence

from espnet_wsm.data.text.tokens import BLANK, SPACE, START_END, UNKNOWN
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.words import META

# What ESPnet writes, and what sherpa-onnx expects in its place. That of <unk>, which never comes out, has
# bytes above 0xC6: sherpa-onnx takes a list without any for byte-level BPE.
RENAMED = {BLANK: "<blk>", UNKNOWN: "\u2047", SPACE: META}


def find_silent(tokens: Sequence[str]) -> list[int]:
    """Ids of the tokens that stand for no text and would be printed."""
    return [index for index, token in enumerate(tokens) if token in (UNKNOWN, START_END)]


def rename_tokens(tokens: Sequence[str]) -> list[str]:
    """The tokens of ESPnet under the names that sherpa-onnx knows.

    Raises:
        UserError: two tokens would have the same name; or the blank is not the first, where it is looked for.
    """
    renamed = [RENAMED.get(token, token) for token in tokens]
    if tokens[0] != BLANK:
        raise UserError(
            f"the first token is {tokens[0]!r}, not {BLANK}: other runtimes take it for the blank"
        )
    doubled = sorted({token for token in renamed if renamed.count(token) > 1})
    if doubled:
        raise UserError(
            f"{' and '.join(map(repr, doubled))} would stand twice in tokens.txt: sherpa-onnx writes a space "
            f"as {META!r}, so a model whose texts have that character can only go to --target plain"
        )
    return renamed


def format_tokens(tokens: Sequence[str]) -> list[str]:
    """The lines of ``tokens.txt``."""
    return [f"{token} {index}" for index, token in enumerate(tokens)]
