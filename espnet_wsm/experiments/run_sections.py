"""Sections of the report about the runs: where they were made, learning rates, cost, curves, coverage."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from espnet_wsm.arms import ARMS
from espnet_wsm.data.kaldi.lists import count, name_some
from espnet_wsm.experiments.cells import (
    join,
    name_amount,
    name_setting,
    name_setup,
    name_size,
    name_value,
    show_ratio,
    show_span,
)
from espnet_wsm.experiments.costs import REFERENCE as COST_REFERENCE
from espnet_wsm.experiments.costs import Setup
from espnet_wsm.experiments.estimates import REFERENCE, Setting, Study, System
from espnet_wsm.experiments.figures import INTERVAL, plot_curves, plot_trade_off
from espnet_wsm.experiments.records import DEV, TEST, Record
from espnet_wsm.experiments.runs import rank_amount, rank_arm
from espnet_wsm.experiments.sources import Sources
from espnet_wsm.experiments.sweep import rate_arm
from espnet_wsm.scoring.results import NONE
from espnet_wsm.scoring.seeds import SeedSummary
from espnet_wsm.tables import render_table

CURVES = {  # name in a record -> label, factor
    "train loss": ("training loss", 1.0),
    "valid loss": ("validation loss", 1.0),
    "valid cer_ctc": ("validation CER by ESPnet (%)", 100.0),
}
CURVE_CORPORA = 3
MIB, MB = 2**20, 10**6


def list_facts(sources: Sources) -> Iterator[str]:
    """What was run, where, with which data, and how to read the tables."""
    study = sources.study
    records = [*study.records, *study.sweep]
    runs = f"Runs: {len(study.records)}"
    if sources.asked is not None:
        runs += f" of the {len(set(sources.asked['runs']))} that the grid asks for"
    if study.sweep:
        runs += f", and {len(study.sweep)} to choose learning rates"
    facts = [f"{runs}; {sum(r.seconds for r in records) / 3600:.1f} h of training, added up over the runs."]
    upstreams = sorted({record.upstream for record in records})
    sizes = sorted({record.total for record in study.records})
    millions = " to ".join(dict.fromkeys(f"{size / 1e6:.2f}" for size in (sizes[0], sizes[-1])))
    facts.append(f"Upstream (name, digest): {join(upstreams)}; whole models of {millions} M parameters.")
    if sources.asked is not None and "recipe_options" in sources.asked:  # a record may have none
        options = {"train_config": sources.asked["train_config"]} | sources.asked["recipe_options"]
        words = shlex.join(word for name, value in options.items() for word in (f"--{name}", value))
        facts.append(f"Options that the grid gives to every `run.sh`: `{words}`.")
    if len(upstreams) > 1:
        facts.append("**The runs have different upstreams: they cannot be compared with each other.**")
    dates = sorted({record.date for record in records})
    devices, commits = (sorted({getattr(r, name) for r in records}) for name in ("device", "git"))
    made = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    facts.append(f"Made {made} on {join(devices)}, commit {join(commits)}.")
    if sources.costs is not None:
        machine = sources.costs["machine"]
        versions = join(f"{name} {number}" for name, number in sources.costs["versions"].items())
        facts.append(f"Costs measured on: {machine['cpu']}, {machine['cores']} cores; {versions}.")
    if sources.num_left_out:
        facts.append(f"{count(sources.num_left_out, 'record')} beside the grid left out.")
    yield "\n".join(f"- {fact}" for fact in facts)
    yield _render_tests(study)
    yield (
        "Rates are percentages of the reference tokens, on the test set where nothing else is said; ± is the "
        "standard deviation over seeds. Intervals hold 95 %: of one seed, a bootstrap over utterances; of "
        "several, one over utterances and seeds, with Student's factor for few seeds (`compare_over_seeds`). "
        f"A difference is the CER of an arm minus that of {REFERENCE}: above 0, {REFERENCE} makes fewer "
        "errors. There is a verdict where its interval leaves out 0."
    )


def _render_tests(study: Study) -> str:
    rows = []
    for corpus, test in study.tests.items():
        tokens = (f"{int(test.tokens[metric].sum()):,}" for metric in ("wer", "cer"))
        rows.append((corpus, str(len(test.ids)), *tokens, str(len(find_speakers(test.ids)))))
    header = ("test set", "utterances", "words", "characters", "speakers, by their ids")
    return render_table(header, rows, num_left=1)


def find_speakers(ids: Iterable[str]) -> set[str]:
    """The parts of ids before the first hyphen, which is the speaker in this project's recipes."""
    return {name.partition("-")[0] for name in ids}


