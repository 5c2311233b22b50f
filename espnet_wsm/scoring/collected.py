"""Experiments that were trained and scored, and the tables of them (RESULTS.md)."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from espnet_wsm.arms import WITH_WINDOW
from espnet_wsm.errors import UserError
from espnet_wsm.scoring.correction import Correction
from espnet_wsm.scoring.durations import DurationCounts, list_rows
from espnet_wsm.scoring.python_scorer import ScorerResult
from espnet_wsm.scoring.results import (
    COUNT_COLUMNS,
    NONE,
    NOT_AVAILABLE,
    RATE_METRICS,
    SCORE,
    Scores,
    escape_markdown,
    format_counts,
    read_correction,
    read_duration_counts,
    read_made,
    read_score,
)
from espnet_wsm.scoring.rounds import Round, read_rounds, render_rounds
from espnet_wsm.scoring.significance import FEW_UNITS
from espnet_wsm.tables import render_table

TRAIN = "3 (train)"  # the stage that writes most of the files collected here
CHARACTER_METRICS = {
    "cer": "CER, code points",
    "cer_nospace": "without spaces",
    "gcer": "GCER, graphemes",
    "gcer_nospace": "without spaces",
}
BY_PYTHON = "†"  # marks a number that replaces sclite's
RANDOM_UPSTREAM = "random upstream"


@dataclass(frozen=True)
class SetScore:
    """What stage 5 wrote for one decoded set; ``label`` distinguishes several decoding directories."""

    label: str
    scores: Scores
    examples: str
    correction: Correction | None = None
    durations: Sequence[DurationCounts] = ()


@dataclass(frozen=True)
class Experiment:
    """What training and scoring wrote to one ESPnet experiment directory."""

    name: str
    encoder: dict[str, Any]
    parameters: dict[str, Any]
    run: dict[str, Any]
    sets: tuple[SetScore, ...]
    rounds: tuple[Round, ...] = ()


def name_experiment(directory: Path) -> str:
    """``<recipe>/<names>`` for ``.../<recipe>/asr1/exp/<names>``, else the last component of the path."""
    parts = Path(os.path.abspath(directory)).parts
    for index in range(len(parts) - 3, 0, -1):
        if parts[index : index + 2] == ("asr1", "exp"):
            return "/".join((parts[index - 1], *parts[index + 2 :]))
    return parts[-1]


def find_scored(root: Path) -> list[Path]:
    """The experiments below ``root`` that have been scored."""
    return sorted({record.parents[2] for record in root.glob("**/decode*/*/score.json")})


def collect_experiments(arguments: Iterable[str]) -> list[Experiment]:
    """Read the experiments ``DIR`` or ``label=DIR``, or all scored ones below a ``DIR``, sorted by name.

    Raises:
        UserError: a directory or one of its files is missing or damaged, or two experiments share a name.
    """
    experiments: dict[str, Experiment] = {}
    for argument in arguments:
        label, separator, directory = argument.partition("=")
        if separator and not Path(argument).is_dir():
            named = {Path(directory): label}
        else:
            root = Path(argument)
            below = [] if (root / "config.yaml").is_file() else find_scored(root)
            named = {path: name_experiment(path) for path in below or [root]}
        for path, label in named.items():
            if not label:
                raise UserError(f"{argument} has an empty label: write label=DIR")
            if label in experiments:
                raise UserError(f"{argument}: another experiment is called {label}: name one with label=DIR")
            experiments[label] = _read_experiment(label, path)
    return [experiments[name] for name in sorted(experiments)]


def _read_experiment(name: str, directory: Path) -> Experiment:
    if not directory.is_dir():
        raise UserError(f"{directory} is not a directory: name an experiment, e.g. exp/asr_train")
    config = read_made(directory / "config.yaml", ["encoder_conf"], TRAIN)
    parameters = read_made(directory / "parameters.json", ["trainable", "total", "upstream"], TRAIN)
    run = read_made(directory / "run.json", ["command", "git", "date"], TRAIN)
    records = sorted(directory.glob("decode*/*/score.json"))
    if not records:
        raise UserError(f"{directory} has no decode*/*/score.json: run stage {SCORE}")
    several = len({record.parent.parent for record in records}) > 1
    sets = []
    for record in records:
        set_name, scores = read_score(record)
        label = f"{set_name} ({record.parent.parent.name})" if several else set_name
        try:
            examples = (record.parent / "examples.md").read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            file = record.parent / "examples.md"
            raise UserError(f"{file} cannot be read ({error.strerror}): run stage {SCORE}") from error
        sets.append(SetScore(label, scores, examples, read_correction(record), read_duration_counts(record)))
    sets.sort(key=lambda score: score.label)
    return Experiment(
        name, config["encoder_conf"] or {}, parameters, run, tuple(sets), tuple(read_rounds(directory))
    )


def render_results(title: str, note: str | None, experiments: Sequence[Experiment]) -> str:
    """RESULTS.md: versions, a WER and a CER table, what was trained and how, and examples."""
    results = [
        result for e in experiments for s in e.sets for by in s.scores.values() for result in by.items()
    ]
    parts = [
        "<!-- Written by `python -m espnet_wsm.stages.make_results`; edit its input instead. -->",
        f"# {title}",
    ]
    parts += [note] if note else []
    parts.append(_render_versions(results))
    parts += render_rate_tables(experiments)
    if refused := sorted({result.reason for name, result in results if name == "python" and result.reason}):
        parts.append(f"WER is {NOT_AVAILABLE} where it is refused: {'; '.join(refused)}.")
    if reasons := sorted({result.reason for _, result in results if result.reason} - set(refused)):
        parts.append(
            f"{BY_PYTHON} counted by the Python scorer (jiwer), not by sclite: {'; '.join(reasons)}."
        )
    if any(RANDOM_UPSTREAM in describe_upstream(e.parameters) for e in experiments):
        parts.append(
            f"Error rates on a {RANDOM_UPSTREAM}, which was never trained, show that the recipe runs and "
            "nothing about the method."
        )
    parts += ["## Experiments", _render_runs(experiments), "## Examples", "Words in error are **bold**."]
    for experiment in experiments:
        for score in experiment.sets:
            parts += [f"### {experiment.name}, {score.label}", score.examples]
    return "\n\n".join(parts)


def _render_versions(results: Iterable[tuple[str, ScorerResult]]) -> str:
    """Versions of installed packages, and of scorers as recorded when the sets were scored."""
    found = {"espnet": "espnet", "torch": "torch", "s3prl": "espnet-s3prl"}
    for name, package in found.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "not installed"
    results = list(results)
    for name, scorer in (("jiwer", "python"), ("sclite", "sclite")):
        versions = {result.version for key, result in results if key == scorer and result.version}
        found[name] = " and ".join(sorted(versions)) or NOT_AVAILABLE
    return "Versions: " + ", ".join(f"{name} {number}" for name, number in found.items()) + "."


def render_rate_tables(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Headings and tables of WER, CER and other character metrics, one row per experiment and set; rounds."""
    header = ("experiment", "set", "k", "mixer", "window", *COUNT_COLUMNS, "Err (Python)", "95 % interval")
    for metric in RATE_METRICS:
        rows = []
        for experiment in experiments:
            values = dict(experiment.encoder)
            if values.get("mixer") not in WITH_WINDOW:
                values["window"] = None  # the configuration has a default that nothing reads
            encoder = [_format_cell(values.get(key)) for key in ("num_replaced", "mixer", "window")]
            for score in experiment.sets:
                names = (_format_cell(experiment.name), _format_cell(score.label))
                rows.append((*names, *encoder, *_format_rates(score.scores[metric])))
        yield f"## {metric.upper()}"
        yield render_table(header, rows, num_left=5)
    yield (
        "The interval is that of the Python scorer's Err, by a bootstrap over utterances, as if they were "
        f"independent: with fewer than {FEW_UNITS}, or few speakers, it comes out too narrow."
    )
    if rows := list(_list_corrections(experiments)):
        header = ("experiment", "set", "WER", "words", "to touch", "%", "95 % interval", "places")
        yield "## Correction"
        yield render_table((*header, "s each", "min a min of audio", "95 % interval"), rows, 2)
        yield (
            "Words to touch: those of the reference that are wrong or missing, and one for each place where "
            "words are only too many. Minutes are those of correcting alone, without listening."
        )
    if rows := list(_list_durations(experiments)):
        yield "## CER by duration"
        yield render_table(("experiment", "set", "duration", "utterances", "characters", "CER"), rows, 3)
    yield "## Characters counted otherwise"
    yield render_table(("experiment", "set", *CHARACTER_METRICS.values()), _list_characters(experiments), 2)
    yield from render_rounds([(experiment.name, experiment.rounds) for experiment in experiments])


