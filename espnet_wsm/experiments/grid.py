"""A grid of training runs, from a YAML file: arms, corpora, amounts of training data, seeds."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from espnet_wsm.arms import ARMS, WITH_WIDTH, WITH_WINDOW
from espnet_wsm.errors import UserError
from espnet_wsm.files import read_yaml

# More frames than any utterance has: a window over the whole utterance, written as inf.
INFINITE = 10**6
AXES = ("corpora", "arms", "num_replaced", "minutes", "seeds", "window", "width", "lr")
# Options of run.sh that the runner sets itself, and those that move files that it has to find.
OF_THE_RUNNER = {
    "upstream",
    "train_config",
    "lang",
    "stage",
    "stop_stage",
    "train_set",
    "valid_set",
    "test_sets",
    "tag",
}
OF_THE_RUNNER |= {"mixer", "num_replaced", "window", "train_minutes", "trainable"}
OF_THE_RUNNER |= {"data_dir", "dump_dir", "exp_dir", "search", "lm", "inference_model"}
# Options of the trainer that the runner sets, or reads from the training configuration.
OF_THE_RUNNER_IN_ASR_ARGS = re.compile(
    r"--(seed|encoder_conf|output_dir|config|resume|token_list)\b|\blr\b(?=\W*[=:])"
)
# Options of run.sh that do not affect results: where things are, and how much is done at a time.
IMMATERIAL = ("downloads", "nj", "cmd", "num_threads")
FILE_KEYS = ("upstream", "train_config", "recipe_options", "sweep", "extend_sweep", "rates", "grids")
FILE_KEYS += ("upstream_digest", "title", "suffix_dtype")
DTYPES = ("auto", "float32", "bfloat16")  # of a grid's suffix_dtype
# Rates that a sweep may reach while it looks for one that is better than its neighbours.
LEAST_RATE, GREATEST_RATE = 1e-6, 0.5


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


@dataclass(frozen=True)
class Grid:
    """The content of a configuration of experiments.

    Args:
        upstream: path of the upstream, relative to a recipe's folder.
        train_config: ESPnet training configuration, relative to a recipe's folder.
        recipe_options: further options of every run.sh.
        sweep: the runs that choose the learning rate of each arm, on the development set.
        blocks: the runs that are reported, in the order in which they are made; each run once.
        upstream_digest: the digest that the upstream's ``upstream.json`` must have; None for any.
        extend_sweep: whether arms that choose the lowest or highest of their rates try half or twice of it.
        rates: learning rates of arms that another grid has chosen.
        rates_from: the file in which these were found.
        title: what the report is about, in words.
        suffix_dtype: precision of the products in the layers that train; None: what train_config says.
            ``auto`` depends on the processor, and runs of another precision are other runs: a grid that is to
            go on on another machine names one.
    """

    upstream: str
    train_config: str
    recipe_options: dict[str, str]
    sweep: tuple[Run, ...]
    blocks: tuple[tuple[Run, ...], ...]
    upstream_digest: str | None = None
    extend_sweep: bool = False
    rates: Mapping[str, float] = field(default_factory=dict)
    rates_from: str | None = None
    title: str | None = None
    suffix_dtype: str | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        """Those of all blocks."""
        return tuple(run for block in self.blocks for run in block)


def read_grid(path: Path, arms: Sequence[str] = (), corpora: Sequence[str] = ()) -> Grid:
    """Read and expand a configuration; equal runs in several blocks are merged.

    Args:
        path: the configuration.
        arms: in place of those in it, which must then have one block and no sweep.
        corpora: likewise.

    Raises:
        UserError: something is invalid; names the file, the block, the key and the known keys.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no mapping: it needs {', '.join(FILE_KEYS)}")
    if unknown := content.keys() - set(FILE_KEYS):
        raise UserError(f"{path}: unknown key {min(map(str, unknown))}; there are {', '.join(FILE_KEYS)}")
    if missing := {"upstream", "train_config", "grids"} - content.keys():
        raise UserError(f"{path} lacks {min(missing)}")
    for key in ("upstream", "train_config"):
        if not isinstance(content[key], str):
            raise UserError(f"{path}: {key} {content[key]!r} has to be a path relative to a recipe's folder")
    if not isinstance(content["grids"], list) or not content["grids"]:
        raise UserError(f"{path}: grids has to be a list of blocks, each with corpora and arms")
    options = content.get("recipe_options") or {}
    if not isinstance(options, dict):
        raise UserError(f"{path}: recipe_options has to be a mapping of options of run.sh")
    if odd := [key for key, value in options.items() if not isinstance(value, str | int | float)]:
        raise UserError(f"{path}: recipe_options: {odd[0]} needs one value, as on the command line")
    check_options(options, f"{path}: recipe_options")
    sweep = content.get("sweep") or []
    sweep = sweep if isinstance(sweep, list) else [sweep]
    digest = content.get("upstream_digest")
    if digest is not None and not isinstance(digest, str):
        raise UserError(f"{path}: upstream_digest {digest!r} has to be a text: put quotes around it")
    extend = content.get("extend_sweep", False)
    if not isinstance(extend, bool):
        raise UserError(f"{path}: extend_sweep {extend!r} has to be true or false")
    title = content.get("title")
    if title is not None and (not isinstance(title, str) or "\n" in title.strip()):
        raise UserError(f"{path}: title {title!r} has to be a text of one line")
    dtype = content.get("suffix_dtype")
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"{path}: suffix_dtype {dtype!r} has to be {', '.join(DTYPES)}")
    blocks = content["grids"]
    given = {"arms": list(arms), "corpora": list(corpora)}
    if given := {key: value for key, value in given.items() if value}:
        if sweep or len(blocks) > 1:
            raise UserError(
                f"{path} has a sweep or several blocks: other {' and '.join(given)} (--arms, --corpora, "
                "--lang) are for a grid with one block and no sweep"
            )
        blocks = [blocks[0] | given if isinstance(blocks[0], dict) else blocks[0]]
    grid = Grid(
        upstream=content["upstream"],
        train_config=content["train_config"],
        recipe_options={str(key): _name_option(value) for key, value in options.items()},
        sweep=tuple(run for block in _expand(sweep, f"{path}: sweep", sweep=True) for run in block),
        blocks=_expand(blocks, f"{path}: grid"),
        upstream_digest=digest,
        extend_sweep=extend,
        rates=_read_rates(path, content.get("rates")),
        rates_from=_name_rates(path, content.get("rates")),
        title=title,
        suffix_dtype=dtype,
    )
    _check_sweep(grid.sweep, path)
    if unused := {run.arm for run in grid.sweep} - {run.arm for run in grid.runs}:
        raise UserError(f"{path}: sweep chooses a rate for {min(unused)}, which no block of grids has")
    if all(run.window is not None or run.width is not None for run in grid.runs):
        raise UserError(
            f"{path}: every run has a window or width of its own; add a block without them, which the others "
            "are compared with"
        )
    titles: dict[str, Run] = {}
    for run in grid.runs:
        if titles.setdefault(run.title, run) != run:
            raise UserError(
                f"{path}: {run.title} is asked for with lr {titles[run.title].lr} and {run.lr}: give one, or "
                "sweep to choose among them"
            )
    return grid