def list_sweep(sources: Sources) -> Iterator[str]:
    """The error on dev of every learning rate that was tried, and which was chosen."""
    tried: dict[str, dict[float, list[Record]]] = {}
    for record in sources.study.sweep:
        tried.setdefault(record.run.arm, {}).setdefault(record.run.lr, []).append(record)
    if not tried:
        return
    rates = sorted({rate for found in tried.values() for rate in found})
    rows = []
    for arm in sorted(tried, key=rank_arm):
        chosen = sources.chosen.get(arm)
        cells = []
        for rate in rates:
            errors = [record.sets[DEV].rate("cer") for record in tried[arm].get(rate, ())]
            cell = f"{sum(errors) / len(errors):.2f}" if errors else NONE
            cells.append(f"**{cell}**" if errors and rate == chosen else cell)
        edge = "yes" if chosen in (min(tried[arm]), max(tried[arm])) else "no"
        numbers = (len(tried[arm]), sum(map(len, tried[arm].values())))
        rows.append((arm, *cells, *map(str, numbers), NONE if chosen is None else edge))
    runs = [record.run for record in sources.study.sweep]
    corpora, seeds = (sorted({getattr(run, name) for run in runs}) for name in ("corpus", "seed"))
    layers = sorted({run.num_replaced for run in runs if run.arm != "frozen"})
    amounts = sorted({run.minutes for run in runs}, key=rank_amount)
    yield "## Learning rates"
    yield (
        f"CER on the development set, mean over the runs of a rate ({join(corpora)}; k = {join(layers)}; "
        f"training data: {join(name_value('minutes', amount) for amount in amounts)}; seed {join(seeds)}). "
        "**Bold**: chosen."
    )
    header = ("arm", *(f"{rate:g}" for rate in rates), "rates tried", "runs", "chosen at the edge")
    yield render_table(header, rows, num_left=1)
    yield " ".join(_note_sweep(sources, {arm: sum(map(len, found.values())) for arm, found in tried.items()}))


def _note_sweep(sources: Sources, efforts: Mapping[str, int]) -> Iterator[str]:
    """Whether the effort was equal, whether test sets were kept out, and which rates were used."""
    if len(set(efforts.values())) == 1:
        yield f"Each arm had {count(next(iter(efforts.values())), 'run')}."
    else:
        groups: dict[int, list[str]] = {}
        for arm in sorted(efforts, key=rank_arm):
            groups.setdefault(efforts[arm], []).append(arm)
        listing = "; ".join(f"{number} for {join(groups[number])}" for number in sorted(groups))
        yield f"**The arms had different numbers of runs**: {listing}."
    tested = [record for record in sources.study.sweep if TEST in record.sets]
    if tested:
        yield f"**{len(tested)} of these runs were scored on a test set, which should not be.**"
    else:
        yield f"None of these {count(len(sources.study.sweep), 'run')} was scored on a test set."
    others: dict[str, set[str]] = {}
    for record in sources.study.records:
        rate = record.run.lr
        if rate != sources.chosen.get(rate_arm(record.run.arm)):
            name = "that of the configuration" if rate is None else f"{rate:g}"
            others.setdefault(record.run.arm, set()).add(name)
    if others:
        listing = (f"{arm} {join(sorted(others[arm]))}" for arm in sorted(others, key=rank_arm))
        yield f"Reported runs with another rate than the chosen one: {'; '.join(listing)}."
    else:
        arms = {record.run.arm for record in sources.study.records}
        more = ", or for the arm that it is a variant of" if any(rate_arm(arm) != arm for arm in arms) else ""
        yield f"All reported runs have the rate chosen for their arm{more}."


