"""Text of tokens, for a line of a Kaldi list."""

import re
from collections.abc import Iterable

from espnet2.text.abs_tokenizer import AbsTokenizer

# Of the single bytes among the tokens some are line breaks and other control characters.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class LineTokenizer(AbsTokenizer):
    """A hypothesis of byte tokens can be a line break, which would tear ``text`` apart: it becomes a blank.

    Bytes that are no UTF-8 become U+FFFD one by one, as sentencepiece has it. Else this is ``tokenizer``.
    """

    def __init__(self, tokenizer: AbsTokenizer):
        self.tokenizer = tokenizer

    def text2tokens(self, line: str) -> list[str]:
        """As the tokenizer."""
        return self.tokenizer.text2tokens(line)

    def tokens2text(self, tokens: Iterable[str]) -> str:
        """As the tokenizer, in one line."""
        return CONTROLS.sub(" ", self.tokenizer.tokens2text(tokens))
