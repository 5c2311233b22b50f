"""What is measured, in which order, and what each measurement will need."""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from espnet_wsm.benchmark.config import BenchmarkConfig
from espnet_wsm.benchmark.team import Progress, Team


@dataclass(frozen=True)
class Point:
    """Where arms are compared: a batch of equally long utterances in one precision."""

    seconds: float
    batch: int
    dtype: str
    places: tuple[str, ...]

    def key(self) -> dict[str, Any]:
        """What a measurement says of its point."""
        return {"seconds": self.seconds, "batch": self.batch, "dtype": self.dtype}


def list_points(config: BenchmarkConfig, device: str) -> list[Point]:
    """All points, the least audio first, so that each can be foreseen from smaller ones."""
    reference = (config.reference.seconds, config.reference.batch)
    places: dict[tuple[float, int], tuple[str, ...]] = {(s, 1): ("lengths",) for s in config.lengths_s}
    places[reference] = (*places.get(reference, ()), "reference")
    sizes = sorted(places, key=lambda size: (size[0] * size[1], size[1]))
    return [Point(*size, dtype, places[size]) for dtype in config.dtypes[device] for size in sizes]


def plan_kinds(config: BenchmarkConfig) -> dict[str, tuple[str, ...]]:
    """What is measured of each arm; decoding only of one of those that decode alike."""
    decoders = find_decoders(config).values()
    return {
        name: tuple(kind for kind in arm.kinds() if kind != "decode" or name in decoders)
        for name, arm in config.arms.items()
    }


def find_decoders(config: BenchmarkConfig) -> dict[tuple[str, ...], str]:
    """For each way to decode the arm that stands for it: the one measured at the most points."""
    points = list_points(config, "cpu")
    found: dict[tuple[str, ...], tuple[int, str]] = {}
    for name, arm in config.arms.items():
        if "decode" in arm.measure:
            count = sum(arm.takes_part(point.seconds, point.places) for point in points)
            if count > found.get(arm.inference_key(), (0, ""))[0]:
                found[arm.inference_key()] = count, name
    return {key: name for key, (_, name) in found.items()}


def extrapolate(known: Mapping[float, float], length: float) -> float:
    """Value at ``length`` from values at shorter ones, for costs with a linear and a quadratic part.

    One known value is taken to grow with the square, two or more as a*x + b*x^2 through the last two, with a
    and b not negative. 0 when nothing is known.
    """
    if not known:
        return 0.0
    *others, last = sorted(known)
    if not others:
        return known[last] * max(1.0, length / last) ** 2
    before = others[-1]
    rates = known[before] / before, known[last] / last
    b = (rates[1] - rates[0]) / (last - before)
    b = min(max(b, 0.0), rates[1] / last)
    a = rates[1] - b * last
    return a * length + b * length**2


class Measuring:
    """Which measurement comes next, what it will need, and what came out.

    Args:
        config: what to measure.
        team: the arms' processes, started.
        device: ``cpu`` or ``cuda``.
        deadline: ``time.monotonic()`` at which the last measurement should have ended.
    """

    def __init__(self, config: BenchmarkConfig, team: Team, device: str, deadline: float):
        self.config, self.team, self.deadline = config, team, deadline
        self.points = list_points(config, device)
        self.measurements: list[dict[str, Any]] = []
        self.skipped: list[dict[str, Any]] = []
        self._kinds = plan_kinds(config)
        self._given_up: set[tuple] = set()
        self._order = random.Random(config.seed)

    def num_planned(self) -> int:
        """Measurements if nothing is skipped and no time runs out."""
        return sum(len(self._plan(point, number)) for point, number in self._sweeps())

    def run(self, progress: Progress) -> Iterator[None]:
        """Measure everything; yields after each sweep over the arms at one point."""
        for point, number in self._sweeps():
            plan = self._plan(point, number)
            self._order.shuffle(plan)
            for arm, kind in plan:
                at = f"{point.batch} x {point.seconds:g} s {point.dtype}"
                progress.show(f"{arm}: {kind} {at}, round {number}")
                self._measure(arm, kind, point, number)
                progress.update()
            yield

    def _sweeps(self) -> Iterator[tuple[Point, int]]:
        """(point, round): everything once, then what the ratios are of, then the rest."""
        yield from ((point, 0) for point in self.points)
        for place in (True, False):
            points = [point for point in self.points if ("reference" in point.places) == place]
            yield from ((point, number + 1) for number in range(self.config.rounds) for point in points)

    def _plan(self, point: Point, number: int) -> list[tuple[str, str]]:
        """(arm, kind) at ``point`` in round ``number``; round 0 also counts saved bytes."""
        return [
            (name, kind)
            for name, arm in self.config.arms.items()
            if arm.takes_part(point.seconds, point.places)
            for kind in self._kinds[name]
            if number == 0 or kind in arm.measure
        ]

    def _measure(self, arm: str, kind: str, point: Point, number: int) -> None:
        place = {"arm": arm, "kind": kind, **point.key()}
        key = tuple(place.values())
        if key in self._given_up:
            return
        seconds = self._foresee(arm, kind, point, "seconds_taken")
        spent = sum(m["seconds_taken"] for m in self.measurements if place.items() <= m.items())
        late = time.monotonic() + seconds > self.deadline
        if number > 0 and (late or spent + seconds > self.config.seconds_per_point):
            self._given_up.add(key)
            return
        reason = f"about {seconds:.0f} s more would pass the limit of {self.config.minutes:g} min"
        if not late:
            start = time.monotonic()
            count_saved = number == 0 and kind == "step"
            request = {"kind": kind, **point.key(), "count_saved": count_saved}
            answer = self.team.workers[arm].ask(request | {"need": self._foresee_memory(arm, kind, point)})
            taken = time.monotonic() - start
            if not answer.keys() & {"failed", "skipped"}:
                self.measurements.append(
                    place | {"round": number} | answer | {"seconds_taken": round(taken, 3)}
                )
                return
            reason = answer.get("skipped") or f"failed: {answer['failed']}"
        self._given_up.add(key)
        self.skipped.append(place | {"round": number, "reason": reason})

    def _foresee(self, arm: str, kind: str, point: Point, value: str) -> float:
        """Estimate of a measured value at ``point``; 0 when there is nothing to go by."""
        wanted = {"arm": arm, "kind": kind, "dtype": point.dtype, "batch": point.batch}
        known: dict[float, float] = {}
        for m in self.measurements:
            if wanted.items() <= m.items() and value in m and m["seconds"] <= point.seconds:
                known[m["seconds"]] = max(m[value], known.get(m["seconds"], 0.0))
        if point.seconds in known:
            return known[point.seconds]
        if not known and point.batch > 1:
            single = Point(point.seconds, 1, point.dtype, point.places)
            return point.batch * self._foresee(arm, kind, single, value)
        return extrapolate(known, point.seconds)

    def _foresee_memory(self, arm: str, kind: str, point: Point) -> float:
        """Bytes above the resident ones: at least what autograd will keep, which can be foreseen exactly."""
        values = ("above_baseline_bytes", "saved_bytes") if kind == "step" else ("above_baseline_bytes",)
        return max(self._foresee(arm, kind, point, value) for value in values)