def list_costs(sources: Sources) -> Iterator[str]:
    """Bytes, time and sizes above the cut, and CER against them."""
    if sources.costs is None:
        return
    machine, batch = sources.costs["machine"], sources.costs["batch"]
    place, systems = _find_trained(sources.study)
    ordered = sorted(sources.costs["rows"], key=lambda row: _rank_setup(row["setup"]))
    rows = []
    for row in ordered:
        setup, ratios, step = row["setup"], row["ratios"], row["step_s"]
        median, least, greatest = (f"{1000 * step[name]:.0f}" for name in ("median", "min", "max"))
        system = systems.get(setup)
        rows.append(
            (
                name_setup(setup),
                str(setup.num_replaced),
                f"{row['trainable']:,}",
                f"{row['saved_bytes'] / MIB:.1f}",
                show_ratio(ratios["saved_bytes"]),
                f"{median} [{least}-{greatest}]",
                show_ratio(ratios["step_s"]),
                f"{row['checkpoint_bytes'] / MB:.2f}",
                show_ratio(ratios["checkpoint_bytes"]),
                *((NONE, NONE) if system is None else (f"{system.cer.mean:.2f}", show_span(system.cer))),
            )
        )
    yield "## Cost"
    yield (
        f"Above the cut, where the arms differ: a batch of {batch['utterances']} x {batch['seconds']:g} s of "
        f"hidden states, layers in {sources.costs['configured']['suffix_dtype']}, a CTC head of "
        f"{batch['vocabulary']} tokens, {machine['cpu']}, {count(machine['threads'], 'thread')}. "
        "Kept: what autograd holds between forward and backward. Step: forward, loss, backward "
        "and AdamW, median [least-greatest] of steps that the arms took in "
        f"turns. / {COST_REFERENCE}: of pretrained attention with the same k. CER: on {place.corpus}, "
        f"{name_amount(place.minutes)}."
    )
    share = f"/ {COST_REFERENCE}"
    header = ("arm", "k", "trainable", "kept MiB", share, "step ms", share, "checkpoint MB", share, "CER")
    yield render_table((*header, INTERVAL), rows, num_left=1)
    if any(not row["setup"].attention_dropout for row in ordered):
        yield (
            f"{COST_REFERENCE} without dropout: of the attention weights, for whose dropout a CPU keeps all "
            "T x T of them. It was measured and not trained."
        )
    yield from _draw_trade_off(sources, ordered, place, systems)


def _rank_setup(setup: Setup) -> tuple:
    sizes = map(_rank_size, (setup.window, setup.width))
    return (setup.num_replaced, rank_arm(setup.arm), *sizes, not setup.attention_dropout)


def _find_trained(study: Study) -> tuple[Setting, dict[Setup, System]]:
    """The main setting in which most arms were trained, and what was trained there with any k."""
    place = max(study.main, key=lambda setting: len(study.arms(setting)))
    there = [s for s in study.systems if (s.run.corpus, s.run.minutes) == (place.corpus, place.minutes)]
    runs = ((system.run, system) for system in there)
    return place, {Setup(run.arm, run.num_replaced, run.window, run.width): system for run, system in runs}


def _draw_trade_off(
    sources: Sources,
    rows: Sequence[Mapping[str, Any]],
    place: Setting,
    systems: Mapping[Setup, System],
) -> Iterator[str]:
    saved: dict[str, dict[int, tuple[float, SeedSummary]]] = {}
    time: dict[str, dict[int, tuple[float, SeedSummary]]] = {}
    for row in rows:
        setup = row["setup"]
        if setup not in systems or not systems[setup].plain:
            continue
        rate = systems[setup].cer
        saved.setdefault(setup.arm, {})[setup.num_replaced] = row["saved_bytes"] / MIB, rate
        time.setdefault(setup.arm, {})[setup.num_replaced] = 1000 * row["step_s"]["median"], rate
    if len(saved) < 2:
        return
    measured_without = any(not row["setup"].attention_dropout for row in rows)  # it has dropout at all
    dropout = f"; {COST_REFERENCE} as it was trained, with dropout" if measured_without else ""
    caption = (
        f"Test CER on {place.corpus} against cost, {name_amount(place.minutes)}; numbers: k; bars: "
        f"{INTERVAL}{dropout}"
    )
    panels = {"kept by autograd (MiB)": saved, "training step above the cut (ms)": time}
    yield sources.draw("trade_off", caption, plot_trade_off, panels, "test CER (%)")


