"""The section of the report about how long an arm trains until it is as good as LoRA."""

from collections.abc import Iterator, Sequence
from statistics import mean

from espnet_wsm.experiments.costs import Setup
from espnet_wsm.experiments.estimates import System
from espnet_wsm.experiments.runs import rank_arm
from espnet_wsm.experiments.sources import Sources
from espnet_wsm.scoring.results import NONE
from espnet_wsm.tables import render_table

RIVAL = "lora"
CURVE = "valid cer_ctc"
HEADER = ("corpus", "arm", "k", "best (%)", "epochs to LoRA's best", "step (s)", "time / LoRA's")


def list_times(sources: Sources) -> Iterator[str]:
    """Time to the best error rate of LoRA in the most layers; nothing without its runs or without costs."""
    steps = {row["setup"]: row["step_s"]["median"] for row in (sources.costs or {}).get("rows", ())}
    rows = []
    for corpus in dict.fromkeys(system.run.corpus for system in sources.study.systems):
        systems = [system for system in sources.study.systems if _fits(system, corpus, steps)]
        rivals = [system for system in systems if system.run.arm == RIVAL]
        if len(systems) > 1 and rivals:
            rows += _list_rows(systems, max(rivals, key=lambda system: system.run.num_replaced), steps)
    if not rows:
        return
    yield "## Time to LoRA's error rate"
    yield (
        "The mean over seeds of the CER on the development set after each epoch, as ESPnet's trainer counts "
        "it, until it is as low as the best one of LoRA in the most layers that were run. Time is epochs "
        "times the step of the table of costs, with straight lines between epochs; a transfer's time, which "
        "all seeds share, is not in it."
    )
    yield render_table(HEADER, rows, num_left=2)


def _find_setup(system: System) -> Setup:
    return Setup(system.run.arm, system.run.num_replaced)


def _fits(system: System, corpus: str, steps: dict[Setup, float]) -> bool:
    of_corpus = system.run.corpus == corpus and system.run.minutes is None and system.plain
    curves = all(len(record.curves.get(CURVE, ())) for record in system.records)
    return of_corpus and curves and _find_setup(system) in steps


def _list_rows(systems: Sequence[System], rival: System, steps: dict[Setup, float]) -> Iterator[tuple]:
    goal = min(_mean_curve(rival))
    reference = find_epoch(_mean_curve(rival), goal) * steps[_find_setup(rival)]
    for system in sorted(systems, key=lambda each: (each.run.num_replaced, rank_arm(each.run.arm))):
        curve, step = _mean_curve(system), steps[_find_setup(system)]
        epochs = find_epoch(curve, goal)
        yield (
            system.run.corpus,
            system.run.arm,
            str(system.run.num_replaced),
            f"{100 * min(curve):.2f}",
            *((NONE,) if epochs is None else (f"{epochs:.1f}",)),
            f"{step:.2f}",
            *((NONE,) if epochs is None else (f"{epochs * step / reference:.2f}",)),
        )


def _mean_curve(system: System) -> list[float]:
    """CER after each epoch that all seeds have."""
    return [
        mean(values) for values in zip(*(record.curves[CURVE] for record in system.records), strict=False)
    ]


def find_epoch(curve: Sequence[float], goal: float) -> float | None:
    """When a curve first reaches ``goal``, in epochs, with a straight line between two; None = never.

    What comes before the first epoch is not known: a curve that is there after one has taken all of it.
    """
    for place, value in enumerate(curve):
        if value <= goal:
            before = curve[place - 1] if place else value
            return place + 1.0 if before <= goal or not place else place + (before - goal) / (before - value)
    return None
