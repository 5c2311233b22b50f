"""Training runs: what tells them apart, how they are called, and how a block of a grid lists them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from espnet_wsm.arms import ARMS, WITH_WIDTH, WITH_WINDOW
from espnet_wsm.errors import UserError

# More frames than any utterance has: a window over the whole utterance, written as inf.
INFINITE = 10**6
AXES = ("corpora", "arms", "num_replaced", "minutes", "seeds", "window", "width", "lr")


@dataclass(frozen=True)
class Run:
    """One training run: what is trained, on which data, and how.

    Args:
        corpus: ``RECIPE_LANG``, or ``RECIPE`` if the recipe has one language.
        arm: a key of ``espnet_wsm.arms.ARMS``.
        num_replaced: k, layers from the top; 0 for ``frozen``.
        minutes: minutes of training data; None for all.
        seed: seed of the trainer.
        window: half width in frames, INFINITE for all of them, or None as configured.
        width: channels inside the block, or None as configured.
        lr: learning rate; None until the sweep has chosen it, or as configured.
        sweep: whether the run serves to choose ``lr``; it is then decoded only on the development set.
    """

    corpus: str
    arm: str
    num_replaced: int
    minutes: int | None
    seed: int
    window: int | None = None
    width: int | None = None
    lr: float | None = None
    sweep: bool = False

    @property
    def name(self) -> str:
        """E.g. ``wsm-k2-all-s0``, followed by what is not as configured."""
        parts = [self.arm, f"k{self.num_replaced}", f"{self.minutes}min" if self.minutes else "all"]
        parts += [f"w{name_window(self.window)}"] if self.window is not None else []
        parts += [f"width{self.width}"] if self.width is not None else []
        parts += [f"lr{self.lr:g}"] if self.sweep else []
        return "-".join([*parts, f"s{self.seed}"])

    @property
    def title(self) -> str:
        """The name with the corpus before it, for messages and paths."""
        return f"{self.corpus}/{self.name}"


def name_window(window: int) -> str:
    """A window as it is written in configurations and tables."""
    return "inf" if window == INFINITE else str(window)


def rank_arm(arm: str) -> int:
    """Sort key of an arm: its place in ARMS."""
    return list(ARMS).index(arm)


def rank_amount(minutes: int | None) -> float:
    """Sort key of an amount of training data: all first, then from large to small."""
    return -float("inf") if minutes is None else -minutes


def is_rate(value: object) -> bool:
    """Whether a value can be a learning rate."""
    return isinstance(value, int | float) and 0 < value < 1


def expand_block(block: Mapping[str, Any], place: str, sweep: bool = False) -> Iterable[Run]:
    """All runs of a block: every combination of its lists that makes a difference.

    Raises:
        UserError: an unknown key or arm, a missing list, or a value of the wrong kind.
    """
    if not isinstance(block, Mapping):
        raise UserError(f"{place} is no mapping; it needs {', '.join(AXES)}")
    if unknown := block.keys() - set(AXES):
        raise UserError(f"{place}: unknown key {min(map(str, unknown))}; there are {', '.join(AXES)}")
    lists = {"num_replaced": [2], "minutes": ["all"], "seeds": [0], "window": [None], "width": [None]}
    lists |= {"lr": [None]} | {
        key: value if isinstance(value, list) else [value] for key, value in block.items()
    }
    for needed in AXES:
        if not lists.get(needed):
            raise UserError(f"{place} names no {needed}")
    if sweep and None in lists["lr"]:
        raise UserError(f"{place} has no lr to choose from: give a list, e.g. lr: [0.0005, 0.001]")
    if odd := [arm for arm in lists["arms"] if not isinstance(arm, str) or arm not in ARMS]:
        raise UserError(f"{place}: arm {odd[0]!r} is none of {', '.join(ARMS)}")
    runs = []
    for corpus, arm, k, minutes, seed, window, width, lr in product(*(lists[axis] for axis in AXES)):
        window = INFINITE if window in ("inf", float("inf")) else window
        for key, value, least in (
            ("num_replaced", k, 0 if "num_replaced" in ARMS[arm].options else 1),  # 0 layers: that is frozen
            ("seeds", seed, 0),
            ("minutes", 1 if minutes == "all" else minutes, 1),
            ("window", 0 if window is None else window, 0),
            ("width", 1 if width is None else width, 1),
        ):
            if type(value) is not int or value < least:
                raise UserError(f"{place}: {key} {value!r} has to be a whole number of {least} or more")
        if sweep and ARMS[arm].rate_of:
            raise UserError(f"{place}: {arm} has the learning rate of {ARMS[arm].rate_of}: sweep that one")
        if lr is not None and not is_rate(lr):
            raise UserError(f"{place}: lr {lr!r} has to be a number between 0 and 1, e.g. 0.001")
        run = Run(
            corpus=str(corpus),
            arm=arm,
            num_replaced=ARMS[arm].options.get("num_replaced", k),
            minutes=None if minutes == "all" else minutes,
            seed=seed,
            window=window if arm in WITH_WINDOW else None,
            width=width if arm in WITH_WIDTH else None,
            lr=lr,
            sweep=sweep,
        )
        runs.append(run)
    return dict.fromkeys(runs)
