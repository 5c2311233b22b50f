"""The report of a grid: REPORT.md and its figures, made only from the records."""

import os
from collections.abc import Iterator
from pathlib import Path

from espnet_wsm.experiments.rate_sections import (
    MAIN_FIGURE,
    list_arm_pairs,
    list_axis,
    list_pair,
    list_size,
    list_summary,
    list_tables,
    render_main,
)
from espnet_wsm.experiments.run_sections import list_costs, list_coverage, list_curves, list_facts, list_sweep
from espnet_wsm.experiments.sources import FIGURES, Sources
from espnet_wsm.experiments.statements import list_statements
from espnet_wsm.files import write_text

REPORT = "REPORT.md"
NAMES = (MAIN_FIGURE, "num_replaced", "minutes", "window", "width", "trade_off", "curves")


def write_report(results: Path, out: Path | None = None) -> str:
    """Write the report of a folder of results, and its figures, from the records there.

    Args:
        results: folder of the records; the figures go to ``RESULTS/figures``. Records of runs that the grid
            did not ask for (``keep_asked``) are left out.
        out: the file to write, by default ``RESULTS/REPORT.md``; its links to the figures are relative.

    Returns:
        The main table and the path of the report, for the terminal.

    Raises:
        UserError: there are no records, they are damaged, or they are of different test sets.
    """
    out = results / REPORT if out is None else out
    sources = Sources(results, Path(os.path.relpath(results / FIGURES, out.parent)).as_posix())
    write_text(out, "\n\n".join(_list_parts(sources)).split("\n"))
    for name in NAMES:  # figures of an earlier report that are not in this one
        if name not in sources.drawn:
            sources.figure(name).unlink(missing_ok=True)
    return f"{render_main(sources.study)}\n\nreport: {out}\nfigure: {sources.figure(MAIN_FIGURE)}"


def _list_parts(sources: Sources) -> Iterator[str]:
    """The parts of the report, separated by empty lines. A section without records yields nothing."""
    yield "<!-- Written by `python -m espnet_wsm.bin.make_report`: change the experiments, not this file. -->"
    yield "# Results of the experiments"
    yield from list_facts(sources)
    yield from list_summary(sources)
    yield from list_statements(sources)
    yield from list_tables(sources)
    yield from list_axis(sources, "num_replaced")
    yield from list_axis(sources, "minutes")
    yield from list_size(sources, "window")
    yield from list_size(sources, "width")
    yield from list_sweep(sources)
    yield from list_arm_pairs(sources)
    yield from list_pair(sources)
    yield from list_costs(sources)
    yield from list_curves(sources)
    yield from list_coverage(sources)