def _read_rates(path: Path, file: object) -> dict[str, float]:
    """The learning rates in a file that is named relative to the configuration's folder."""
    if file is None:
        return {}
    place = path.parent / str(file)
    try:
        rates = json.loads(place.read_text(encoding="utf-8"))
        known = isinstance(rates, dict) and rates.keys() <= ARMS.keys()
        if not known or not all(_is_rate(rate) for rate in rates.values()):
            raise ValueError("it holds no learning rates of arms")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: rates {file!r} cannot be read as what a sweep has chosen (chosen_lr.json): {error}"
        ) from error
    return rates


def _name_rates(path: Path, file: object) -> str | None:
    """That file as a report names it, wherever the checkout lies."""
    return None if file is None else "/".join((path.parent / str(file)).resolve().parts[-3:])


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < 1


def _expand(
    blocks: Sequence[Mapping[str, Any]], place: str, sweep: bool = False
) -> tuple[tuple[Run, ...], ...]:
    """The runs of each block that no earlier one has."""
    known: set[Run] = set()
    expanded = []
    for number, block in enumerate(blocks, 1):
        runs = [run for run in expand_block(block, f"{place} {number}", sweep=sweep) if run not in known]
        known.update(runs)
        expanded.append(tuple(runs))
    return tuple(expanded)


