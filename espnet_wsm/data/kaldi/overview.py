"""Overview of data directories: hours, speakers, durations, speaking rates, characters."""

import io
import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_wsm.data.kaldi.validation import Survey
from espnet_wsm.files import write_atomically, write_text
from espnet_wsm.tables import render_table

BINS = 40
MOST_CHARACTERS = 60  # in the figure; the table of characters has all
QUANTILES = (0.05, 0.5, 0.95)


def write_overview(surveys: Sequence[Survey], out: Path) -> list[str]:
    """Write ``README.md``, ``characters.tsv`` and ``data.png`` to ``out``; returns the lines of the page.

    The characters of the other sets are compared with those of the first, the training set.

    Args:
        surveys: surveys that include the headers of the audio.
        out: a folder, created if it does not exist.
    """
    counters = [Counter("".join(each.utterance.text for each in survey.measured)) for survey in surveys]
    parts = ("# Data", _make_table(surveys, counters), "![durations, rates, characters](data.png)")
    lines = "\n\n".join(parts).split("\n")
    write_text(out / "README.md", lines)
    write_text(out / "characters.tsv", _list_characters(surveys, counters))
    _plot(surveys, counters, out / "data.png")
    return lines


def _make_table(surveys: Sequence[Survey], counters: Sequence[Counter]) -> str:
    head = ["set", "utterances", "hours", "speakers", "seconds: 5 %, median, 95 %"]
    head += ["characters a second: 5 %, median, 95 %", "characters", "kinds", "not in the first set"]
    rows = []
    for survey, counter in zip(surveys, counters, strict=True):
        seconds, rates = _measure(survey)
        unseen = sum(number for char, number in counter.items() if char not in counters[0])
        rows.append(
            [
                str(survey.directory),
                f"{len(survey.measured)}",
                f"{seconds.sum() / 3600:.2f}",
                f"{len({each.utterance.speaker for each in survey.measured})}",
                _quantiles(seconds),
                _quantiles(rates),
                f"{counter.total()}",
                f"{len(counter)}",
                f"{100 * unseen / max(counter.total(), 1):.2f} %",
            ]
        )
    return render_table(head, rows, num_left=1, padded=False)


def _measure(survey: Survey) -> tuple[np.ndarray, np.ndarray]:
    """Durations in seconds, and characters per second, of the utterances whose duration is known."""
    known = [each for each in survey.measured if not math.isnan(each.seconds)]
    seconds = np.array([each.seconds for each in known])
    return seconds, np.array([each.num_characters for each in known]) / seconds


def _quantiles(values: np.ndarray) -> str:
    return ", ".join(f"{value:.1f}" for value in np.quantile(values, QUANTILES)) if len(values) else "-"


def _list_characters(surveys: Sequence[Survey], counters: Sequence[Counter]) -> list[str]:
    """One line per character, sorted by frequency in the first set."""
    everything = sum(counters, Counter())
    order = sorted(everything, key=lambda char: (-counters[0][char], -everything[char], char))
    head = ["character", "code point", "name", *(str(survey.directory) for survey in surveys)]
    rows = [
        [
            "<space>" if char == " " else char,
            f"U+{ord(char):04X}",
            unicodedata.name(char, "-"),
            *(f"{counter[char]}" for counter in counters),
        ]
        for char in order
    ]
    return ["\t".join(row) for row in (head, *rows)]


def _plot(surveys: Sequence[Survey], counters: Sequence[Counter], file: Path) -> None:
    """Plot histograms of durations and speaking rates, and the frequencies of characters, by set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    above = figure.subfigures(2, 1)
    durations, speaking = above[0].subplots(1, 2)
    measured = [_measure(survey) for survey in surveys]
    for axes, number, label in (
        (durations, 0, "duration in seconds"),
        (speaking, 1, "characters a second"),
    ):
        values = [each[number] for each in measured]
        every = np.concatenate(values)
        edges = np.linspace(every.min(), every.max(), BINS + 1) if len(every) else BINS
        for survey, of_set in zip(surveys, values, strict=True):
            share = np.full(len(of_set), 100 / max(len(of_set), 1))
            axes.hist(
                of_set, edges, weights=share, histtype="step", linewidth=1.5, label=str(survey.directory)
            )
        axes.set_xlabel(label)
        axes.set_ylabel("% of utterances")
        axes.legend()
    axes = above[1].subplots()
    order = [char for char, _ in sum(counters, Counter()).most_common(MOST_CHARACTERS)]
    order.sort(key=lambda char: -counters[0][char])
    width = 0.8 / len(surveys)
    for number, (survey, counter) in enumerate(zip(surveys, counters, strict=True)):
        shares = [100 * counter[char] / max(counter.total(), 1) for char in order]
        places = np.arange(len(order)) + (number - (len(surveys) - 1) / 2) * width
        axes.bar(places, shares, width, label=str(survey.directory))
    axes.set_xticks(range(len(order)), [_name_tick(char) for char in order])
    axes.margins(x=0.01)
    axes.set_yscale("log")
    axes.set_ylabel("% of characters")
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    write_atomically(file, lambda temporary: temporary.write_bytes(content.getvalue()))


def _name_tick(char: str) -> str:
    """The character if the font of figures has it, else its code point."""
    if char == " ":
        return "␣"
    return char if char.isprintable() and not char.isspace() and ord(char) < 0x0590 else f"{ord(char):04X}"
