"""How a report writes numbers, intervals and what was run."""

from collections.abc import Iterable

from espnet_wsm.experiments.costs import Setup
from espnet_wsm.experiments.estimates import Setting, System
from espnet_wsm.experiments.runs import INFINITE, name_window
from espnet_wsm.scoring.results import NONE
from espnet_wsm.scoring.seeds import SeedComparison, SeedSummary
from espnet_wsm.scoring.significance import Interval, name_verdict

CONFIGURED = "as configured"
SIGNED = "+.2f"


def join(values: Iterable[object]) -> str:
    """The values, separated by commas."""
    return ", ".join(map(str, values))


def show_mean(rate: SeedSummary) -> str:
    """E.g. ``23.41 ± 0.52``; a single seed has no deviation."""
    return f"{rate.mean:.2f}" + ("" if rate.deviation is None else f" ± {rate.deviation:.2f}")


def show_span(interval: Interval | SeedSummary, form: str = ".1f") -> str:
    """E.g. ``21.9 to 24.9``."""
    return f"{interval.low:{form}} to {interval.high:{form}}"


def show_difference(interval: Interval) -> tuple[str, str]:
    """Estimate and interval, with their signs."""
    return f"{interval.estimate:{SIGNED}}", show_span(interval, SIGNED)


def show_comparison(comparison: SeedComparison | None, a: str, b: str) -> tuple[str, str, str]:
    """Difference, interval and verdict with the names of two systems; dashes where nothing is compared."""
    if comparison is None:
        return NONE, NONE, NONE
    return *show_difference(comparison.difference), name_verdict(comparison.verdict, a, b)


def show_rate(rate: SeedSummary) -> tuple[str, str]:
    """Mean and interval."""
    return show_mean(rate), show_span(rate)


def show_size(system: System) -> str:
    """Trainable parameters."""
    return f"{system.records[0].trainable:,}"


def show_ratio(value: float | None) -> str:
    """A ratio with two digits."""
    return NONE if value is None else f"{value:.2f}"


def name_amount(minutes: int | None) -> str:
    """An amount of training data."""
    return "all training data" if minutes is None else f"{minutes} min of training data"


def name_setting(setting: Setting) -> str:
    """A setting, without its corpus."""
    return f"k = {setting.num_replaced}, {name_amount(setting.minutes)}"


def name_value(axis: str, value: int | None) -> str:
    """A value of ``minutes``, ``num_replaced``, ``window`` or ``width``, as a tick."""
    if axis == "minutes":
        return "all" if value is None else f"{value} min"
    return name_window(INFINITE) if axis == "window" and value == INFINITE else str(value)


def name_size(axis: str, value: int | None) -> str:
    """A window or width; None is the configured value."""
    return CONFIGURED if value is None else name_value(axis, value)


def name_setup(setup: Setup) -> str:
    """An arm, and those of its sizes that are not as configured."""
    parts = [setup.arm if setup.attention_dropout else f"{setup.arm} without dropout"]
    for axis in ("window", "width"):
        if getattr(setup, axis) is not None:
            parts.append(f"{axis} {name_value(axis, getattr(setup, axis))}")
    return join(parts)
