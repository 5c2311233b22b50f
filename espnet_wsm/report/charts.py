"""Charts as numbers for an SVG template: scales, ticks, lines and points, in colours of the page's theme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espnet_wsm.report.curves import Curves
from espnet_wsm.report.decoded import Decoded
from espnet_wsm.scoring.significance import Resampling, bootstrap_error_rate

WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
MOST_TICKS = 6
BINS = 8
FEWEST_IN_BIN = 5
QUICK = Resampling(replicates=1000)


@dataclass(frozen=True)
class Point:
    """In the units of the axes; ``low`` and ``high`` end an interval; ``note`` is told on pointing at it."""

    x: float
    y: float
    note: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points joined by a line; ``look`` is a class of report.css, ``dashed`` one of the line."""

    name: str
    points: Sequence[Point]
    look: str = "a"
    dashed: bool = False


@dataclass(frozen=True)
class Scale:
    """From numbers to places in the picture."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Up to ``MOST_TICKS`` round numbers."""
        if self.logarithmic:
            tens = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = [s * 10.0**t for t in tens for s in steps if self.low <= s * 10.0**t <= self.high]
                if len(found) <= MOST_TICKS:
                    return found
            return found[:: len(found) // MOST_TICKS + 1]
        step = find_step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        return [step * i for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def find_step(span: float) -> float:
    """A round distance of ticks: 1, 2 or 5 times a power of ten."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / MOST_TICKS))
    return next(step * power for step in (1, 2, 5, 10) if span / (step * power) <= MOST_TICKS)


@dataclass(frozen=True)
class Chart:
    """What chart.svg draws."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x: Scale
    y: Scale
    whole: bool
    width: int = WIDTH
    height: int = HEIGHT

    def list_x_ticks(self) -> list[float]:
        """Those of the horizontal axis; epochs are whole numbers."""
        return [tick for tick in self.x.ticks() if not self.whole or abs(tick - round(tick)) < 1e-6]

    @property
    def headings(self) -> tuple[str, ...]:
        """Of the table that tells the same."""
        return (self.x_label, *(one.name or self.y_label for one in self.series))

    def list_rows(self) -> list[tuple[str, ...]]:
        """Cells of that table: figures of all series at each x."""
        places = sorted({point.x for one in self.series for point in one.points})
        found = [{point.x: point for point in one.points} for one in self.series]
        return [
            (f"{place:.4g}", *(f"{one[place].y:.4g}" if place in one else "–" for one in found))
            for place in places
        ]


def make_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    from_zero: bool = True,
    whole: bool = False,
) -> Chart | None:
    """A chart whose axes hold all points; None without any.

    Args:
        title, x_label, y_label: words.
        series: what is drawn.
        from_zero: whether the vertical axis begins at 0; where not, it is logarithmic if the values are
            spread over more than a factor of ten.
        whole: whether the horizontal axis has whole numbers alone.
    """
    series = tuple(one for one in series if one.points)
    points = [point for one in series for point in one.points]
    if not points:
        return None
    values = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
    low, high = min(values), max(values)
    logarithmic = not from_zero and low > 0 and high > 10 * low
    if from_zero:
        low, high = 0.0, (high or 1.0)
    if not logarithmic:
        step = find_step(high - low)
        low, high = step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)
    places = [point.x for point in points]
    first, last = min(places), max(places)
    room = 0.0 if whole else 0.04 * (last - first)
    if first == last:
        room = 0.5
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        series=series,
        x=Scale(first - room, last + room, LEFT, WIDTH - RIGHT),
        y=Scale(low, high, HEIGHT - BOTTOM, TOP, logarithmic),
        whole=whole,
    )


def draw_curves(name: str, curves: Curves, look: str = "a") -> dict[str, list[Series]]:
    """``loss`` and ``CER`` -> the series of training and validation."""
    drawn: dict[str, list[Series]] = {"loss": [], "CER": []}
    for part, words in (("train", "training"), ("valid", "validation")):
        for what, keys in (("loss", ("loss",)), ("CER", ("cer_ctc", "cer"))):
            found = next((values for key in keys if (values := curves.figures.get(f"{part} {key}"))), {})
            points = []
            for epoch, value in found.items():
                value = 100 * value if what == "CER" else value
                points.append(Point(epoch, value, f"{name}, epoch {epoch}: {words} {what} {value:.4g}"))
            title = f"{name}, {words}" if name else words
            drawn[what].append(Series(title, points, look, dashed=part == "train"))
    return drawn


def bin_errors(name: str, values: Sequence[float], sets: Sequence[tuple[int, int]], look: str) -> Series:
    """CER in bins of about as many utterances each, with 95 % intervals.

    Args:
        name: of the series.
        values: (n,) what is on the horizontal axis.
        sets: (n,) errors and characters of each utterance.
        look: see :class:`Series`.
    """
    order = np.argsort(values, kind="stable")
    number = max(1, min(BINS, len(order) // FEWEST_IN_BIN))
    points = []
    for chosen in np.array_split(order, number) if len(order) else ():
        errors, characters = np.array([sets[i] for i in chosen]).T
        place = float(np.median([values[i] for i in chosen]))
        rate, low, high = 100 * errors.sum() / characters.sum(), None, None
        if len(chosen) > 1:
            interval = bootstrap_error_rate(errors, characters, resampling=QUICK)
            low, high = interval.low, interval.high
        first, last = (values[i] for i in (chosen[0], chosen[-1]))
        span = "" if low is None else f" ({low:.1f} to {high:.1f})"
        note = f"{first:.3g} to {last:.3g}: CER {rate:.1f}{span}, {len(chosen)} utterances"
        points.append(Point(place, rate, f"{name}, {note}" if name else note, low, high))
    return Series(name, points, look)


def draw_bins(systems: Sequence[tuple[str, Sequence[Decoded]]]) -> list[Chart]:
    """CER against duration, and against speaking rate; nothing where lengths are not known."""
    series: tuple[list[Series], list[Series]] = ([], [])
    for look, (name, sets) in zip("ab", systems, strict=False):
        known = [
            (one.seconds[u.pair.id], u.characters)
            for one in sets
            for u in one.utterances
            if u.pair.id in one.seconds
        ]
        counts = [(c.errors, c.words) for _, c in known]
        name = name if len(systems) > 1 else ""
        series[0].append(bin_errors(name, [seconds for seconds, _ in known], counts, look))
        series[1].append(bin_errors(name, [c.words / seconds for seconds, c in known], counts, look))
    drawn = (
        make_chart("CER and duration", "seconds", "CER, %", series[0]),
        make_chart("CER and speaking rate", "characters per second", "CER, %", series[1]),
    )
    return [chart for chart in drawn if chart]
