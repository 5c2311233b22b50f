"""What the records show and what they do not, in sentences with their numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator

from espnet_wsm.arms import ARMS
from espnet_wsm.data.kaldi.lists import count, name_some
from espnet_wsm.data.text.rules import find_unspaced_script
from espnet_wsm.experiments.cells import join, name_setting, show_comparison, show_mean
from espnet_wsm.experiments.costs import REFERENCE as COST_REFERENCE
from espnet_wsm.experiments.costs import Setup
from espnet_wsm.experiments.estimates import (
    LEVEL,
    NO_DIFFERENCE,
    REFERENCE,
    Setting,
    System,
    compare,
    count_verdicts,
)
from espnet_wsm.experiments.records import DEV, TEST, Record
from espnet_wsm.experiments.run_sections import count_product, find_speakers
from espnet_wsm.experiments.runs import rank_arm
from espnet_wsm.experiments.sources import Sources
from espnet_wsm.experiments.sweep import rate_arm
from espnet_wsm.scoring.significance import FEW_UNITS
from espnet_wsm.scoring.trn import read_kaldi_text

SATURATED = 90.0  # WER in percent
UNTRAINED = 90.0  # CER in percent; a model that outputs only blanks, or one letter, has more


def list_statements(sources: Sources) -> Iterator[str]:
    """The lines of the section."""
    kinds = (_compare_arms, _judge_runs, _judge_seeds, _judge_tests, _judge_rates, _judge_costs, _judge_scope)
    yield "## What is shown and what is not"
    yield "\n".join(f"- {statement}" for kind in kinds for statement in kind(sources))


def _compare_arms(sources: Sources) -> Iterator[str]:
    comparisons = sources.study.compare_all(sources.study.settings())
    everything = [comparison for found in comparisons.values() for comparison in found]
    if not everything:
        arms = {system.run.arm for system in sources.study.systems}
        if REFERENCE in arms or len(arms) == 1:
            yield f"No arm was run beside {REFERENCE}: nothing is compared here."
        else:
            yield (
                f"{REFERENCE} was not run, so that there are no verdicts here: see the arms against each "
                "other."
            )
        return
    ours, none, theirs = count_verdicts(everything)
    sentence = (
        f"{count(len(everything), 'comparison')} of an arm with {REFERENCE} by test CER (tables below): "
        f"{REFERENCE} better in {ours}, the other arm better in {theirs}, no difference found in {none}."
    )
    if len(everything) > 1:
        chance = (1 - LEVEL) * len(everything)
        sentence += (
            f" If there were no difference at all, about {chance:.1f} would show one by chance; they share "
            "runs and test sets, so they are not independent."
        )
    yield sentence
    for arm in sorted(comparisons, key=rank_arm):
        ours, none, theirs = count_verdicts(comparisons[arm])
        yield (
            f"{REFERENCE} and {arm}: {REFERENCE} better in {ours} of {len(comparisons[arm])}, {arm} better "
            f"in {theirs}, no difference found in {none}."
        )
    open_ones = [c.difference for c in everything if c.verdict == NO_DIFFERENCE]
    if open_ones:
        reach = max(max(abs(interval.low), abs(interval.high)) for interval in open_ones)
        yield (
            "No difference found does not mean that there is none: these intervals reach as far as "
            f"{reach:.1f} points of CER."
        )


def _judge_runs(sources: Sources) -> Iterator[str]:
    records = sources.study.records
    untrained = [record.run.title for record in records if not _has_learnt(record)]
    if not untrained:
        return
    yield (
        f"{len(untrained)} of {count(len(records), 'run')} did not learn to transcribe (CER above "
        f"{UNTRAINED:.0f} % on dev): {name_some(sorted(untrained))}. They count like all others; the "
        "intervals of their systems are as wide as that makes them."
    )
    for setting in sources.study.settings():
        yield from _compare_learnt(sources, setting)


def _compare_learnt(sources: Sources, setting: Setting) -> Iterator[str]:
    """The arms of which, or of whose reference, some runs did not learn, by those that did."""
    systems = sources.study.arms(setting)
    learnt = {
        arm: System(system.run, kept)
        for arm, system in systems.items()
        if (kept := tuple(filter(_has_learnt, system.records)))
    }
    partly = {arm for arm in learnt if len(learnt[arm].records) < len(systems[arm].records)}
    reference = learnt.pop(REFERENCE, None)
    if reference is None:
        return
    for arm, system in learnt.items():
        if not partly & {arm, REFERENCE}:
            continue
        difference, span, verdict = show_comparison(compare(system, reference), arm, REFERENCE)
        yield (
            f"Of the runs that learnt alone, {arm} on {setting.corpus}, {name_setting(setting)}, has CER "
            f"{show_mean(system.cer)} ({count(len(system.records), 'seed')}), {difference} ({span}) against "
            f"{REFERENCE}: {verdict}."
        )


def _has_learnt(record: Record) -> bool:
    return record.sets[DEV].rate("cer") <= UNTRAINED


def _judge_seeds(sources: Sources) -> Iterator[str]:
    numbers = Counter(len(system.records) for system in sources.study.systems)
    of_all = _name_all_systems(sources)
    if numbers[1]:
        yield (
            f"{numbers[1]} {of_all} trained from one seed: only the test set's noise is seen of them, and "
            "training again may turn a verdict."
        )
    if numbers[2]:
        yield (
            f"{numbers[2]} {of_all} trained from two seeds, which say little of their spread: their "
            "intervals are wide, and only large differences can be found."
        )


def _name_all_systems(sources: Sources) -> str:
    return f"of {count(len(sources.study.systems), 'system')} (an arm at one setting)"


def _judge_tests(sources: Sources) -> Iterator[str]:
    tests = sources.study.tests
    voices = {corpus: len(find_speakers(test.ids)) for corpus, test in tests.items()}
    if single := [corpus for corpus, number in voices.items() if number == 1]:
        yield (
            f"One voice each, by the ids of the utterances, in {name_some(single)} ({len(single)} of "
            f"{count(len(tests), 'test set')}): intervals say what other utterances of that voice would "
            "give, nothing of other voices."
        )
    if several := [
        f"{corpus} ({voices[corpus]} voices, {len(test.ids)} utterances)"
        for corpus, test in tests.items()
        if 1 < voices[corpus] < len(test.ids)
    ]:
        yield (
            f"Several utterances of a voice in {name_some(several)}: intervals take utterances as "
            "independent, which those of one voice are not, and come out too narrow."
        )
    if saturated := [system for system in sources.study.systems if system.wer.mean >= SATURATED]:
        yield (
            f"WER is {SATURATED:.0f} % or more in {len(saturated)} {_name_all_systems(sources)}, where it "
            "hardly tells arms apart: figures and verdicts go by CER, WER stands in the tables."
        )
    if few := [corpus for corpus, test in tests.items() if len(test.ids) < FEW_UNITS]:
        yield f"Fewer than {FEW_UNITS} test utterances in {name_some(few)}: intervals come out too narrow."
    for corpus in tests:
        path = sources.results / "references" / corpus / TEST
        texts = read_kaldi_text(path).values() if path.is_file() else ()
        if script := find_unspaced_script(" ".join(words) for words in texts):
            yield f"{corpus}: {script} is written without blanks between words: its WER counts phrases."


def _judge_rates(sources: Sources) -> Iterator[str]:
    sweep = [record.run for record in sources.study.sweep]
    mixed = [system for system in sources.study.systems if len({r.run.lr for r in system.records}) > 1]
    if mixed:
        names = name_some(sorted({f"{system.run.corpus}/{system.run.arm}" for system in mixed}))
        yield f"**The seeds of {names} have different learning rates: run the grid to its end.**"
    origin = (sources.asked or {}).get("rates_from")
    if not sweep and origin:
        without = {r.run.arm for r in sources.study.records if r.run.lr is None}
        others = (
            f", but for {name_some(sorted(without, key=rank_arm))}, which it had no rate for"
            if without
            else ""
        )
        yield (
            f"Learning rates are those that another grid chose ({origin}): {_list_rates(sources)}{others}. "
            "That may have been with another upstream, and on dev sets of these corpora."
        )
        return
    if not sweep:
        yield (
            "No learning rate was searched here: all arms have that of the configuration or of the grid "
            f"({_list_rates(sources)}), which may suit one arm better than another."
        )
        return
    arms, swept = {system.run.arm for system in sources.study.systems}, {run.arm for run in sweep}
    without = sorted(arms - swept, key=rank_arm)
    if without and origin:
        yield (
            f"Learning rates of {name_some(without)} are those that another grid chose ({origin}), or that "
            f"this one gives: {_list_rates(sources, without)}."
        )
    elif without:
        variants = [f"{arm} has that of {rate_arm(arm)}" for arm in without if rate_arm(arm) != arm]
        yield f"No learning rate was searched for {name_some(without)}" + (
            f": {'; '.join(variants)}." if variants else "."
        )
    layers = sorted({run.num_replaced for run in sweep} - {0})
    where = f"{name_some(sorted({run.corpus for run in sweep}))}{f', k = {join(layers)}' if layers else ''}"
    of = f" of {name_some(sorted(swept, key=rank_arm))}" if without and origin else ""
    yield (
        f"Learning rates{of} were chosen on {where}, and used unchanged everywhere else. Steps, schedule, "
        "augmentation and dropout are those of the configuration for all arms, and may suit one better."
    )
    for edge, word in ((min, "lowest"), (max, "highest")):
        tried = {arm: edge(run.lr for run in sweep if run.arm == arm) for arm in {run.arm for run in sweep}}
        if at_edge := [arm for arm in sorted(tried, key=rank_arm) if sources.chosen.get(arm) == tried[arm]]:
            yield f"The {word} rate tried was the best for {name_some(at_edge)}: one beyond it may be better."


def _list_rates(sources: Sources, arms: Iterable[str] = ARMS) -> str:
    rates: dict[str, set[float]] = {}
    for record in sources.study.records:
        if record.run.lr is not None and record.run.arm in arms:
            rates.setdefault(record.run.arm, set()).add(record.run.lr)
    told = (
        f"{arm} {' and '.join(f'{rate:g}' for rate in sorted(rates[arm]))}"
        for arm in sorted(rates, key=rank_arm)
    )
    return join(told) or "one for all"


def _judge_costs(sources: Sources) -> Iterator[str]:
    if sources.costs is None:
        return
    k = sources.study.main[0].num_replaced
    rows = {row["setup"]: row for row in sources.costs["rows"]}
    ours, theirs = rows.get(Setup(REFERENCE, k)), rows.get(Setup(COST_REFERENCE, k))
    if ours is None or theirs is None:
        return
    yield (
        f"Above the cut, k = {k}, {REFERENCE} keeps {ours['ratios']['saved_bytes']:.2f} of the bytes that "
        f"{COST_REFERENCE} keeps, and a step takes {ours['ratios']['step_s']:.2f} of its time, on this "
        f"machine ({sources.costs['machine']['device']})."
    )
    if without := rows.get(Setup(COST_REFERENCE, k, attention_dropout=False)):
        saved = ours["saved_bytes"] / without["saved_bytes"]
        time = ours["step_s"]["median"] / without["step_s"]["median"]
        yield (
            f"Against {COST_REFERENCE} without the dropout of its weights, which no run here left out, these "
            f"shares are {saved:.2f} and {time:.2f}."
        )


def _judge_scope(sources: Sources) -> Iterator[str]:
    records = sources.study.records
    if len({record.upstream for record in records}) == 1:
        largest = max(record.total for record in records)
        yield (
            f"One upstream, in models of up to {largest / 1e6:.1f} M parameters: nothing here says how the "
            "arms compare on another or larger one."
        )
    product, there = count_product(sources.study)
    if there < product:
        whole = f"{count(product, 'run')} of the full product"
        yield f"Not all values were combined: {there} of the {whole} were run (last section)."
    if sources.missing:
        yield f"{count(len(sources.missing), 'run')} of the grid missing: {name_some(sources.missing)}."
