"""Results of the records: error rates with intervals, differences between arms, and verdicts."""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from espnet_wsm.arms import ARMS
from espnet_wsm.errors import UserError
from espnet_wsm.experiments.records import METRICS, TEST, Counts, Record, read_hypotheses
from espnet_wsm.experiments.runs import Run, rank_amount, rank_arm
from espnet_wsm.scoring.seeds import SeedComparison, SeedSummary, compare_over_seeds, summarise_seeds
from espnet_wsm.scoring.significance import USUAL, Interval, bootstrap_error_rate
from espnet_wsm.scoring.trn import TOKENIZERS, TextPair, read_kaldi_text
from espnet_wsm.scoring.two_systems import PairTests, examine_pair

REFERENCE = "wsm"  # the arm with which all others are compared
OPPONENT = "attention"  # the other arm of the pair that is compared in full
NO_DIFFERENCE = "no difference"
LEVEL = USUAL.level  # of the intervals
FEWEST_TO_POOL = 3  # corpora


@dataclass(frozen=True)
class Setting:
    """What the arms of one table have in common. ``minutes`` is None for all training data."""

    corpus: str
    minutes: int | None
    num_replaced: int


@dataclass(frozen=True, eq=False)
class System:
    """Runs that differ only in their seed.

    Args:
        run: one of the runs, for what they have in common.
        records: records of all runs, by seed.
    """

    run: Run
    records: tuple[Record, ...]

    @property
    def plain(self) -> bool:
        """Whether window and width are as configured."""
        return self.run.window is None and self.run.width is None

    @cached_property
    def test(self) -> Counts:
        """Counts of the first seed; all seeds have the same ids and reference tokens.

        Raises:
            UserError: the seeds were scored on different utterances.
        """
        first = self.records[0].sets[TEST]
        for record in self.records[1:]:
            check_same_texts(self.run, first, record.run, record.sets[TEST])
        return first

    def errors(self, metric: str) -> np.ndarray:
        """(seeds, utterances) errors on the test set."""
        ids = self.test.ids  # checks them
        return np.array([record.sets[TEST].errors[metric] for record in self.records]).reshape(-1, len(ids))

    def mean(self, metric: str, name: str) -> float:
        """Mean rate over the seeds on a set."""
        return sum(record.sets[name].rate(metric) for record in self.records) / len(self.records)

    @cached_property
    def cer(self) -> SeedSummary:
        """Character error rate on the test set."""
        return self._estimate("cer")

    @cached_property
    def wer(self) -> SeedSummary:
        """Word error rate on the test set."""
        return self._estimate("wer")

    def _estimate(self, metric: str) -> SeedSummary:
        """One seed: the bootstrap over utterances. Several: utterances and seeds are resampled.

        With several seeds, it is the interval of the difference to a system without errors.
        """
        errors, tokens = self.errors(metric), self.test.tokens[metric]
        summary = summarise_seeds([record.sets[TEST].rate(metric) for record in self.records])
        if len(errors) == 1:
            interval = bootstrap_error_rate(errors[0], tokens)
        else:
            interval = compare_over_seeds(errors, np.zeros_like(errors[:1]), tokens).difference
        low = max(0.0, interval.low)  # with a large variation between seeds it can be negative
        return replace(summary, low=low, high=interval.high)


def check_same_texts(run: Run, counts: Counts, other_run: Run, other: Counts) -> None:
    """Refuse to compare runs that were scored on different texts.

    Raises:
        UserError: names both.
    """
    if not counts.is_of_same_texts(other):
        raise UserError(
            f"{run.title} and {other_run.title} were scored on different test sets: remove the records of "
            "one, and run the grid again"
        )


@functools.lru_cache(maxsize=10_000)
def compare(system: System, reference: System, metric: str = "cer") -> SeedComparison:
    """Error rate of a system minus that of the reference, resampling utterances and seeds of both."""
    check_same_texts(system.run, system.test, reference.run, reference.test)
    return compare_over_seeds(system.errors(metric), reference.errors(metric), system.test.tokens[metric])


