"""The report of a grid: REPORT.md and its figures, made only from the records."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_wsm.errors import UserError
from espnet_wsm.experiments.contrast import list_contrast
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
from espnet_wsm.experiments.time_sections import list_times
from espnet_wsm.experiments.transfer_sections import list_transfer
from espnet_wsm.files import write_text

REPORT = "REPORT.md"
NAMES = (MAIN_FIGURE, "num_replaced", "minutes", "window", "width", "trade_off", "curves")


def write_report(results: Path | Sequence[Path], out: Path | None = None) -> str:
    """Write the report of one or several folders of results, and its figures, from the records there.

    Args:
        results: folders of the records; the figures go to ``RESULTS/figures`` of each. Records of runs that
            the grid did not ask for (``keep_asked``) are left out. Several folders, each of another upstream,
            make one report, which begins with what differs between them.
        out: the file to write, by default ``REPORT.md`` in the only folder; its links to the figures are
            relative.

    Returns:
        The main tables and the path of the report, for the terminal.

    Raises:
        UserError: there are no records, they are damaged, or they are of different test sets.
    """
    folders = [results] if isinstance(results, Path) else list(results)
    if out is None:
        if len(folders) > 1:
            raise UserError("a report of several folders of results needs the file to write: --out")
        out = folders[0] / REPORT
    place = out.parent
    all_sources = [Sources(each, Path(os.path.relpath(each / FIGURES, place)).as_posix()) for each in folders]
    parts = [
        "<!-- Written by `python -m espnet_wsm.bin.make_report`: change the experiments, not this file. -->",
        "# Results of the experiments",
    ]
    if len(folders) == 1:
        parts += _list_parts(all_sources[0])
    else:
        parts += list_contrast(all_sources)
        for sources in all_sources:
            parts.append(f"## {sources.title}")
            parts += [f"#{part}" if part.startswith("#") else part for part in _list_parts(sources)]
    write_text(out, "\n\n".join(parts).split("\n"))
    said = []
    for sources in all_sources:
        for name in NAMES:  # figures of an earlier report that are not in this one
            if name not in sources.drawn:
                sources.figure(name).unlink(missing_ok=True)
        said.append(f"{render_main(sources.study)}\n\nfigure: {sources.figure(MAIN_FIGURE)}\n\n")
    return f"{''.join(said)}report: {out}"


def _list_parts(sources: Sources) -> Iterator[str]:
    """The parts of the report, separated by empty lines. A section without records yields nothing."""
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
    yield from list_transfer(sources)
    yield from list_costs(sources)
    yield from list_times(sources)
    yield from list_curves(sources)
    yield from list_coverage(sources)
