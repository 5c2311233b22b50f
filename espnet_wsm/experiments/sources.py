"""The input of a report: the records of a folder of results, and the figures drawn from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.experiments.costs import read_costs
from espnet_wsm.experiments.estimates import Study
from espnet_wsm.experiments.records import read_asked, read_mapping, read_records
from espnet_wsm.experiments.runner import CHOSEN

FIGURES = "figures"


class Sources:
    """The records of a grid, and the other files beside them.

    Args:
        results: folder of the records.
        link: path of the folder of figures in the links of the report.

    Raises:
        UserError: there are no records, or something is damaged.
    """

    def __init__(self, results: Path, link: str):
        self.results, self._link = results, link
        self.asked = read_asked(results)
        self.chosen: dict[str, float] = read_mapping(results / CHOSEN) or {}
        self.costs = read_costs(results)
        self.drawn: set[str] = set()
        records = read_records(results)
        wanted = None if self.asked is None else {*self.asked["sweep"], *self.asked["runs"]}
        used = [record for record in records if wanted is None or record.run.title in wanted]
        self.num_left_out = len(records) - len(used)
        self.study = Study(used)
        if not self.study.records:
            raise UserError(f"{results} holds no record of a run to report: run the experiments first")
        if not self.study.main:
            raise UserError(
                f"{results} holds only runs with a window or width of their own: the report needs one with "
                "those of the configuration beside them"
            )

    @property
    def upstreams(self) -> str:
        """Names and digests of the upstreams of the records."""
        records = (*self.study.records, *self.study.sweep)
        return ", ".join(sorted({record.upstream for record in records}))

    @property
    def name(self) -> str:
        """The names alone."""
        return ", ".join(each.rsplit(" ", 1)[0] for each in self.upstreams.split(", "))

    @property
    def title(self) -> str:
        """What the grid says that it is about, or the upstream's name."""
        return (self.asked or {}).get("title") or self.name

    @property
    def missing(self) -> list[str]:
        """Runs that the grid asks for but that are missing."""
        if self.asked is None:
            return []
        there = {record.run.title for record in (*self.study.records, *self.study.sweep)}
        return sorted({*self.asked["runs"], *self.asked["sweep"]} - there)

    def figure(self, name: str) -> Path:
        """The file of a figure."""
        return self.results / FIGURES / f"{name}.png"

    def draw(self, name: str, caption: str, plot: Callable[..., None], *arguments: Any) -> str:
        """Draw a figure with a function of ``figures`` and return the Markdown that shows it."""
        plot(self.figure(name), *arguments)
        self.drawn.add(name)
        return f"![{caption}]({self._link}/{name}.png)\n\n*{caption}*"