def _list_durations(experiments: Sequence[Experiment]) -> Iterator[tuple[str, ...]]:
    """One row per experiment, set and range of durations, for sets with utterances of several ranges."""
    for experiment in experiments:
        for score in experiment.sets:
            if len(score.durations) > 1:
                names = (_format_cell(experiment.name), _format_cell(score.label))
                yield from ((*names, *row) for row in list_rows(score.durations))


def _list_corrections(experiments: Sequence[Experiment]) -> Iterator[tuple[str, ...]]:
    """What correcting takes, one row per experiment and set for which it is known."""
    for experiment in experiments:
        for score in experiment.sets:
            if (found := score.correction) is None:
                continue
            known = found.minutes is not None
            yield (
                _format_cell(experiment.name),
                _format_cell(score.label),
                f"{score.scores['wer']['python'].counts.error_rate:.1f}",
                *(str(found.words), str(found.touched), f"{found.rate:.1f}"),
                _format_span(found.interval),
                str(found.places),
                f"{found.seconds_each:g}" if known else NONE,
                f"{found.minutes:.2f}" if known else NONE,
                _format_span(found.minutes_interval, ".2f"),
            )


def _format_span(interval: tuple[float, float] | None, form: str = ".1f") -> str:
    return NONE if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"


def _list_characters(experiments: Sequence[Experiment]) -> Iterator[tuple[str, ...]]:
    """Err of every character metric, one row per experiment and set."""
    err = COUNT_COLUMNS.index("Err")
    for experiment in experiments:
        for score in experiment.sets:
            cells = []
            for metric in CHARACTER_METRICS:
                results = score.scores[metric]
                counts = results["sclite"].counts or results["python"].counts
                mark = "" if results["sclite"].counts else f" {BY_PYTHON}"
                cells.append(f"{format_counts(counts)[err]}{mark}")
            yield (_format_cell(experiment.name), _format_cell(score.label), *cells)


