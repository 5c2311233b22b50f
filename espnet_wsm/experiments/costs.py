"""What the arms cost above the cut: bytes kept for the backward pass, time of a step, sizes."""

import hashlib
import json
import os
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tqdm import tqdm

from espnet_wsm.arms import ARMS, HALF_WIDTH
from espnet_wsm.errors import UserError
from espnet_wsm.experiments.corpora import find_corpus
from espnet_wsm.experiments.grid import Grid
from espnet_wsm.experiments.records import read_mapping
from espnet_wsm.files import read_yaml, write_text
from espnet_wsm.frames import SAMPLE_RATE, count_encoder_frames
from espnet_wsm.meters import SavedBytes, draw_texts, find_cpu_name, saved_size, spread, take_step

if TYPE_CHECKING:
    from torch import Tensor

COSTS = "costs.json"
METHOD = 3  # incremented when the method of measurement changes; all is then measured again
REFERENCE = "attention"
BATCH, SECONDS, TOKENS_PER_SECOND, VOCABULARY = 4, 10.0, 12, 50
ROUNDS, FEWEST_ROUNDS, LONGEST_S = 9, 3, 60.0
THREADS = 1  # as in the runs of a grid
PACKAGES = ("espnet-wsm", "torch", "transformers", "espnet", "espnet-s3prl")
RATIOS = ("saved_bytes", "step_s", "checkpoint_bytes")


@dataclass(frozen=True)
class Setup:
    """What costs depend on: arm, number of layers, and sizes of its blocks (None = as configured).

    On a CPU, attention keeps its T x T weights only because of their dropout. So attention is also measured
    without dropout, as the best that this arm could do.
    """

    arm: str
    num_replaced: int
    window: int | None = None
    width: int | None = None
    attention_dropout: bool = True


def measure_costs(grid: Grid, root: Path, results: Path) -> dict[str, Any]:
    """Measure what each arm of a grid costs above the cut, unless it was measured before.

    One batch of 4 x 10 s of random hidden states goes through the trained part of the model: the arm's
    layers above the cut, in ``suffix_dtype``, and a CTC head with 50 tokens. The arms take turns, so that
    other load on the machine affects all of them alike. Written to ``RESULTS/costs.json``.

    Args:
        grid: the grid that is run.
        root: folder of the checkout.
        results: folder of the records.

    Returns:
        as :func:`read_costs`.

    Raises:
        UserError: the configuration or the upstream cannot be read.
    """
    recipe = find_corpus(root, next(run.corpus for run in (*grid.runs, *grid.sweep))).recipe
    settings = read_yaml(recipe / grid.train_config)
    encoder_conf = dict(settings.get("encoder_conf") or {}) | _read_options(grid.recipe_options)
    if grid.suffix_dtype is not None:
        encoder_conf["suffix_dtype"] = grid.suffix_dtype
    place = recipe / grid.upstream
    encoder_conf["upstream"] = str(place) if place.exists() else grid.upstream
    ctc_conf = settings.get("ctc_conf") or {}

    from espnet_wsm.upstream import find_checkpoint  # takes seconds, as all that imports torch

    checkpoint = find_checkpoint(encoder_conf["upstream"], encoder_conf.get("trust", False))
    setups = list_setups(grid, compared=checkpoint.conversion is None)
    parts = {**encoder_conf, "upstream": checkpoint.digest}, ctc_conf, setups, METHOD
    fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    if (found := read_costs(results)) is not None and found["fingerprint"] == fingerprint:
        return found

    measured, configured = _measure(setups, encoder_conf, ctc_conf)
    costs = {
        "fingerprint": fingerprint,
        "machine": {"device": "cpu", "cpu": find_cpu_name(), "cores": os.cpu_count(), "threads": THREADS},
        "versions": {name: version(name) for name in PACKAGES},
        "batch": {"utterances": BATCH, "seconds": SECONDS, "vocabulary": VOCABULARY},
        "configured": configured,
        "rows": _add_ratios(measured),
    }
    write_text(results / COSTS, json.dumps(costs, indent=1).split("\n"))
    return read_costs(results)


def read_costs(results: Path) -> dict[str, Any] | None:
    """The content of ``RESULTS/costs.json``, with a ``setup`` in each row; None if it does not exist.

    Raises:
        UserError: it is damaged.
    """
    costs = read_mapping(results / COSTS, needed=("fingerprint", "rows"))
    if costs is None:
        return None
    try:
        rows = costs["rows"]
        setups = [Setup(*(row[each.name] for each in fields(Setup))) for row in rows]
        return costs | {"rows": [{**row, "setup": setup} for row, setup in zip(rows, setups, strict=True)]}
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{results / COSTS} is damaged ({error}): remove it, and the costs are measured again"
        ) from error


def list_setups(grid: Grid, compared: bool = True) -> list[Setup]:
    """What to measure: all setups of the runs, and pretrained attention for comparison, if there is any."""
    setups = dict.fromkeys(Setup(r.arm, r.num_replaced, r.window, r.width) for r in grid.runs)
    for k in sorted({setup.num_replaced for setup in setups} - {0}) if compared else ():
        setups |= dict.fromkeys((Setup(REFERENCE, k), Setup(REFERENCE, k, attention_dropout=False)))
    return list(setups)


def _read_options(options: Mapping[str, str]) -> dict[str, Any]:
    """The options of run.sh that are keys of encoder_conf."""
    names = ("window", "trainable", "trust")
    return {name: yaml.safe_load(options[name]) for name in names if options.get(name)}