class Study:
    """The systems of a results folder, and the groups of them that tables are made of.

    Args:
        records: all of them; those of a sweep are kept apart.
    """

    def __init__(self, records: Iterable[Record]):
        records = list(records)
        self.records = [record for record in records if not record.run.sweep]
        self.sweep = [record for record in records if record.run.sweep]
        groups: dict[tuple, list[Record]] = {}
        for record in self.records:
            run = record.run
            key = (run.corpus, run.arm, run.num_replaced, run.minutes, run.window, run.width)
            groups.setdefault(key, []).append(record)
        self.systems = [
            System(group[0].run, tuple(sorted(group, key=lambda record: record.run.seed)))
            for group in groups.values()
        ]
        self.systems.sort(key=lambda s: (s.run.corpus, rank_amount(s.run.minutes), rank_arm(s.run.arm)))

    @cached_property
    def tests(self) -> dict[str, Counts]:
        """One test set per corpus, for its ids and reference tokens, sorted by corpus."""
        return {system.run.corpus: system.test for system in self.systems}

    def settings(self) -> list[Setting]:
        """All settings with runs that have window and width as configured, all training data first."""
        found = {Setting(s.run.corpus, s.run.minutes, s.run.num_replaced) for s in self.systems if s.plain}
        trained = {(setting.corpus, setting.minutes) for setting in found if setting.num_replaced}
        found = {s for s in found if s.num_replaced or (s.corpus, s.minutes) not in trained}
        return sorted(found, key=lambda s: (s.corpus, rank_amount(s.minutes), s.num_replaced))

    def arms(self, setting: Setting) -> dict[str, System]:
        """The systems of a setting by arm, in the order of ARMS; ``frozen`` belongs to every k."""
        return {
            system.run.arm: system
            for system in self.systems
            if system.plain
            and (system.run.corpus, system.run.minutes) == (setting.corpus, setting.minutes)
            and system.run.num_replaced
            in (setting.num_replaced, ARMS[system.run.arm].options.get("num_replaced"))
        }

    @cached_property
    def main(self) -> list[Setting]:
        """The amount of training data and the k with the most systems, one setting per corpus."""
        sizes: Counter[tuple[int | None, int]] = Counter()
        for setting in self.settings():
            sizes[setting.minutes, setting.num_replaced] += len(self.arms(setting))

        def rank(place: tuple[int | None, int]) -> tuple:
            minutes, k = place
            return sizes[place], -rank_amount(minutes), k == 2, -k

        best = max(sizes, key=rank, default=None)
        return [s for s in self.settings() if (s.minutes, s.num_replaced) == best]

    def compare_arms(self, setting: Setting, reference: str = REFERENCE) -> dict[str, SeedComparison]:
        """Each arm of a setting compared with the reference, if that was run."""
        systems = self.arms(setting)
        if reference not in systems:
            return {}
        others = {arm: system for arm, system in systems.items() if arm != reference}
        return {arm: compare(system, systems[reference]) for arm, system in others.items()}

    def compare_all(
        self, settings: Iterable[Setting], reference: str = REFERENCE
    ) -> dict[str, list[SeedComparison]]:
        """The comparisons with the reference at several settings, by arm."""
        found: dict[str, list[SeedComparison]] = {}
        for setting in settings:
            for arm, comparison in self.compare_arms(setting, reference).items():
                found.setdefault(arm, []).append(comparison)
        return found

    def find_ratio(self, settings: Iterable[Setting], arm: str, reference: str) -> float:
        """Mean CER of an arm over that of the reference, of the settings that have both."""
        found = [self.arms(setting) for setting in settings]
        both = [systems for systems in found if arm in systems and reference in systems]
        ours, theirs = (sum(systems[name].cer.mean for systems in both) for name in (arm, reference))
        return ours / theirs if theirs else float("nan")

    def along(self, axis: str) -> dict[Setting, dict[str, dict[int | None, System]]]:
        """Systems that differ in one field of their run: setting -> arm -> value -> system.

        ``frozen``, which has no replaced layers, belongs to every k, and is at 0 on that axis.

        Args:
            axis: ``num_replaced`` or ``minutes``, whose groups have two values at least; ``window`` or
                ``width``, where None is the value that is configured and groups have another one. The
                setting's own value of the axis means nothing.
        """
        groups: dict[Setting, dict[str, dict[int | None, System]]] = {}
        for setting in self.settings():
            key = replace(setting, **{axis: 0}) if axis in ("num_replaced", "minutes") else setting
            arms = groups.setdefault(key, {})
            for arm, system in self.arms(setting).items():
                value = None if axis in ("window", "width") else getattr(system.run, axis)
                arms.setdefault(arm, {})[value] = system
        if axis in ("window", "width"):
            other = "width" if axis == "window" else "window"
            for system in self.systems:
                run = system.run
                if getattr(run, axis) is not None and getattr(run, other) is None:
                    key = Setting(run.corpus, run.minutes, run.num_replaced)
                    groups.setdefault(key, {}).setdefault(run.arm, {})[getattr(run, axis)] = system
        return {
            key: dict(sorted(arms.items(), key=lambda item: rank_arm(item[0])))
            for key, arms in groups.items()
            if any(_varies(axis, values) for values in arms.values())
        }