def _format_rates(results: dict[str, ScorerResult]) -> tuple[str, ...]:
    """COUNT_COLUMNS by sclite, then Python's Err and its interval.

    Without sclite, Err is n/a and the other numbers are Python's, marked as such.
    """
    if results["python"].counts is None:
        return (NOT_AVAILABLE,) * (len(COUNT_COLUMNS) + 2)
    python = format_counts(results["python"].counts)
    span = _format_span(results["python"].interval)
    err = COUNT_COLUMNS.index("Err")
    if results["sclite"].counts:
        return (*format_counts(results["sclite"].counts), python[err], span)
    cells = [*python[:2], *(f"{cell} {BY_PYTHON}" for cell in python[2:])]
    cells[err] = NOT_AVAILABLE
    return (*cells, python[err], span)


def _format_cell(value: object) -> str:
    """One Markdown cell: None is a dash, a list is separated by commas."""
    if value is None:
        return NONE
    if isinstance(value, list):
        return ", ".join(map(_format_cell, value))
    return escape_markdown(" ".join(str(value).split()))


def _render_runs(experiments: Sequence[Experiment]) -> str:
    header = ("experiment", "upstream", "trainable/total parameters", "git", "date", "command")
    rows = []
    for experiment in experiments:
        parameters, run = experiment.parameters, experiment.run
        rows.append(
            (
                _format_cell(experiment.name),
                _format_cell(describe_upstream(parameters)),
                f"{parameters['trainable']:,} / {parameters['total']:,}",
                _format_cell(run["git"]),
                _format_cell(run["date"]),
                _format_code(str(run["command"])),
            )
        )
    return render_table(header, rows, num_left=len(header))


def describe_upstream(parameters: dict[str, Any]) -> str:
    """Name, file and description, from parameters.json.

    An absolute path is cut to its last component, which is valid elsewhere.
    """
    upstream = parameters["upstream"] or {}
    text = upstream.get("name") or NONE
    if path := upstream.get("path"):
        text += f" ({Path(path).name if Path(path).is_absolute() else path})"
    return f"{text}: {upstream['description']}" if upstream.get("description") else text


def _format_code(text: str) -> str:
    """A code span for a table cell: pipes escaped, the fence longer than any run of backticks inside."""
    text = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"
