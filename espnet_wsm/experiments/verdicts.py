"""All arms against one of them over the corpora of a summary: how often which was better, by how much."""

from collections.abc import Iterator

from espnet_wsm.experiments.cells import SIGNED, show_span
from espnet_wsm.experiments.estimates import (
    FEWEST_TO_POOL,
    NO_DIFFERENCE,
    OPPONENT,
    REFERENCE,
    Study,
    count_verdicts,
    pool_differences,
)
from espnet_wsm.experiments.figures import INTERVAL
from espnet_wsm.experiments.runs import rank_arm
from espnet_wsm.scoring.results import NONE
from espnet_wsm.scoring.significance import name_verdict
from espnet_wsm.tables import render_table


def list_verdicts(study: Study) -> Iterator[str]:
    """How often each verdict was reached, and the mean difference over the corpora."""
    yield (
        f"**Bold**: lowest of its corpus. >: higher than that of {REFERENCE}, <: lower; no sign: no "
        "difference found. The interval of the mean holds for these corpora: their test sets are "
        "independent, so half widths add as squares."
    )
    tables = [_render_verdicts(study, reference) for reference in (REFERENCE, OPPONENT)]
    if not any(tables):
        return
    yield from filter(None, tables)
    yield (
        "The mean difference takes each corpus once. Its interval is Student's, of the differences as a "
        f"sample of corpora ({FEWEST_TO_POOL} at least): it also covers what the corpora differ in. Ratio: "
        "the arm's mean CER over that of the other, of the corpora that have both."
    )


def _render_verdicts(study: Study, reference: str) -> str | None:
    """All arms against one of them, over corpora; None if that was not run."""
    found = study.compare_all(study.main, reference)
    rows = []
    for arm in sorted(found, key=rank_arm):
        mean, interval = pool_differences(found[arm])
        cells = [f"{study.find_ratio(study.main, arm, reference):.3f}", f"{mean:{SIGNED}}", NONE, NONE]
        if interval is not None:
            cells[2:] = [show_span(interval, SIGNED), name_verdict(interval.verdict, arm, reference)]
        rows.append((arm, *map(str, (len(found[arm]), *count_verdicts(found[arm]))), *cells))
    header = (
        "arm",
        "corpora",
        f"{reference} better",
        NO_DIFFERENCE,
        "arm better",
        "ratio",
        "mean difference",
    )
    return render_table((*header, INTERVAL, "verdict over corpora"), rows, num_left=1) if rows else None
