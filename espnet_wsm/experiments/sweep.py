"""Which learning rate each arm gets, and which are tried next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from espnet_wsm.arms import ARMS
from espnet_wsm.experiments.runs import Run

# Rates that a search may reach while it looks for one that is better than its neighbours.
LEAST_RATE, GREATEST_RATE = 1e-6, 0.5


def choose_rates(sweep: Iterable[tuple[Run, float]]) -> dict[str, float]:
    """The learning rate of each arm with the lowest error on the development set, from runs of the sweep.

    If an arm was tried several times at one rate (with other seeds or corpora), the mean counts; among equal
    means, the smaller rate is chosen.
    """
    tried: dict[str, dict[float, list[float]]] = {}
    for run, error in sweep:
        tried.setdefault(run.arm, {}).setdefault(run.lr, []).append(error)
    return {
        arm: min(rates, key=lambda rate: (sum(rates[rate]) / len(rates[rate]), rate))
        for arm, rates in tried.items()
    }


def extend_sweep(sweep: Sequence[tuple[Run, float]]) -> list[Run]:
    """The runs of a sweep to try next: half the lowest rate of arms that chose it, or twice the highest.

    Empty if every arm has a rate that is better than both of its neighbours, or has reached the ends of what
    is tried at all.
    """
    runs = [run for run, _ in sweep]
    more = []
    for arm, chosen in choose_rates(sweep).items():
        rates = {run.lr for run in runs if run.arm == arm}
        edges = {min(rates): 0.5, max(rates): 2.0} if len(rates) > 1 else {}
        factors = [edges[chosen]] if chosen in edges else [] if edges else [0.5, 2.0]
        for rate in (chosen * factor for factor in factors):
            if LEAST_RATE <= rate <= GREATEST_RATE:
                more += [replace(run, lr=rate) for run in runs if run.arm == arm and run.lr == chosen]
    return more


def with_chosen_rates(runs: Iterable[Run], chosen: Mapping[str, float]) -> list[Run]:
    """The runs with the chosen learning rate of their arm, unless they have their own."""
    return [run if run.lr is not None else replace(run, lr=chosen.get(rate_arm(run.arm))) for run in runs]


def rate_arm(arm: str) -> str:
    """The arm whose learning rate an arm has: itself, or the one that it is a variant of."""
    return ARMS[arm].rate_of or arm
