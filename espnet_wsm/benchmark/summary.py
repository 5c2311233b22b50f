"""What the measurements come to: medians, growth with length, ratios."""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from espnet_wsm.benchmark.ratios import RATIOS
from espnet_wsm.meters import spread

GROWTH_FROM, GROWTH_TO, GROWTH_POINTS = 10.0, 160.0, 3  # seconds of audio, and how many lengths it takes
DECODING = ("decode_s", "real_time_factor")
TIMES = ("step_s", "forward_s", "suffix_s", "update_s", *DECODING)
COUNTS = ("saved_bytes", "saved_with_parameters_bytes", "block_saved_bytes")  # the same in every round
PLACE = ("arm", "kind", "seconds", "batch", "dtype")
Row = dict[str, Any]


def group_rounds(measurements: Iterable[Row]) -> list[Row]:
    """One row per arm, kind and point, in which a value that changes from round to round is a list."""
    groups: dict[tuple, Row] = {}
    for m in measurements:
        row = groups.setdefault(tuple(m[name] for name in PLACE), {name: m[name] for name in PLACE})
        for name, value in m.items():
            if name in COUNTS:
                row[name] = value
            elif name not in PLACE:
                row.setdefault(name, []).append(value)
    return list(groups.values())


def fit_exponent(times: Mapping[float, float]) -> float | None:
    """Least-squares slope of log(time) over log(length).

    Args:
        times: length in seconds of audio -> seconds; only lengths from 10 to 160 s count.

    Returns:
        the slope, None with fewer than three lengths.
    """
    used = {x: y for x, y in times.items() if GROWTH_FROM <= x <= GROWTH_TO and y > 0}
    if len(used) < GROWTH_POINTS:
        return None
    line = statistics.linear_regression([math.log(x) for x in used], [math.log(y) for y in used.values()])
    return line.slope


class Summary:
    """Looks up medians and spreads of a result, and derives ratios from them.

    Args:
        result: as in result.json.
    """

    def __init__(self, result: Row):
        self.result, self.config = result, result["config"]
        self._rows = {tuple(row[name] for name in PLACE): row for row in result["measurements"]}
        self.dtypes: tuple[str, ...] = tuple(self.config["dtypes"][result["machine"]["device"]])
        reference = self.config["reference"]
        self.reference: tuple[float, int] = (reference["seconds"], reference["batch"])
        sizes = {(s, 1) for s in self.config["lengths_s"]} | {self.reference}
        self.sizes = sorted(sizes, key=lambda size: (size != self.reference, size))

    def value(self, arm: str, name: str, size: tuple[float, int], dtype: str) -> Any:
        """A value of an arm at (seconds, batch): a count, or median, least and greatest over the rounds.

        The first measurement is a warm-up that also counts saved bytes; its times count only where no other
        was made. None when nothing was measured.
        """
        kind = "decode" if name in DECODING else "step"
        if name in TIMES and kind not in self.config["arms"][arm]["measure"]:
            return None  # timed once, by the way, while its saved bytes were counted
        row = self._rows.get((arm, kind, *size, dtype), {})
        if name in COUNTS or name not in row:
            return row.get(name)
        values = row[name][1:] or row[name] if name in TIMES else row[name]
        values = [value for value in values if value is not None]
        return spread(values) if values else None

    def median(self, arm: str, name: str, size: tuple[float, int], dtype: str) -> float | None:
        """The same as one number."""
        found = self.value(arm, name, size, dtype)
        return found["median"] if isinstance(found, dict) else found

    def curve(self, arm: str, name: str, dtype: str) -> dict[float, float]:
        """Length -> value, of one utterance a batch."""
        found = {s: self.median(arm, name, (s, 1), dtype) for s in self.config["lengths_s"]}
        return {seconds: value for seconds, value in found.items() if value is not None}

    def rounds(self, arm: str, size: tuple[float, int], dtype: str) -> int:
        """How many steps the median is of."""
        row = self._rows.get((arm, "step", *size, dtype))
        return 0 if row is None else max(1, len(row["round"]) - 1)

    def exponent(self, arm: str, name: str, dtype: str) -> float | None:
        """Growth with length of ``step_s`` or ``suffix_s``."""
        return fit_exponent(self.curve(arm, name, dtype))

    def ratios(self, arms: Mapping[str, str], dtype: str) -> dict[str, float | None]:
        """The ratios for the arms named by part; None where a measurement is missing."""
        ratios: dict[str, float | None] = {}
        for name, ratio in RATIOS.items():
            own = [arms[part] for part in ratio.parts if part in arms]
            if ratio.value == "windowed_mean":
                ratios[name] = max(self.result["machine"]["windowed_mean"].values(), default=None)
                continue
            if len(own) < len(ratio.parts):
                ratios[name] = None
                continue
            if len(own) == 1:
                ratios[name] = self.exponent(own[0], ratio.value, dtype)
                continue
            if ratio.value == "checkpoint_bytes":
                upper, lower = (self.result["arms"][arm][ratio.value] for arm in own)
            else:
                upper, lower = (self.median(arm, ratio.value, self.reference, dtype) for arm in own)
            ratios[name] = None if upper is None or not lower else upper / lower
        return ratios

    def mean_other_cpu(self) -> float:
        """Cores that other processes than the measured ones used, averaged over the time of measuring."""
        pairs = [
            pair
            for row in self._rows.values()
            for pair in zip(row["other_cpu"], row["seconds_taken"], strict=True)
            if pair[0] is not None
        ]
        total = sum(taken for _, taken in pairs)
        return sum(cores * taken for cores, taken in pairs) / total if total else 0.0


def complete_result(result: Row) -> Row:
    """``result`` with growth exponents and ratios.

    ``ratios`` are those of the arms that the configuration names, in the first precision; ``ratios_other``
    those of its other readings, ``ratios_by_dtype`` those of the other precisions.
    """
    summary = Summary(result)
    first, *others = summary.dtypes
    named = result["config"]["ratio_arms"]
    readings = result["config"]["ratio_arms_other"]
    return result | {
        "growth": {
            arm: {name: summary.exponent(arm, name, first) for name in ("step_s", "suffix_s")}
            for arm in result["arms"]
        },
        "ratios": summary.ratios(named, first),
        "ratios_other": {reading: summary.ratios(arms, first) for reading, arms in readings.items()},
        "ratios_by_dtype": {dtype: summary.ratios(named, dtype) for dtype in others},
    }
