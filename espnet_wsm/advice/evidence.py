"""What the grids of this project have measured, read from their configurations and records."""

import functools
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median

import espnet_wsm
from espnet_wsm.errors import UserError
from espnet_wsm.experiments.estimates import NO_DIFFERENCE, Study, System, compare
from espnet_wsm.experiments.grid import Grid, read_grid
from espnet_wsm.experiments.records import DEV, read_mapping, read_records
from espnet_wsm.files import read_yaml
from espnet_wsm.frames import SAMPLE_RATE

ROOT = Path(espnet_wsm.__file__).parents[1]
USUAL_K = 2
FEWEST_ARMS = 2  # that have to have been run on the same corpora for one of them to be chosen
# What stands in the comment of each file of conf/upstream: GB that are fixed, MB of a second of audio.
_CARD = re.compile(r"\(0\.9 x card - ([\d.]+) GB\) / ([\d.]+) MB")


@dataclass(frozen=True)
class Evidence:
    """A grid with its records.

    Args:
        name: of ``conf/experiments/NAME.yaml`` and ``results/FOLDER``.
        grid: the configuration.
        study: the records.
        chosen: the learning rate of each arm that has chosen one here.
        source: where it is, from the top of the repository.
    """

    name: str
    grid: Grid
    study: Study
    chosen: dict[str, float]
    source: str

    @property
    def rates(self) -> dict[str, float]:
        """The learning rates of arms, chosen here or in the grid that this one takes them from."""
        return {**self.grid.rates, **self.chosen}

    def find_rate_source(self, arm: str) -> str:
        """The file in which the rate of an arm was found."""
        return f"{self.source}/chosen_lr.json" if arm in self.chosen else str(self.grid.rates_from)

    @cached_property
    def systems(self) -> dict[tuple[str, int], dict[str, System]]:
        """Arm and k -> corpus -> system, with all training data and everything as configured."""
        found: dict[tuple[str, int], dict[str, System]] = {}
        for system in self.study.systems:
            if system.plain and system.run.minutes is None and system.run.num_replaced:
                found.setdefault((system.run.arm, system.run.num_replaced), {})[system.run.corpus] = system
        return found

    @cached_property
    def contenders(self) -> dict[str, dict[str, System]]:
        """The arms that were run with the usual k on the most corpora, on those that all of them have."""
        ran = {
            arm: of
            for (arm, k), of in self.systems.items()
            if k == USUAL_K and arm in self.rates and len(of) > 1
        }
        sizes = sorted((len(of) for of in ran.values()), reverse=True)
        if len(sizes) < FEWEST_ARMS:
            return {}
        ran = {arm: of for arm, of in ran.items() if len(of) >= sizes[FEWEST_ARMS - 1]}
        common = sorted(set.intersection(*(set(of) for of in ran.values())))
        return {arm: {name: of[name] for name in common} for arm, of in ran.items()} if common else {}

    def mean(self, of: dict[str, System], name: str = DEV) -> float:
        """Mean CER over corpora on their sets of this name."""
        return fmean(system.mean("cer", name) for system in of.values())

    @cached_property
    def ranking(self) -> list[tuple[str, float]]:
        """The contenders by their CER on the development sets, lowest first."""
        return sorted(((arm, self.mean(of)) for arm, of in self.contenders.items()), key=lambda pair: pair[1])

    @property
    def arm(self) -> str:
        """The contender with the lowest CER on the development sets; the test sets are not asked."""
        return self.ranking[0][0]

    def count_not_told_apart(self, arm: str, other: str) -> tuple[int, int]:
        """On how many test sets no difference is found, and of how many."""
        pairs = [(system, self.contenders[other][name]) for name, system in self.contenders[arm].items()]
        return sum(compare(*pair).verdict == NO_DIFFERENCE for pair in pairs), len(pairs)

    def list_depths(self, arm: str) -> list[tuple[int, float]]:
        """Numbers of replaced layers of an arm with their CER on the development sets, lowest first."""
        ran = {k: of for (name, k), of in self.systems.items() if name == arm}
        common = set.intersection(*(set(of) for of in ran.values()))
        rates = [(k, self.mean({name: of[name] for name in common})) for k, of in ran.items()]
        return sorted(rates, key=lambda pair: pair[1])

    @property
    def corpora(self) -> tuple[str, ...]:
        """Those that the contenders are compared on."""
        return tuple(next(iter(self.contenders.values())))

    @property
    def minutes_of_training(self) -> float:
        """Median wall time of a training, as busy as the grid's machine was."""
        return median(record.seconds for record in self.study.records) / 60

    @cached_property
    def training(self) -> dict[str, str]:
        """The grid's ``asr_args`` by name, ``max_steps`` among them, over those of its ``train_config``."""
        config = read_yaml(ROOT / "conf" / Path(self.grid.train_config).name)
        names = ("max_epoch", "num_iters_per_epoch", "batch_bins")
        found = {name: str(config[name]) for name in names}
        words = self.grid.recipe_options.get("asr_args", "").split()
        found |= {name[2:]: value for name, value in zip(words[::2], words[1::2], strict=True)}
        return found

    @property
    def steps(self) -> int:
        """Of a training."""
        return int(self.training["max_epoch"]) * int(self.training["num_iters_per_epoch"])

    @property
    def batch_seconds(self) -> float:
        """Of audio in a step."""
        return int(self.training["batch_bins"]) / SAMPLE_RATE


@functools.cache
def read_evidence(name: str, folder: str) -> Evidence:
    """The grid ``conf/experiments/NAME.yaml`` with its records in ``results/FOLDER``.

    Raises:
        UserError: they are not there (an installed copy has neither), or are damaged.
    """
    config, results = ROOT / f"conf/experiments/{name}.yaml", ROOT / "results" / folder
    if not config.is_file() or not results.is_dir():
        raise UserError(
            f"{ROOT} has no {config.name} or no results/{folder}: suggestions come from the records of the "
            "experiments; call espnet-wsm of the project's checkout"
        )
    study = Study(read_records(results))
    chosen = read_mapping(results / "chosen_lr.json") or {}
    evidence = Evidence(name, read_grid(config), study, chosen, f"results/{folder}")
    if not evidence.contenders:
        raise UserError(f"{results} has too few records of {config.name} to choose from: restore them")
    return evidence


def read_card_limit(upstream: str, card_gb: float) -> float | None:
    """Seconds of audio that fit on a card by the comment of ``conf/upstream/NAME.yaml``; None without one."""
    found = _CARD.search((ROOT / f"conf/upstream/{upstream}.yaml").read_text(encoding="utf-8"))
    return found and max(0.0, (0.9 * card_gb - float(found[1])) * 1000 / float(found[2]))
