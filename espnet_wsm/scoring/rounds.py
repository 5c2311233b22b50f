"""Rounds of self-training: what each model learnt from, and its error rate on the validation set."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text
from espnet_wsm.scoring.results import NONE, escape_markdown
from espnet_wsm.tables import render_table

ROUNDS = "rounds.json"  # in the experiment of a round


@dataclass(frozen=True)
class Round:
    """One model.

    Args:
        number: 0: trained on transcripts alone.
        set_name: the validation set.
        cer: on it, in percent, counted in Python on what training validates on.
        transcribed, kept: utterances that the model before has transcribed, and those that were learnt from.
        hours: of the kept ones.
    """

    number: int
    set_name: str
    cer: float
    transcribed: int = 0
    kept: int = 0
    hours: float = 0.0

    def __str__(self) -> str:
        return f"round {self.number}: CER {self.cer:.2f} on {self.set_name}"


def write_rounds(exp: Path, rounds: Iterable[Round]) -> None:
    """Write the rounds up to that of an experiment, in its folder."""
    write_text(exp / ROUNDS, json.dumps([asdict(each) for each in rounds], indent=1).split("\n"))


def read_rounds(exp: Path) -> list[Round]:
    """What :func:`write_rounds` wrote; empty for an experiment that is none of self-training.

    Raises:
        UserError: it is damaged.
    """
    path = exp / ROUNDS
    if not path.is_file():
        return []
    try:
        return [Round(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run stage 3 again") from error


def render_rounds(experiments: Sequence[tuple[str, Sequence[Round]]]) -> list[str]:
    """Heading and table, a row for each round of each experiment; nothing where there are none."""
    rows = [
        (
            escape_markdown(name),
            str(each.number),
            str(each.transcribed) if each.number else NONE,
            str(each.kept) if each.number else NONE,
            f"{each.hours:.2f}" if each.number else NONE,
            f"{each.set_name}: {each.cer:.1f}",
        )
        for name, rounds in experiments
        for each in rounds
    ]
    if not rows:
        return []
    header = ("experiment", "round", "transcribed", "learnt from", "hours", "CER")
    return ["## Self-training by round", render_table(header, rows, num_left=1)]