def _check_sweep(sweep: Iterable[Run], path: Path) -> None:
    """Refuse learning rates of an arm that are not tried on the same data: their means are compared."""
    tried: dict[str, dict[Run, set[float]]] = {}
    for run in sweep:
        tried.setdefault(run.arm, {}).setdefault(replace(run, lr=None), set()).add(run.lr)
    for arm, rates in tried.items():
        if len(set(map(frozenset, rates.values()))) > 1:
            raise UserError(
                f"{path}: sweep tries {arm} at some rates on one corpus, k, amount of data or seed and at "
                "others on another, which says nothing of the rates: try each rate of an arm on all of them"
            )


def check_options(options: Mapping[str, object], place: str) -> None:
    """Refuse options of run.sh that would be overridden, or would hide a run from the runner.

    Raises:
        UserError: names the option, and where it belongs.
    """
    given = sorted(OF_THE_RUNNER & options.keys())
    if found := OF_THE_RUNNER_IN_ASR_ARGS.search(str(options.get("asr_args", ""))):
        given.append(f"{found[0]} in asr_args")
    if given:
        raise UserError(
            f"{place}: {given[0]} is what the grid itself sets; give it by a key of the grid "
            f"({', '.join((*FILE_KEYS[:2], *AXES))}), or in the training configuration"
        )


def add_options(grid: Grid, given: Mapping[str, str], place: str) -> None:
    """Add options of run.sh, which replace those of the grid; ``asr_args`` is appended to the grid's.

    Raises:
        UserError: see :func:`check_options`.
    """
    check_options(given, place)
    joined = " ".join(filter(None, (grid.recipe_options.get("asr_args"), given.get("asr_args"))))
    grid.recipe_options.update(given)
    if joined:
        grid.recipe_options["asr_args"] = joined


def _name_option(value: object) -> str:
    """A YAML value as run.sh takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


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
        if lr is not None and not _is_rate(lr):
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


def choose_rates(sweep: Iterable[tuple[Run, float]]) -> dict[str, float]:
    """The learning rate of each arm with the lowest error on the development set, from runs of the sweep.

    If an arm was tried several times at one rate (with other seeds or corpora), the mean counts; among equal
    means, the smaller rate is chosen.
    """
    tried: dict[str, dict[float, list[float]]] = {}
    for run, error in sweep:
        tried.setdefault(run.arm, {}).setdefault(run.lr, []).append(error)
    return {
        arm: min(rates, key=lambda rate: (sum(rates[rate]) / len(rates[rate]), rate))
        for arm, rates in tried.items()
    }


def extend_sweep(sweep: Sequence[tuple[Run, float]]) -> list[Run]:
    """The runs of a sweep to try next: half the lowest rate of arms that chose it, or twice the highest.

    Empty if every arm has a rate that is better than both of its neighbours, or has reached the ends of what
    is tried at all.
    """
    runs = [run for run, _ in sweep]
    more = []
    for arm, chosen in choose_rates(sweep).items():
        rates = {run.lr for run in runs if run.arm == arm}
        edges = {min(rates): 0.5, max(rates): 2.0} if len(rates) > 1 else {}
        factors = [edges[chosen]] if chosen in edges else [] if edges else [0.5, 2.0]
        for rate in (chosen * factor for factor in factors):
            if LEAST_RATE <= rate <= GREATEST_RATE:
                more += [replace(run, lr=rate) for run in runs if run.arm == arm and run.lr == chosen]
    return more


def with_chosen_rates(runs: Iterable[Run], chosen: Mapping[str, float]) -> list[Run]:
    """The runs with the chosen learning rate of their arm, unless they have their own."""
    return [run if run.lr is not None else replace(run, lr=chosen.get(run.arm)) for run in runs]
