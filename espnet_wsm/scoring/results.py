"""The record of a scored set (score.json, examples.md), and how Markdown shows it."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text
from espnet_wsm.scoring.correction import Correction, read_entry
from espnet_wsm.scoring.durations import DurationCounts, read_durations
from espnet_wsm.scoring.python_scorer import Counts, ScorerResult, align_tokens
from espnet_wsm.scoring.trn import TOKENIZERS, TextPair
from espnet_wsm.tables import render_table

SCORERS = ("sclite", "python")
SCORE = "5 (score)"  # the stage that writes the records
COUNT_COLUMNS = ("Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err")
RATE_METRICS = ("wer", "cer")  # those with their own table and intervals
NONE = "–"
NOT_AVAILABLE = "n/a"

Scores = dict[str, dict[str, ScorerResult]]  # metric -> scorer -> result


def write_score(
    path: Path,
    set_name: str,
    scores: Scores,
    correction: Correction | None = None,
    durations: Sequence[DurationCounts] = (),
) -> None:
    """Write score.json: ``{"set": ..., metric: {scorer: {"counts", "version", "reason"}}}``, atomically.

    With ``correction`` and ``durations`` it has entries of these names too.
    """
    record = {"set": set_name}
    record |= {metric: {name: asdict(scores[metric][name]) for name in SCORERS} for metric in TOKENIZERS}
    if correction is not None:
        record["correction"] = asdict(correction)
    if durations:
        record["durations"] = [asdict(each) for each in durations]
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False).split("\n"))


def read_score(path: Path) -> tuple[str, Scores]:
    """Set name and scores of a score.json; UserError if :func:`write_score` did not write it."""
    record = read_made(path, ("set", *TOKENIZERS), SCORE)
    try:
        scores = {
            metric: {name: _read_result(record[metric][name]) for name in SCORERS} for metric in TOKENIZERS
        }
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not a score record ({error}): run stage {SCORE} again") from error
    return record["set"], scores


def read_correction(path: Path) -> Correction | None:
    """What correcting takes, from a score.json; None if it has no such entry, as where WER is refused."""
    return _read_entry(path, "correction", lambda entry: None if entry is None else read_entry(entry))


def read_duration_counts(path: Path) -> list[DurationCounts]:
    """Errors by duration, from a score.json; empty if it has no such entry.

    Raises:
        UserError: the entry is damaged.
    """
    return _read_entry(path, "durations", read_durations)


def _read_entry(path: Path, name: str, read: Callable[[Any], Any]) -> Any:
    """What ``read`` makes of an entry of a score.json, or of None if there is no such entry."""
    entry = read_made(path, (), SCORE).get(name)
    try:
        return read(entry)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not a score record ({error}): run stage {SCORE} again") from error


def _read_result(entry: dict[str, Any]) -> ScorerResult:
    counts = None if entry["counts"] is None else Counts(**entry["counts"])
    interval = entry.get("interval")  # a record may have none
    return ScorerResult(counts, entry["version"], entry["reason"], interval and tuple(interval))


def read_made(path: Path, keys: Iterable[str], stage: str) -> dict[str, Any]:
    """The mapping in a JSON or YAML file, which has ``keys``; any fault is a UserError naming the stage."""
    load = yaml.safe_load if path.suffix == ".yaml" else json.loads
    try:
        record = load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): run stage {stage}") from error
    except (ValueError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({what}): run stage {stage} again") from error
    if not isinstance(record, dict):
        raise UserError(f"{path} holds no mapping: run stage {stage} again")
    if missing := [key for key in keys if key not in record]:
        raise UserError(f"{path} has no entry {', '.join(missing)}: run stage {stage} again")
    return record


def format_counts(counts: Counts) -> tuple[str, ...]:
    """The cells of COUNT_COLUMNS: two integers, then percentages with one decimal, as sclite prints them."""
    rates = (
        counts.correct_rate,
        counts.substitution_rate,
        counts.deletion_rate,
        counts.insertion_rate,
        counts.error_rate,
        counts.sentence_error_rate,
    )
    return (str(counts.sentences), str(counts.words), *(f"{rate:.1f}" for rate in rates))


def render_summary(set_name: str, scores: Scores) -> str:
    """The scores of one set as an aligned table, one line per metric and scorer.

    A metric is omitted if all its counts equal those of an earlier one, as those by grapheme do if each
    grapheme is one code point.
    """
    rows, shown = [], []
    for metric, results in scores.items():
        counted = {scorer: replace(result, interval=None) for scorer, result in results.items()}
        if counted in shown:
            continue
        shown.append(counted)
        for scorer, result in results.items():
            missing = (NOT_AVAILABLE,) * len(COUNT_COLUMNS)
            rows.append(
                (set_name, metric, scorer, *(format_counts(result.counts) if result.counts else missing))
            )
    return render_table(("set", "metric", "scorer", *COUNT_COLUMNS), rows, num_left=3)


def find_disagreements(set_name: str, scores: Scores) -> Iterator[str]:
    """One sentence per metric that is refused, scored only by Python, or has different totals.

    The split into substitutions, deletions and insertions may differ: sclite aligns with costs 4, 3, 3 and
    jiwer with 1, 1, 1. For the same reason, sclite's total is the larger one if they differ.
    """
    for metric, results in scores.items():
        sclite, python = results["sclite"], results["python"]
        if python.counts is None:
            yield f"{set_name} {metric}: refused: {python.reason}"
        elif sclite.counts is None:
            yield f"{set_name} {metric}: scored by Python alone: {sclite.reason}"
        elif sclite.counts.errors != python.counts.errors:
            yield (
                f"{set_name} {metric}: sclite counts {sclite.counts.errors} errors, "
                f"Python {python.counts.errors} (their alignments have different costs)"
            )


def render_examples(pairs: Sequence[TextPair], number: int) -> str:
    """A Markdown table of ``number`` utterances, evenly spaced in ``pairs``; words in error are bold."""
    number = min(number, len(pairs))
    chosen = [pairs[index * len(pairs) // number] for index in range(number)]
    rows = []
    for pair, alignment in zip(chosen, align_tokens(chosen), strict=True):
        reference, hypothesis = [], []
        for chunk in alignment:
            right = chunk.type == "equal"
            reference.append(_mark(pair.reference[chunk.ref_start_idx : chunk.ref_end_idx], right))
            hypothesis.append(_mark(pair.hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx], right))
        texts = (" ".join(filter(None, side)) for side in (reference, hypothesis))
        rows.append((escape_markdown(pair.id), *texts))
    return render_table(("id", "ref", "hyp"), rows, num_left=3)


def _mark(words: Sequence[str], right: bool) -> str:
    text = escape_markdown(" ".join(words))
    return text if right or not text else f"**{text}**"


def escape_markdown(text: str) -> str:
    """Escape ``text`` for a table cell; an underscore inside a word needs no escape."""
    return re.sub(r"([\\`*\[\]<&|~$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def show_p(p: float) -> str:
    """``p`` with three digits."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