def list_curves(sources: Sources) -> Iterator[str]:
    """Losses and CER by epoch."""
    main = sources.study.main
    settings = main[:CURVE_CORPORA]
    curves: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for name, (label, factor) in CURVES.items():
        for setting in settings:
            for arm, system in sources.study.arms(setting).items():
                values = [record.curves.get(name, ()) for record in system.records]
                if shortest := min(map(len, values)):
                    stack = factor * np.array([one[:shortest] for one in values])
                    curves.setdefault(label, {}).setdefault(setting.corpus, {})[arm] = stack
    if not curves:
        return
    yield "## Training curves"
    shown = f", {len(settings)} of {len(main)} corpora" if len(settings) < len(main) else ""
    several = any(len(s.records) > 1 for setting in settings for s in sources.study.arms(setting).values())
    band = "; mean over seeds, band from the least to the greatest" if several else "; one seed"
    caption = (
        f"Loss and CER by epoch, {name_setting(main[0])}{shown}{band}. The CER is that of one epoch's "
        "model, as ESPnet's trainer counts it: without the blanks between words"
    )
    yield sources.draw("curves", caption, plot_curves, curves)


def list_coverage(sources: Sources) -> Iterator[str]:
    """Which combinations were run."""
    product, there = count_product(sources.study)
    yield "## What was run"
    yield (
        "All combinations of the corpora, arms, k, amounts of training data and seeds below, with window and "
        f"width as configured (frozen once for all k), would be {count(product, 'run')}; {there} of them are "
        "here. Each row is a block that was run in full."
    )
    header = ("training data", "k", "window", "width", "corpora", "arms", "seeds", "runs")
    yield render_table(header, _list_blocks(sources.study), num_left=7)
    if sources.missing:
        yield f"Asked for by the grid and not there: {name_some(sources.missing)}."


def count_product(study: Study) -> tuple[int, int]:
    """Runs of all combinations with window and width as configured, and how many of them are there."""
    runs = [record.run for system in study.systems if system.plain for record in system.records]
    arms = {run.arm for run in runs}
    free = {run.num_replaced for run in runs if "num_replaced" not in ARMS[run.arm].options}
    combinations = sum(1 if "num_replaced" in ARMS[arm].options else len(free) for arm in arms)
    for name in ("corpus", "minutes", "seed"):
        combinations *= len({getattr(run, name) for run in runs})
    return combinations, len(runs)


def _list_blocks(study: Study) -> list[tuple[str, ...]]:
    """The runs as blocks of all combinations of corpus, arm, window and width, largest amounts first."""
    blocks = [
        {
            "minutes": system.run.minutes,
            "num_replaced": system.run.num_replaced,
            "window": [system.run.window],
            "width": [system.run.width],
            "corpus": [system.run.corpus],
            "arm": [system.run.arm],
            "seeds": [record.run.seed for record in system.records],
        }
        for system in study.systems
    ]
    for axis in ("arm", "corpus", "window", "width"):
        merged: dict[str, dict[str, Any]] = {}
        for block in blocks:
            # "As configured" cannot be listed among other values.
            configured = axis in ("window", "width") and block[axis] == [None]
            rest = repr({name: value for name, value in block.items() if name != axis} | {"_": configured})
            merged.setdefault(rest, block | {axis: []})[axis] += block[axis]
        blocks = list(merged.values())

    def rank(block: Mapping[str, Any]) -> tuple:
        sizes = [_rank_size(block[axis][0]) for axis in ("window", "width")]
        amount = rank_amount(block["minutes"])
        return (amount, sizes != [-1, -1], block["num_replaced"], *sizes, block["corpus"], block["arm"])

    rows = []
    for block in sorted(blocks, key=rank):
        sizes = [
            join(name_size(axis, v) for v in sorted(block[axis], key=_rank_size))
            for axis in ("window", "width")
        ]
        arms = sorted(block["arm"], key=rank_arm)
        runs = np.prod([len(block[name]) for name in ("window", "width", "corpus", "arm", "seeds")])
        places = (name_value("minutes", block["minutes"]), str(block["num_replaced"]), *sizes)
        rows.append((*places, *map(join, (block["corpus"], arms, block["seeds"])), str(runs)))
    return rows


def _rank_size(size: int | None) -> int:
    return -1 if size is None else size
