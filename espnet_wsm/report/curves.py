"""Figures of each epoch, from the log of ESPnet's trainer."""

import re
from dataclasses import dataclass, field
from pathlib import Path

EPOCH = re.compile(r" (\d+)epoch results: (\[.*)")
PART = re.compile(r"\[(train|valid)\] (.*?)(?=, \[|$)")
FIGURE = re.compile(r"(\w+)=(-?\d[\d.]*(?:e[+-]?\d+)?)(?=,|$)")
SPAN = re.compile(r"([\d.]+) (second|minute|hour|day|week)")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}


@dataclass
class Curves:
    """What a training printed after each epoch.

    Args:
        epochs: their numbers, rising. A log begins where the training was last resumed.
        figures: ``train loss``, ``valid cer_ctc``, ... -> epoch -> value; what is no number is left out.
        seconds: wall time of these epochs.
    """

    epochs: list[int] = field(default_factory=list)
    figures: dict[str, dict[int, float]] = field(default_factory=dict)
    seconds: float = 0.0


def read_curves(log: Path) -> Curves:
    """Read ``train.log``; a log that is not there has no epochs."""
    curves = Curves()
    if not log.is_file():
        return curves
    found = {}
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if "epoch results:" in line and (match := EPOCH.search(line)):
                found[int(match[1])] = match[2]  # an epoch that was run again counts as the last time
    curves.epochs = sorted(found)
    for epoch in curves.epochs:
        for part, text in PART.findall(found[epoch]):
            for name, value in FIGURE.findall(text):
                curves.figures.setdefault(f"{part} {name}", {})[epoch] = float(value)
            _, _, time = text.partition(", time=")
            spans = SPAN.findall(time.partition(", total_count")[0])
            curves.seconds += sum(float(number) * SECONDS[unit] for number, unit in spans)
    return curves
