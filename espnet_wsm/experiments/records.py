"""The records of runs: small text files from which every table can be made again without training.

``RESULTS/runs/CORPUS/NAME.json`` says what was run and with what result, ``NAME.tsv`` holds every hypothesis
with its errors. ``RESULTS/references/CORPUS/SET`` holds the reference texts.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet_wsm.errors import UserError
from espnet_wsm.experiments.grid import IMMATERIAL, Grid, Run
from espnet_wsm.files import write_text
from espnet_wsm.scoring.mapsswe import align_like_sclite, count_errors
from espnet_wsm.scoring.trn import TOKENIZERS, pair_texts, read_kaldi_text

ASKED = "grid.json"  # the runs that the grid asks for, so that a report can say what is missing
TSV_HEADER = ("set", "id", "words", "word_errors", "characters", "character_errors", "hypothesis")
CURVES = (("train", "loss"), ("valid", "loss"), ("valid", "cer_ctc"))
METRICS = {"wer": ("word_errors", "words"), "cer": ("character_errors", "characters")}
DEV, TEST = "dev", "test"


@dataclass(frozen=True)
class Counts:
    """Errors and reference tokens of each utterance, in the order of ``ids``, by metric."""

    ids: tuple[str, ...]
    errors: Mapping[str, np.ndarray]  # metric -> (n,)
    tokens: Mapping[str, np.ndarray]

    def rate(self, metric: str) -> float:
        """Errors in percent of the reference tokens."""
        return 100 * float(self.errors[metric].sum()) / float(self.tokens[metric].sum())

    def is_of_same_texts(self, other: "Counts") -> bool:
        """Whether both are of the same utterances with as many reference tokens."""
        return self.ids == other.ids and all(
            np.array_equal(self.tokens[metric], other.tokens[metric]) for metric in self.tokens
        )


@dataclass(frozen=True)
class Record:
    """One finished run.

    Args:
        run: the run.
        fingerprint: digest of everything it depends on.
        upstream: name and digest of the upstream.
        trainable, total: number of parameters.
        seconds: wall time of training on this machine.
        git, date, device: commit, date and device of the run.
        curves: per epoch ``train loss``, ``valid loss``, ``valid cer_ctc``; shorter if ESPnet reports less.
        sets: counts by set, ``dev`` and ``test``; runs of a sweep have no ``test``.
    """

    run: Run
    fingerprint: str
    upstream: str
    trainable: int
    total: int
    seconds: float
    git: str
    date: str
    device: str
    curves: Mapping[str, Sequence[float]]
    sets: Mapping[str, Counts] = field(default_factory=dict)


def record_path(results: Path, run: Run) -> Path:
    """The file of a run's record."""
    return results / "runs" / run.corpus / f"{run.name}.json"


def score_texts(reference: Path, hypothesis: Path) -> list[tuple[str, int, int, int, int, str]]:
    """``id, words, word errors, characters, character errors, hypothesis`` of each utterance.

    Errors are those of sclite's alignment.
    """
    rows = []
    for pair in pair_texts(reference, hypothesis):
        counts: list[int] = []
        for metric in METRICS:
            tokens = TOKENIZERS[metric](pair)
            steps = align_like_sclite(tokens.reference, tokens.hypothesis)
            counts += [len(tokens.reference), count_errors(steps)]
        rows.append((pair.id, *counts, " ".join(pair.hypothesis)))
    return rows


def write_record(results: Path, record: Record, rows: Mapping[str, Sequence[tuple]]) -> None:
    """Write the hypotheses, then the record, which shows that they are complete.

    Args:
        results: folder of all results.
        record: the record; its ``sets`` are not used.
        rows: results of :func:`score_texts`, by set.
    """
    path = record_path(results, record.run)
    lines = ["\t".join(TSV_HEADER)]
    for name, of_set in rows.items():
        lines += ["\t".join(map(str, (name, *row))) for row in of_set]
    write_text(path.with_suffix(".tsv"), lines)
    content = asdict(record)
    del content["sets"]
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False).split("\n"))