def _varies(axis: str, values: dict[int | None, System]) -> bool:
    return len(values) > 1 and (axis not in ("window", "width") or set(values) != {None})


def pool_differences(comparisons: Sequence[SeedComparison]) -> tuple[float, Interval | None]:
    """Mean difference over corpora, and its interval; None of fewer than it needs.

    It is Student's, as each corpus counts once, as a sample from many: the noise of utterances and seeds is
    already part of the variation between the differences.
    """
    pooled = summarise_seeds([comparison.difference.estimate for comparison in comparisons])
    if pooled.low is None:
        return pooled.mean, None
    return pooled.mean, Interval(pooled.mean, pooled.low, pooled.high)


def count_verdicts(comparisons: Iterable[SeedComparison]) -> tuple[int, ...]:
    """How often the reference was better, no difference was found, and the other arm was better."""
    verdicts = Counter(comparison.verdict for comparison in comparisons)
    return tuple(verdicts[name] for name in ("B better", NO_DIFFERENCE, "A better"))


def combine(rates: Sequence[SeedSummary]) -> Interval:
    """Mean of the rates of an arm on several test sets.

    The test sets are independent, so the squares of the half widths add up. The interval holds for these
    corpora, not for others.
    """
    mean = sum(rate.mean for rate in rates) / len(rates)
    below = sum((rate.mean - rate.low) ** 2 for rate in rates) ** 0.5 / len(rates)
    above = sum((rate.high - rate.mean) ** 2 for rate in rates) ** 0.5 / len(rates)
    return Interval(mean, mean - below, mean + above)


def examine_runs(results: Path, first: Record, second: Record) -> dict[str, PairTests]:
    """Paired bootstrap and MAPSSWE of two runs, by metric.

    Args:
        results: folder of the records, with the references.
        first, second: A and B of the comparison.

    Raises:
        UserError: references or hypotheses differ from those that were counted.
    """
    reference = results / "references" / first.run.corpus / TEST
    texts = read_kaldi_text(reference)
    sides = [read_hypotheses(results, record.run, TEST) for record in (first, second)]
    found = {}
    for metric in METRICS:
        tokens = [
            [TOKENIZERS[metric](TextPair(key, key, texts[key], side[key])) for key in side] for side in sides
        ]
        found[metric] = examine_pair(*tokens)
        for record, errors in zip((first, second), found[metric].errors, strict=True):
            if errors != record.sets[TEST].errors[metric].tolist():
                raise UserError(
                    f"{record.run.title} was not scored on {reference} as it is: remove that record"
                )
    return found
