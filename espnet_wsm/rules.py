"""What the values of a configuration may be, as tests and in words.

Not by pydantic, which would need the same tests and sentences as validators.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from espnet_wsm.errors import UserError


class Rule(NamedTuple):
    """What a value may be: a test, and the rest of the sentence "FIELD has to be ..."."""

    fits: Callable[[Any], bool]
    expected: str


def is_number(value: object) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object, least: int) -> bool:
    """Whether a value is a whole number of at least ``least``; true and false are none."""
    return type(value) is int and value >= least


def count(what: str, least: int) -> Rule:
    """A whole number of ``what``, e.g. "a number of layers"."""
    return Rule(lambda value: is_whole(value, least), f"{what}, {least} or more")


def one_of(known: Collection[str]) -> Rule:
    """One of some names."""
    return Rule(lambda value: isinstance(value, str) and value in known, f"one of {', '.join(known)}")


def require(config: object, field: str, fits: bool, expected: str) -> None:
    """Raise UserError with the field and its value if this does not fit."""
    if not fits:
        raise UserError(f"{field} has to be {expected}, got {getattr(config, field)!r}")


def check(config: object, field: str, rule: Rule) -> None:
    """Raise UserError with the field and its value if this breaks the rule."""
    require(config, field, rule.fits(getattr(config, field)), rule.expected)
