"""Notes in brackets: what transcribers write that nobody said, as ``[laughs]`` or ``(unclear)``."""

import re

PAIRS = {"[": "]", "(": ")", "{": "}", "<": ">", "【": "】", "（": "）", "［": "］"}
_INNERMOST = re.compile(
    "|".join(rf"{re.escape(a)}[^{re.escape(a + b)}]*{re.escape(b)}" for a, b in PAIRS.items())
)
_SIGNS = re.compile(f"[{re.escape(''.join([*PAIRS, *PAIRS.values()]))}]")


def has_notes(text: str) -> bool:
    """Whether there is a bracket, of a pair or alone."""
    return _SIGNS.search(text) is not None


def remove_notes(text: str) -> str | None:
    """The text without what is in brackets, one within another too; None if one has no counterpart.

    Brackets are those of ``PAIRS``. A word that goes on behind a note stays one word: ``wo(r)d`` is ``wod``.
    """
    while (shorter := _INNERMOST.sub("", text)) != text:
        text = shorter
    return None if has_notes(text) else " ".join(text.split())
