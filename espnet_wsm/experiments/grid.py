"""A grid of training runs, from a YAML file: arms, corpora, amounts of training data, seeds."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from espnet_wsm.arms import ARMS, TRANSFER_FRAMES, TRANSFER_STEPS
from espnet_wsm.errors import UserError
from espnet_wsm.experiments.runs import AXES, Run, expand_block, is_rate
from espnet_wsm.files import read_yaml

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
OF_THE_RUNNER |= {
    "transfer",
    "pseudo_rounds",
    "mixer",
    "num_replaced",
    "window",
    "train_minutes",
    "trainable",
}
OF_THE_RUNNER |= {"data_dir", "dump_dir", "exp_dir", "search", "lm", "inference_model"}
# Options of the trainer that the runner sets, or reads from the training configuration.
OF_THE_RUNNER_IN_ASR_ARGS = re.compile(
    r"--(seed|encoder_conf|output_dir|config|resume|token_list)\b|\blr\b(?=\W*[=:])"
)
# Options of run.sh that do not affect results: where things are, and how much is done at a time.
IMMATERIAL = ("downloads", "nj", "cmd", "num_threads")
DTYPES = ("auto", "float32", "bfloat16")  # those of the encoder, whose module takes seconds to import
# Keys of a grid: whether a value can be right, and what is said of one that cannot.
PATH = lambda value: isinstance(value, str), "{!r} has to be a path relative to a recipe's folder"
ANY = lambda value: True, ""
FILE_KEYS = {
    "upstream": PATH,
    "train_config": PATH,
    "recipe_options": (lambda value: isinstance(value, dict), "has to be a mapping of options of run.sh"),
    "sweep": ANY,
    "extend_sweep": (lambda value: isinstance(value, bool), "{!r} has to be true or false"),
    "rates": ANY,
    "grids": (
        lambda value: isinstance(value, list) and value,
        "has to be a list of blocks, each with corpora and arms",
    ),
    "upstream_digest": (
        lambda value: isinstance(value, str),
        "{!r} has to be a text: put quotes around it",
    ),
    "title": (
        lambda value: isinstance(value, str) and "\n" not in value.strip(),
        "{!r} has to be a text of one line",
    ),
    "transfer": (
        lambda value: type(value) is int and value > 0,
        "{!r} has to be a number of steps, 1 or more",
    ),
    "transfer_frames": (
        lambda value: type(value) is int and value > 0,
        "{!r} has to be a number of frames in a step, 1 or more",
    ),
    "flat_start": (
        lambda value: type(value) is int and value >= 0,
        "{!r} has to be a number of steps, 0 for none",
    ),
    "suffix_dtype": (lambda value: value in DTYPES, f"{{!r}} has to be {', '.join(DTYPES)}"),
}
NEEDED = ("grids", "train_config", "upstream")


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
        transfer: steps of the arms that first learn, without labels, what attention gives.
        transfer_frames: frames in such a step.
        flat_start: steps of CTC's flat start, 0 for none; None: what train_config says.
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
    transfer: int = TRANSFER_STEPS
    transfer_frames: int = TRANSFER_FRAMES
    flat_start: int | None = None

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
    if missing := set(NEEDED) - content.keys():
        raise UserError(f"{path} lacks {min(missing)}")
    for key, value in content.items():
        can_be, said = FILE_KEYS[key]
        if not can_be(value) and (value is not None or key in NEEDED):
            raise UserError(f"{path}: {key} {said.format(value)}")
    options = content.get("recipe_options") or {}
    if odd := [key for key, value in options.items() if not isinstance(value, str | int | float)]:
        raise UserError(f"{path}: recipe_options: {odd[0]} needs one value, as on the command line")
    check_options(options, f"{path}: recipe_options")
    sweep = content.get("sweep") or []
    sweep = sweep if isinstance(sweep, list) else [sweep]
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
        extend_sweep=content.get("extend_sweep") or False,
        rates=_read_rates(path, content.get("rates")),
        rates_from=_name_rates(path, content.get("rates")),
        transfer=content.get("transfer") or TRANSFER_STEPS,
        transfer_frames=content.get("transfer_frames") or TRANSFER_FRAMES,
        **{key: content.get(key) for key in ("upstream_digest", "title", "suffix_dtype", "flat_start")},
    )
    _check_sweep(grid.sweep, path)
    if unused := {run.arm for run in grid.sweep} - {run.arm for run in grid.runs}:
        raise UserError(f"{path}: sweep chooses a rate for {min(unused)}, which no block of grids has")
    if all(run.window is not None or run.width is not None for run in grid.runs):
        raise UserError(
            f"{path}: every run has a window or width of its own; add a block without them, which the others "
            "are compared with"
        )
    whole = [run for run in grid.runs if ARMS[run.arm].pseudo_of and run.minutes is None]
    if whole and "unlabelled" not in options:
        raise UserError(
            f"{path}: {whole[0].title} has nothing to transcribe: give it minutes, which leave the rest of "
            "the training set, or recipe_options unlabelled, a directory"
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
    """The learning rates in files that are named relative to the configuration's folder; the last counts."""
    if file is None:
        return {}
    if isinstance(file, list):
        return {arm: rate for each in file for arm, rate in _read_rates(path, each).items()}
    place = path.parent / str(file)
    try:
        rates = json.loads(place.read_text(encoding="utf-8"))
        known = isinstance(rates, dict) and rates.keys() <= ARMS.keys()
        if not known or not all(is_rate(rate) for rate in rates.values()):
            raise ValueError("it holds no learning rates of arms")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: rates {file!r} cannot be read as what a sweep has chosen (chosen_lr.json): {error}"
        ) from error
    return rates


def _name_rates(path: Path, file: object) -> str | None:
    """That file as a report names it, wherever the checkout lies."""
    if file is None:
        return None
    files = file if isinstance(file, list) else [file]
    return " and ".join("/".join((path.parent / str(each)).resolve().parts[-3:]) for each in files)


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
            f"({', '.join(('upstream', 'train_config', *AXES))}), or in the training configuration"
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
