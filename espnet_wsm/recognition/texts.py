"""The text of a hypothesis as one line of a Kaldi list."""

import re
from collections.abc import Iterable

from espnet2.text.abs_tokenizer import AbsTokenizer

# Single-byte tokens include line breaks and other control characters.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class LineTokenizer(AbsTokenizer):
    """A hypothesis of byte tokens can contain a line break, which would corrupt ``text``: it becomes a space.

    Bytes that are not valid UTF-8 each become U+FFFD, as in sentencepiece. Otherwise this is ``tokenizer``.
    """

    def __init__(self, tokenizer: AbsTokenizer):
        self.tokenizer = tokenizer

    def text2tokens(self, line: str) -> list[str]:
        """As in the tokenizer."""
        return self.tokenizer.text2tokens(line)

    def tokens2text(self, tokens: Iterable[str]) -> str:
        """As in the tokenizer, but on one line."""
        return CONTROLS.sub(" ", self.tokenizer.tokens2text(tokens))