class _Model:
    """The trained part of one arm, and its steps.

    Args:
        setup: what to build.
        encoder_conf: encoder_conf of the training configuration.
        ctc_conf: ctc_conf of the training configuration.
    """

    def __init__(self, setup: Setup, encoder_conf: Mapping[str, Any], ctc_conf: Mapping[str, Any]):
        import torch
        from espnet2.asr.ctc import CTC

        from espnet_wsm.upstream import WsmConfig, load_upstream, prepare_suffix
        from espnet_wsm.upstream.cut import cut_of

        torch.manual_seed(0)
        own = {name: value for name, value in asdict(setup).items() if name in ("window", "width")}
        conf = dict(encoder_conf) | {name: value for name, value in own.items() if value is not None}
        conf |= {"num_replaced": setup.num_replaced, "windows": HALF_WIDTH} | ARMS[setup.arm].options
        self.config = WsmConfig.from_dict(conf)
        expert, checkpoint = load_upstream(self.config.upstream, self.config.trust)
        family = checkpoint.family
        self.dim = family.dim(expert)
        _, replaced = self.config.place_cut(len(family.encoder(expert).layers))
        _, suffix = cut_of(expert, family, self.config)
        prepare_suffix(suffix, replaced, self.dim, self.config)
        self.without_dropout = False
        if not setup.attention_dropout:
            for layer in suffix.layers:
                attention = getattr(layer, family.attention)
                if isinstance(getattr(attention, "dropout", None), float):  # transformers'; others differ
                    self.without_dropout |= attention.dropout > 0
                    attention.dropout = 0.0
        self.modules = torch.nn.ModuleDict({"suffix": suffix, "ctc": CTC(VOCABULARY, self.dim, **ctc_conf)})
        trained = [parameter for parameter in self.modules.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)  # as trainings on a CPU
        frozen = {name for name, parameter in self.modules.named_parameters() if not parameter.requires_grad}
        state = {name: value for name, value in self.modules.state_dict().items() if name not in frozen}
        self.sizes = {
            "trainable": sum(parameter.numel() for parameter in trained),
            "checkpoint_bytes": saved_size(state),
        }

    def step(self, saved: SavedBytes | None = None) -> float:
        """Forward, CTC loss, backward, AdamW; returns its seconds."""
        import torch

        from espnet_wsm.upstream import run_suffix

        generator = torch.Generator().manual_seed(0)
        frames = count_encoder_frames(round(SECONDS * SAMPLE_RATE))
        hidden = torch.randn(BATCH, frames, self.dim, generator=generator)
        padding_mask = torch.zeros(BATCH, frames, dtype=torch.bool)  # given in training too: nothing padded
        texts = draw_texts(generator, BATCH, round(SECONDS * TOKENS_PER_SECOND), VOCABULARY)
        lengths = torch.full((BATCH,), frames)

        def encode() -> tuple["Tensor", "Tensor"]:
            dtype = self.config.suffix_dtype
            return run_suffix(self.modules["suffix"], dtype, hidden, padding_mask), lengths

        torch.manual_seed(0)
        self.modules.train()
        begin = time.perf_counter()
        counted = take_step(encode, self.modules["ctc"], texts, self.optimizer, saved)
        taken = time.perf_counter() - begin
        if saved:
            self.sizes["saved_bytes"] = counted["saved_bytes"]
        return taken


def _measure(
    setups: Iterable[Setup], encoder_conf: Mapping[str, Any], ctc_conf: Mapping[str, Any]
) -> tuple[dict[Setup, dict[str, Any]], dict[str, Any]]:
    """The measured values of each setup; window, width and precision as configured."""
    import torch

    from espnet_wsm.upstream import choose_dtype

    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        models = {s: _Model(s, encoder_conf, ctc_conf) for s in tqdm(list(setups), "costs: building")}
        models = {s: model for s, model in models.items() if s.attention_dropout or model.without_dropout}
        for model in models.values():  # the first step is slower and is not timed
            model.step(SavedBytes(model.modules))
        times = _time_steps(models)
    finally:
        torch.set_num_threads(threads)
    first = next(iter(models.values()))
    default = type(first.config).from_dict(dict(encoder_conf))
    configured = {
        "window": default.window,
        "width": default.width or first.dim,
        "suffix_dtype": choose_dtype(default.suffix_dtype, torch.device("cpu")),
    }
    return {setup: models[setup].sizes | {"step_s": times[setup]} for setup in models}, configured


def _time_steps(models: Mapping[Setup, _Model]) -> dict[Setup, dict[str, float]]:
    """Seconds per step: median, minimum and maximum over the rounds."""
    taken: dict[Setup, list[float]] = {setup: [] for setup in models}
    order, generator, begin = list(models), random.Random(0), time.monotonic()
    for number in tqdm(range(ROUNDS), "costs: timing"):
        if number >= FEWEST_ROUNDS and time.monotonic() - begin > LONGEST_S:
            break
        generator.shuffle(order)
        for setup in order:
            taken[setup].append(models[setup].step())
    return {setup: spread(values) for setup, values in taken.items()}


def _add_ratios(measured: Mapping[Setup, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per setup, with ratios to pretrained attention in the same number of layers, if measured."""

    def read(values: Mapping[str, Any], name: str) -> float:
        return values[name]["median"] if name == "step_s" else values[name]

    rows = []
    for setup, values in measured.items():
        reference = measured.get(Setup(REFERENCE, setup.num_replaced))
        ratios = {name: read(values, name) / read(reference, name) if reference else None for name in RATIOS}
        rows.append({**asdict(setup), **values, "ratios": ratios})
    return rows
