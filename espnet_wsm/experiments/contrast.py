"""The section of a report on several upstreams: what is different from one to the other."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from espnet_wsm.errors import UserError
from espnet_wsm.experiments.cells import SIGNED, join, name_setting, show_difference, show_mean
from espnet_wsm.experiments.estimates import (
    FEWEST_TO_POOL,
    NO_DIFFERENCE,
    OPPONENT,
    REFERENCE,
    Study,
    count_verdicts,
    pool_differences,
)
from espnet_wsm.experiments.records import Counts
from espnet_wsm.experiments.runs import rank_arm
from espnet_wsm.experiments.sources import Sources
from espnet_wsm.scoring.results import NONE
from espnet_wsm.scoring.seeds import SeedComparison
from espnet_wsm.scoring.significance import name_verdict
from espnet_wsm.tables import render_table

# How a verdict is written where it stands beside others.
VERDICTS = {"B better": REFERENCE, "A better": OPPONENT, NO_DIFFERENCE: NO_DIFFERENCE}


def list_contrast(all_sources: Sequence[Sources]) -> Iterator[str]:
    """Pre-trained attention and the other arms beside the reference, one upstream beside the other.

    Raises:
        UserError: one of them is given twice, or they have different test sets of one corpus.
    """
    folders = [each.results.resolve().name for each in all_sources]
    if twice := {name for name in folders if folders.count(name) > 1}:
        raise UserError(f"{min(twice)} is the name of several of these folders of results: give each once")
    _check_same_tests(all_sources)
    names = _name_sources(all_sources, folders)
    yield "## What differs between the upstreams"
    yield "\n".join(f"- **{name}**: {each.title}." for name, each in zip(names, all_sources, strict=True))
    studies = {name: each.study for name, each in zip(names, all_sources, strict=True)}
    yield from _list_opponent(studies)
    yield from _list_arms(studies)


def _name_sources(all_sources: Sequence[Sources], folders: Sequence[str]) -> list[str]:
    """Of each the upstream, its digest where two have one name, and the folder where it is the same one."""
    columns = [each.name for each in all_sources], [each.upstreams for each in all_sources], folders
    names = [
        next(name for name, column in zip(row, columns, strict=True) if column.count(name) == 1)
        for row in zip(*columns, strict=True)
    ]
    return names if len(set(names)) == len(names) else list(folders)


def _check_same_tests(all_sources: Sequence[Sources]) -> None:
    """Refuse results whose test sets of one corpus are different ones."""
    seen: dict[str, tuple[Path, Counts]] = {}
    for sources in all_sources:
        for corpus, test in sources.study.tests.items():
            place, known = seen.setdefault(corpus, (sources.results, test))
            if not known.is_of_same_texts(test):
                raise UserError(f"{place} and {sources.results} have different test sets of {corpus}")


def _list_opponent(studies: Mapping[str, Study]) -> Iterator[str]:
    """The reference and its main rival, a row for each upstream and corpus."""
    rows = []
    for name, study in studies.items():
        for setting in study.main:
            comparison = study.compare_arms(setting).get(OPPONENT)
            if comparison is None:
                continue
            systems = study.arms(setting)
            difference, span = show_difference(comparison.difference)
            rows.append(
                (
                    name,
                    setting.corpus,
                    show_mean(systems[REFERENCE].cer),
                    show_mean(systems[OPPONENT].cer),
                    difference,
                    span,
                    VERDICTS[comparison.verdict],
                )
            )
    if not rows:
        return
    settings = {name_setting(setting) for study in studies.values() for setting in study.main}
    yield f"Test CER, {join(sorted(settings))}. Above 0, {REFERENCE} makes fewer errors:"
    header = ("upstream", "corpus", REFERENCE, OPPONENT, "difference", "95 % interval", "fewer errors")
    yield render_table(header, rows, num_left=2)


def _list_arms(studies: Mapping[str, Study]) -> Iterator[str]:
    """Every arm against the reference, a row for each arm and three columns for each upstream."""
    compared = {name: study.compare_all(study.main) for name, study in studies.items()}
    rows = []
    for arm in sorted({arm for found in compared.values() for arm in found}, key=rank_arm):
        cells = (cell for found in compared.values() for cell in _show_arm(arm, found.get(arm, ())))
        rows.append((arm, *cells))
    if not rows:
        return
    columns = [
        title
        for name in compared
        for title in (f"{name}: {REFERENCE} / none / arm", "mean difference", "verdict")
    ]
    yield (
        f"All arms against {REFERENCE}: on how many corpora {REFERENCE} makes fewer errors, no difference is "
        "found, and the arm makes fewer; and the mean over these corpora of the arm's CER minus that of "
        f"{REFERENCE}. Not every arm was run on every corpus. A verdict over several corpora needs "
        f"{FEWEST_TO_POOL} of them."
    )
    yield render_table(("arm", *columns), rows, num_left=1)


def _show_arm(arm: str, comparisons: Sequence[SeedComparison]) -> list[str]:
    if not comparisons:
        return [NONE, NONE, NONE]
    numbers = " / ".join(map(str, count_verdicts(comparisons)))
    mean, interval = pool_differences(comparisons)
    verdict = NONE
    if len(comparisons) == 1:
        verdict = name_verdict(comparisons[0].verdict, arm, REFERENCE)
    elif interval is not None:
        verdict = name_verdict(interval.verdict, arm, REFERENCE)
    return [numbers, f"{mean:{SIGNED}}", verdict]
