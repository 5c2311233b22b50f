"""The words that a speaker says, in one spelling, and reasons not to trust a text."""

import re
import unicodedata

from espnet_wsm.data.text.characters import compose, is_word_part, remove_lone_marks, remove_signs

NOTE = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>")
APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ`´", "'"))
# "Press * to ...": the voice says a word for each of these, but the text does not say which.
SPOKEN_SYMBOLS = "*#@$&%=+/\\"


def spell_words(text: str) -> str:
    """Lower-case words with their accents and inner apostrophes, and everything that may have been spoken.

    Notes in brackets are removed, and other punctuation becomes spaces. Digits and symbols such as ``*`` are
    left for ``find_text_fault``, because the text does not say how they were read.
    """
    text = compose(NOTE.sub(" ", text)).translate(APOSTROPHES).lower()
    words = remove_lone_marks(remove_signs(text, "'", _is_unspoken))
    return unicodedata.normalize("NFC", " ".join(words.split()))


def _is_unspoken(char: str) -> bool:
    return not is_word_part(char) and char not in SPOKEN_SYMBOLS + " "


def count_letters(text: str) -> int:
    """The number of letters, without spaces and apostrophes."""
    return sum(c.isalpha() for c in text)


def find_pace_fault(words: str, seconds: float, fastest: float) -> str:
    """Why ``words`` cannot be what is said in ``seconds``, empty if they can.

    ``fastest`` is the most letters a second that somebody speaks.
    """
    return f"more than {fastest:g} letters a second" if count_letters(words) > fastest * seconds else ""


def find_text_fault(words: str, script: str) -> str | None:
    """Why ``words`` (from ``spell_words``) may not be what is said, None if there is no reason.

    ``script`` is the Unicode name of the language's script: "latin", "cyrillic".
    """
    if not count_letters(words):
        return "no words in the text (tone or noise)"
    if any(c.isnumeric() for c in words):
        return "number that can be read in several ways"
    if any(c in SPOKEN_SYMBOLS for c in words) or "www" in words.split():
        return "spoken symbol or web address"
    if any(script.upper() not in unicodedata.name(c, "") for c in words if c.isalpha()):
        return f"letters outside the {script} script"
    return None
