"""A corpus that grows by what people have corrected: audio, and the table that recipes read."""

import csv
import fcntl
import hashlib
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from espnet_wsm.annotations import Segment
from espnet_wsm.data.audio.recordings import quantise, write_flac
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.serve.names import clean_name

TABLE, AUDIO = "manifest.csv", "audio"
COLUMNS = ("path", "text", "speaker", "start", "end")  # egs/manifest takes them
MARGIN = 0.25  # seconds of a pause that stay with the utterance beside it
DIGITS = 16  # of the digest in names of files, so that audio is stored once


@dataclass(frozen=True)
class Added:
    """What came into a corpus: how many utterances, how many of this recording they replace, and how many
    the table has now."""

    utterances: int
    replaced: int
    total: int


class Corpus:
    """A folder with ``manifest.csv``, a row an utterance, and ``audio``, a flac file a recording.

    Audio is stored as it was recognised, 16 kHz and mono: stage 2 makes no more of it, and every recipe reads
    it. A recording that is added again replaces its rows. Columns and rows of others stay as they are.

    Args:
        folder: made when something is added.

    Raises:
        UserError: it is a file, or holds a table that is not of this kind.
    """

    def __init__(self, folder: Path):
        self.folder, self.table = folder, folder / TABLE
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--corpus {folder} is a file: name a folder")
        self._read_table()

    def add(self, samples: np.ndarray, name: str, utterances: Sequence[Segment], speaker: str = "") -> Added:
        """Store a recording with its utterances; those without text are left out.

        Args:
            samples: (N,) float32 at 16 kHz.
            name: of the recording.
            utterances: in order of time.
            speaker: who speaks; empty where it is not known.

        Raises:
            UserError: there is no text, or an utterance begins after the end of the audio.
            OSError: the folder cannot be written.
        """
        seconds = len(samples) / SAMPLE_RATE
        spoken = [each for each in utterances if each.text.strip()]
        if not spoken:
            raise UserError(f"{name} has no text: write what is said, then add it")
        if late := next((each for each in spoken if each.start >= seconds), None):
            raise UserError(
                f"{late.text[:40]!r} begins at {late.start:g} s, and {name} ends at {seconds:g} s"
            )
        (self.folder / AUDIO).mkdir(parents=True, exist_ok=True)
        with self._locked():
            path = self._store(samples, name)
            columns, rows = self._read_table()
            kept = [row for row in rows if row["path"] != path]
            for each, (start, end) in zip(spoken, widen(spoken, seconds), strict=True):
                text = " ".join(each.text.split())
                kept.append(
                    dict.fromkeys(columns, "")
                    | {"path": path, "text": text, "speaker": " ".join(speaker.split())}
                    | {"start": f"{start:.3f}", "end": f"{end:.3f}"}
                )
            self._write_table(columns, kept)
        return Added(len(spoken), len(rows) + len(spoken) - len(kept), len(kept))

    def commands(self) -> list[str]:
        """What is typed to train on the corpus, in the folder of the project."""
        name = re.sub(r"\W+", "_", self.folder.resolve().name, flags=re.ASCII).strip("_")
        name = name if re.match("[A-Za-z]", name) else f"corpus_{name}".strip("_")
        table = shlex.quote(str(self.table.resolve()))
        return [
            f"tools/new_corpus.sh {name} --lang CODE --manifest {table}",
            f"cd egs/{name}/asr1",
            "./run.sh",
        ]

    def _store(self, samples: np.ndarray, name: str) -> str:
        """The path of the audio, from the folder of the table; written unless it is there."""
        integers, _ = quantise(samples)
        digest = hashlib.sha256(integers.tobytes()).hexdigest()[:DIGITS]
        known = sorted((self.folder / AUDIO).glob(f"*-{digest}.flac"))
        if known:
            return f"{AUDIO}/{known[0].name}"
        path = f"{AUDIO}/{Path(clean_name(name)).stem}-{digest}.flac"
        write_atomically(self.folder / path, lambda file: write_flac(file, integers, SAMPLE_RATE))
        return path

    def _read_table(self) -> tuple[list[str], list[dict[str, str]]]:
        if not self.table.exists():
            return list(COLUMNS), []
        wrong = f"{self.table} is no table that can be added to"
        try:
            reader = csv.DictReader(
                io.StringIO(self.table.read_text(encoding="utf-8-sig"), newline=""), strict=True
            )
            columns, rows = list(reader.fieldnames or ()), list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{wrong} ({error}): name another folder") from None
        if missing := set(COLUMNS) - set(columns):
            raise UserError(
                f"{wrong}: it has no column {min(missing)}, and needs {', '.join(COLUMNS)}, with commas "
                "between them: name another folder"
            )
        if any(None in row or None in row.values() for row in rows):
            raise UserError(f"{wrong}: its rows have more or fewer fields than its header: correct them")
        return columns, rows

    def _write_table(self, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(
            self.table, lambda file: file.write_text(text.getvalue(), encoding="utf-8", newline="")
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time reads and writes the table, in any process."""
        with (self.folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def widen(utterances: Sequence[Segment], seconds: float) -> list[tuple[float, float]]:
    """(start, end) of each utterance with up to ``MARGIN`` of the pauses beside it, of which neighbours get
    a half each. CTC's times are rough, and words must not be cut."""
    spans = [(each.start, min(each.end, seconds)) for each in utterances]
    pauses = [max(0.0, after[0] - before[1]) / 2 for before, after in pairwise(spans)]
    before = [spans[0][0], *pauses]
    behind = [*pauses, max(0.0, seconds - spans[-1][1])]
    return [
        (start - min(MARGIN, left), end + min(MARGIN, right))
        for (start, end), left, right in zip(spans, before, behind, strict=True)
    ]
