"""The spelling of transcripts, as set by ``--text_config``, and scripts with rules of their own.

A configuration may have any of these keys. Without them, only the changes that are always made are made.
The default of ``language`` is --lang.

  case         keep (default), lower or upper
  language     tr or az: i and its capital İ, ı and its capital I, when the case changes
  punctuation  keep (default) or remove: what Unicode calls punctuation or a symbol becomes a space, with the
               marks, joiners and selectors that belong to it (emoji, keycaps)
  keep         signs that nevertheless stay inside words (default: the apostrophe, also written ’)
  digits       keep (default), ascii: digits of any script become 0 to 9, or remove
  strip        a list of marks to remove: harakat, tatweel, niqqud

Always: Unicode NFC, single spaces, none at the ends, no control characters, and no invisible characters that
only affect layout: those that Unicode calls default ignorable. Joiners of letters, which Persian and the
scripts of India need, stay. So do combining marks (vowel signs, tones); only ``strip`` removes those that it
names. Words of marks and joiners alone are removed.
"""

import argparse
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import regex

from espnet_wsm.data.text.characters import (
    UNSPACED,
    compose,
    is_sign,
    remove_characters,
    remove_lone_marks,
    remove_signs,
)
from espnet_wsm.data.text.tokens import read_symbols
from espnet_wsm.errors import UserError
from espnet_wsm.files import read_yaml

EMPTIED = (
    ": the text configuration leaves nothing of its transcript: remove the utterance, as fix_data_dir "
    "--text_config does"
)
CASES = ("keep", "lower", "upper")
PUNCTUATION = ("keep", "remove")
DIGITS = ("keep", "ascii", "remove")
APOSTROPHE, TYPOGRAPHIC = "'", "\N{RIGHT SINGLE QUOTATION MARK}"
# Marks that a language can be written without, by their usual names.
MARKS = {
    "harakat": [*range(0x064B, 0x0653), 0x0670],
    "tatweel": [0x0640],
    "niqqud": [*range(0x05B0, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C7],
}
# For languages with both i and ı; applied before Python's own case rules, which do not distinguish them.
DOTTED = {
    "lower": {ord("I"): "ı", ord("İ"): "i"},
    "upper": {ord("i"): "İ", ord("ı"): "I"},
}
DOTTED_LANGUAGES = ("tr", "tur", "az", "aze", "azj")
_UNSPACED = {name: regex.compile(rf"\p{{Script={name}}}") for name in UNSPACED}
_GRAPHEME = regex.compile(r"\X")


@dataclass(frozen=True)
class TextRules:
    """How transcripts are spelt; the keys are those of the configuration above.

    Args:
        symbols: symbols that are never changed, e.g. ``[eng]``; not in the configuration.

    Raises:
        UserError: a value is invalid.
    """

    case: str = "keep"
    language: str = ""
    punctuation: str = "keep"
    keep: str = APOSTROPHE
    digits: str = "keep"
    strip: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, choices in (("case", CASES), ("punctuation", PUNCTUATION), ("digits", DIGITS)):
            if getattr(self, name) not in choices:
                raise UserError(f"{name}: {getattr(self, name)!r} is none of {', '.join(choices)}")
        for name in ("language", "keep"):
            if not isinstance(getattr(self, name), str):
                raise UserError(f"{name}: {getattr(self, name)!r} is no text: put it into quotes")
        if unknown := [name for name in self.strip if name not in MARKS]:
            raise UserError(f"strip: {unknown[0]!r} is none of {', '.join(MARKS)}")
        if odd := [sign for sign in self.keep if not is_sign(sign)]:
            raise UserError(f"keep: {odd[0]!r} is no sign that punctuation: remove would take away")

    def apply(self, text: str) -> str:
        """``text`` in this spelling; empty if only symbols are left of it."""
        text = compose(text)
        parts = [text]
        if self.symbols:
            parts = re.split(f"({'|'.join(map(re.escape, self.symbols))})", text)
        parts[::2] = (self._spell(part) for part in parts[::2])
        if not any(part.strip() for part in parts[::2]):
            return ""
        return " ".join("".join(parts).split())

    def _spell(self, text: str) -> str:
        """Spell text without symbols; multiple spaces are not joined yet."""
        for name in self.strip:
            text = text.translate(dict.fromkeys(MARKS[name]))
        if self.case != "keep":
            if re.split("[-_]", self.language.lower())[0] in DOTTED_LANGUAGES:
                text = text.translate(DOTTED[self.case])
            text = text.lower() if self.case == "lower" else text.upper()
        if self.digits == "ascii":
            text = "".join(str(unicodedata.decimal(char, char)) for char in text)
        elif self.digits == "remove":
            text = remove_characters(text, lambda char: unicodedata.category(char)[0] == "N")
        if self.punctuation == "remove":
            if APOSTROPHE in self.keep:
                text = text.replace(TYPOGRAPHIC, APOSTROPHE)
            text = remove_signs(text, self.keep)
        return unicodedata.normalize("NFC", remove_lone_marks(text))


def add_text_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of :func:`read_text_arguments`."""
    parser.add_argument(
        "--text_config",
        type=Path,
        help="YAML file that says how transcripts are spelt (default: Unicode NFC and single blanks)",
    )
    parser.add_argument("--lang", default="", help="language of the text, if --text_config names none")
    parser.add_argument(
        "--non_linguistic_symbols", type=Path, metavar="FILE", help="symbols not to change, one per line"
    )


def read_text_arguments(args: argparse.Namespace) -> TextRules:
    """The rules that the arguments of a command ask for.

    Raises:
        UserError: as in :func:`read_text_rules` and `espnet_wsm.data.text.tokens.read_symbols`.
    """
    rules = read_text_rules(args.text_config)
    symbols = read_symbols(args.non_linguistic_symbols) if args.non_linguistic_symbols else ()
    return replace(rules, language=rules.language or args.lang, symbols=tuple(symbols))


def read_text_rules(path: Path | None) -> TextRules:
    """The rules of a configuration; without one, the rules that always apply.

    Raises:
        UserError: the file cannot be read, or a key or value is invalid.
    """
    content: Any = {} if path is None else read_yaml(path) or {}
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds no mapping: write e.g. `case: lower`")
    known = [each.name for each in fields(TextRules) if each.name != "symbols"]
    if unknown := content.keys() - set(known):
        raise UserError(f"{path}: unknown key {min(map(str, unknown))}; there are {', '.join(known)}")
    marks = content.get("strip") or ()
    if isinstance(marks, str) or not isinstance(marks, Iterable):
        raise UserError(f"{path}: strip: {marks!r} is no list: write e.g. [harakat]")
    try:
        return TextRules(**{**content, "strip": tuple(marks)})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def split_graphemes(text: str) -> list[str]:
    """The characters that a reader sees: Unicode's extended grapheme clusters."""
    return _GRAPHEME.findall(text)


def find_unspaced_script(texts: Iterable[str]) -> str | None:
    """The script without spaces between words of most letters in ``texts``, None if there is none.

    Several such scripts in one text, e.g. in Japanese, are joined by ``and``.
    """
    found: Counter[str] = Counter()
    letters = 0
    for text in texts:
        letters += sum(char.isalpha() for char in text)
        for name, script in _UNSPACED.items():
            found[name] += sum(char.isalpha() for char in script.findall(text))
    if 2 * found.total() <= letters or not letters:
        return None
    return " and ".join(sorted(name for name, number in found.items() if number))
