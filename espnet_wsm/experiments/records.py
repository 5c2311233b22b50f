"""The records of runs: small text files from which every table can be made again without training.

``RESULTS/runs/CORPUS/NAME.json`` says what was run and with what result, ``NAME.tsv`` holds every hypothesis
with its errors. ``RESULTS/references/CORPUS/SET`` holds the reference texts.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet_wsm.errors import UserError
from espnet_wsm.experiments.grid import IMMATERIAL, Grid
from espnet_wsm.experiments.runs import Run
from espnet_wsm.files import read_yaml, write_atomically, write_text
from espnet_wsm.scoring.mapsswe import align_like_sclite, count_errors
from espnet_wsm.scoring.trn import TOKENIZERS, pair_texts, read_kaldi_text

ASKED = "grid.json"  # the runs that the grid asks for, so that a report can say what is missing
TSV_HEADER = ("set", "id", "words", "word_errors", "characters", "character_errors", "hypothesis")
TSV = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None, "lineterminator": "\n"}
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
        transfer: of what attention gives, the error left in each layer, by its number, and the ``seconds``
            and ``steps`` that learning it took; None for runs without.
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
    transfer: Mapping[str, Any] | None = None
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

    def write_rows(file: Path) -> None:
        with file.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened, **TSV)
            writer.writerow(TSV_HEADER)
            writer.writerows((name, *row) for name, of_set in rows.items() for row in of_set)

    path = record_path(results, record.run)
    write_atomically(path.with_suffix(".tsv"), write_rows)
    content = asdict(record)
    del content["sets"]
    if record.transfer is None:
        del content["transfer"]
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
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
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


def _read_rows(path: Path) -> Iterator[dict[str, str]]:
    """The cells of each line by TSV_HEADER."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file, **TSV)
    if tuple(header) != TSV_HEADER:
        raise ValueError(f"its first line is {header!r}")
    return (dict(zip(TSV_HEADER, line, strict=True)) for line in lines)


def _read_counts(path: Path) -> dict[str, Counts]:
    by_set: dict[str, list[dict[str, str]]] = {}
    for row in _read_rows(path):
        by_set.setdefault(row["set"], []).append(row)

    def take(rows: list[dict[str, str]], place: int) -> dict[str, np.ndarray]:
        return {
            metric: np.array([int(row[columns[place]]) for row in rows])
            for metric, columns in METRICS.items()
        }

    return {
        name: Counts(tuple(row["id"] for row in rows), errors=take(rows, 0), tokens=take(rows, 1))
        for name, rows in by_set.items()
    }


def read_hypotheses(results: Path, run: Run, name: str) -> dict[str, tuple[str, ...]]:
    """Words of each hypothesis of a set, by id, in the order of the record."""
    rows = _read_rows(record_path(results, run).with_suffix(".tsv"))
    return {
        row["id"]: tuple(filter(None, row["hypothesis"].split(" "))) for row in rows if row["set"] == name
    }


def read_records(results: Path) -> list[Record]:
    """All records below a folder of results, sorted by corpus and name."""
    return [read_record(path) for path in sorted(results.glob("runs/*/*.json"))]


def read_transfer(exp: Path) -> dict[str, Any] | None:
    """What the blocks of an experiment had learnt before it, from the folder that its configuration names.

    Args:
        exp: the experiment, as the recipe's folder has it in ``exp``.

    Raises:
        UserError: the result is missing or damaged.
    """
    settings = read_yaml(exp / "config.yaml") if (exp / "config.yaml").is_file() else {}
    named = [str(word).split(":")[0] for word in settings.get("init_param") or ()]
    folders = [Path(file).parent for file in named if Path(file).name == "blocks.pth"]
    if not folders:
        return None
    recipe = next(parent.parent for parent in exp.parents if parent.name == "exp")
    path = recipe / folders[0] / "transfer.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        left = dict(zip(map(str, content["layers"]), content["error"], strict=True))
        curve = content["curve"]
        return {"left": left, "steps": curve["steps"][-1], "seconds": round(curve["seconds"], 1)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is missing or damaged ({error}): delete {exp}, and run it again") from error


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


def read_mapping(path: Path, needed: Iterable[str] = ()) -> dict[str, Any] | None:
    """A file of JSON that experiments write and can write again; None if it is not there.

    Raises:
        UserError: it is damaged, or lacks one of the keys that are needed.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
        if missing := set(needed) - content.keys():
            raise ValueError(f"it has no {min(missing)}")
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it and run the experiments, which write it again"
        ) from error
    return content


def read_asked(results: Path) -> dict[str, Any] | None:
    """What :func:`keep_asked` stored; None if nothing."""
    return read_mapping(results / ASKED, needed=("sweep", "runs"))