def read_record(path: Path) -> Record:
    """Read a record with its counts.

    Raises:
        UserError: it is damaged or from another version; or it has other utterances than the references, if
            there are references.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        run = Run(**content.pop("run"))
        sets = _read_counts(path.with_suffix(".tsv"))
        if lacking := {DEV} - sets.keys() if run.sweep else {DEV, TEST} - sets.keys():
            raise ValueError(f"no utterance of {', '.join(sorted(lacking))}")
        record = Record(run=run, sets=sets, **content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} or its .tsv is damaged ({error}): remove it, and the run is made again"
        ) from error
    for name, counts in sets.items():
        reference = path.parents[2] / "references" / run.corpus / name
        if reference.is_file() and sorted(counts.ids) != sorted(read_kaldi_text(reference)):
            raise UserError(
                f"{path.with_suffix('.tsv')} has other utterances of {name} than {reference}, or one twice: "
                "restore the one that was changed, or remove the record, and the run is made again"
            )
    return record


def _read_counts(path: Path) -> dict[str, Counts]:
    header, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    if tuple(header.split("\t")) != TSV_HEADER:
        raise ValueError(f"its first line is {header!r}")
    by_set: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        cells = dict(zip(TSV_HEADER, line.split("\t"), strict=True))
        by_set.setdefault(cells["set"], []).append(cells)
    return {
        name: Counts(
            ids=tuple(cells["id"] for cells in rows),
            errors={
                m: np.array([int(cells[errors]) for cells in rows]) for m, (errors, _) in METRICS.items()
            },
            tokens={
                m: np.array([int(cells[tokens]) for cells in rows]) for m, (_, tokens) in METRICS.items()
            },
        )
        for name, rows in by_set.items()
    }


def read_records(results: Path) -> list[Record]:
    """All records below a folder of results, sorted by corpus and name."""
    return [read_record(path) for path in sorted(results.glob("runs/*/*.json"))]


def read_epochs(checkpoint: Path) -> tuple[float, dict[str, list[float]]]:
    """Results of all epochs from ESPnet's trainer; a log has only those since training was last resumed.

    Args:
        checkpoint: ``checkpoint.pth`` of an experiment.

    Returns:
        Wall time of training and validation in seconds, and per epoch ``train loss``, ``valid loss`` and
        ``valid cer_ctc``.

    Raises:
        UserError: the file is missing or is not such a checkpoint.
    """
    from espnet_wsm.upstream.weights.pickles import open_pickle  # takes seconds; reports are made without it

    try:
        stats = open_pickle(checkpoint, trust=False)["reporter"]["stats"]
        epochs = [stats[number] for number in sorted(stats)]
        seconds = sum(part["time"]["__timedelta_seconds__"] for epoch in epochs for part in epoch.values())
        curves = {
            f"{part} {name}": [round(epoch[part][name], 5) for epoch in epochs] for part, name in CURVES
        }
    except (UserError, OSError, KeyError, TypeError) as error:
        raise UserError(
            f"{checkpoint} does not hold the epochs of a training ({error}): remove {checkpoint.parent} and "
            "run again"
        ) from error
    return round(seconds, 1), curves


def keep_reference(results: Path, corpus: str, name: str, text: Path) -> None:
    """Store the reference texts of a set, once.

    Raises:
        UserError: other texts are already there, with which the runs would not be comparable.
    """
    kept, content = results / "references" / corpus / name, text.read_bytes()
    if kept.is_file() and kept.read_bytes() != content:
        raise UserError(
            f"{kept} differs from {text}: the runs of {corpus} there were scored on other texts; give "
            f"another --results, or remove {results / 'references' / corpus} and {results / 'runs' / corpus}"
        )
    if not kept.is_file():
        write_text(kept, content.decode("utf-8").removesuffix("\n").split("\n"))


def keep_asked(results: Path, grid: Grid, tried: Iterable[str] = ()) -> None:
    """Store what the grid asks for: a report names missing runs, and leaves out other records.

    Args:
        results: folder of the records.
        grid: the grid.
        tried: titles of further runs of its sweep.
    """
    asked = {
        "title": grid.title,
        "rates_from": grid.rates_from,
        "upstream": grid.upstream,
        "train_config": grid.train_config,
        "recipe_options": {
            name: value for name, value in grid.recipe_options.items() if name not in IMMATERIAL
        },
        "sweep": [*dict.fromkeys([*(run.title for run in grid.sweep), *tried])],
        "runs": [run.title for run in grid.runs],
    }
    write_text(results / ASKED, json.dumps(asked, indent=1).split("\n"))


def read_mapping(path: Path) -> dict[str, Any] | None:
    """A file of JSON that experiments write and can write again; None if it is not there."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it and run the experiments, which write it again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no mapping: remove it and run the experiments, which write it again")
    return content


def read_asked(results: Path) -> dict[str, Any] | None:
    """What :func:`keep_asked` stored; None if nothing."""
    asked = read_mapping(results / ASKED)
    if asked is not None and not {"sweep", "runs"} <= asked.keys():
        raise UserError(
            f"{results / ASKED} is damaged: remove it and run the experiments, which write it again"
        )
    return asked


def select(records: Iterable[Record], **wanted: object) -> list[Record]:
    """The records whose run has these values, e.g. ``corpus="asterisk_en", arm="wsm"``."""
    return [
        record
        for record in records
        if all(getattr(record.run, name) == value for name, value in wanted.items())
    ]
