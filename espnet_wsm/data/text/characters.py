"""Characters that are no letters: invisible ones, marks and joiners, which belong to a letter, and signs."""

import unicodedata
from collections.abc import Callable

import regex

# What shapes letters in Persian, the scripts of India (zero-width non-joiner and joiner) and Mongolian
# (variation selectors and the vowel separator). It is spelling after a letter, and nothing elsewhere.
JOINERS = "\u200c\u200d\u180b\u180c\u180d\u180e\u180f"
# Where str.split() splits.
_BLANK = regex.compile(r"[\s\x1c-\x1f]")
# What Unicode says may be ignored in display (soft hyphen, marks of writing direction, variation selectors,
# tags, fillers), and control characters.
_INVISIBLE = regex.compile(rf"[[\p{{Default_Ignorable_Code_Point}}\p{{Cc}}]--[{JOINERS}]]", regex.VERSION1)
_ENCLOSING = regex.compile(r"\p{Me}")
_UNIT = regex.compile(rf"(.)[\p{{M}}{JOINERS}]*", regex.DOTALL)
_LONE = regex.compile(rf"(?<![^ ])[\p{{M}}{JOINERS}]+(?![^ ])")
# Scripts without spaces between words, by their Unicode names.
UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Javanese")
_UNSPACED = regex.compile("|".join(rf"\p{{Script={name}}}" for name in UNSPACED))


def compose(text: str) -> str:
    """``text`` in Unicode NFC, without invisible characters except ``JOINERS``, all white space as spaces."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", _BLANK.sub(" ", text)))


def is_sign(char: str) -> bool:
    """Whether Unicode calls a character punctuation or a symbol.

    So are the visible ones of format, such as the end of a verse, and marks that enclose a character, such as
    the frame of a keycap.
    """
    category = unicodedata.category(char)
    return category[0] in "PS" or category == "Me" or (category == "Cf" and char not in JOINERS)


def is_word_part(char: str) -> bool:
    """Whether Unicode calls a character a letter, a mark or a number, or it joins or shapes letters."""
    category = unicodedata.category(char)
    return (category[0] in "LMN" and category != "Me") or char in JOINERS


def remove_characters(text: str, is_removed: Callable[[str], bool]) -> str:
    """Replace characters by spaces, with the marks and joiners after them, which would have no letter."""
    return "".join(" " if is_removed(unit[1]) else unit[0] for unit in _UNIT.finditer(text))


def remove_signs(text: str, keep: str, is_removed: Callable[[str], bool] = is_sign) -> str:
    """Replace signs by spaces, or by nothing between letters of a script without spaces.

    The marks and joiners of a sign go with it, marks that are signs leave their letter.

    Args:
        text: from :func:`compose`.
        keep: signs that stay between letters or numbers.
        is_removed: which characters are signs.
    """
    text = _ENCLOSING.sub(lambda mark: "" if is_removed(mark[0]) else mark[0], text)
    units = [(unit[1], unit[0]) for unit in _UNIT.finditer(text)]
    following = [" "] * len(units)  # the next character that is no sign
    for index in range(len(units) - 2, -1, -1):
        after = units[index + 1][0]
        following[index] = following[index + 1] if is_removed(after) else after
    kept: list[str] = []
    last = " "  # the character before, with its marks removed
    for index, (char, unit) in enumerate(units):
        around = [units[beside][0] for beside in (index - 1, index + 1) if 0 <= beside < len(units)]
        inside = len(around) == 2 and all(map(is_word_part, around))
        if not is_removed(char) or (char in keep and inside):
            kept.append(unit)
            last = char
        elif not (_UNSPACED.match(last) and _UNSPACED.match(following[index])):
            kept.append(" ")
            last = " "
    return "".join(kept)


def remove_lone_marks(text: str) -> str:
    """Remove words of marks and joiners alone: nothing is read there."""
    return _LONE.sub("", text)
