"""Results of experiments that were never run: records, references, learning rates and costs, by hand."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from espnet_wsm.arms import ARMS
from espnet_wsm.experiments.costs import COSTS, Setup
from espnet_wsm.experiments.records import Record, score_texts, write_record
from espnet_wsm.experiments.runner import CHOSEN
from espnet_wsm.experiments.runs import Run
from espnet_wsm.files import write_text

WORDS = "one two three four five six seven eight nine ten red green blue left right again".split()


def make_run(arm: str = "wsm", corpus: str = "toy_en", k: int = 2, **fields) -> Run:
    """A run with the fields that do not matter filled in."""
    fields = {"minutes": None, "seed": 0, "num_replaced": ARMS[arm].options.get("num_replaced", k)} | fields
    return Run(corpus=corpus, arm=arm, **fields)


class Synthetic:
    """Writes records into a folder of results.

    Args:
        results: the folder.
        number: utterances of a test set.
    """

    def __init__(self, results: Path, number: int = 40):
        self.results, self.number = results, number

    def reference(self, corpus: str, name: str) -> dict[str, list[str]]:
        """Texts of a set, always the same ones; written where the runner keeps them."""
        generator = np.random.default_rng(zlib.crc32(f"{corpus} {name}".encode()))
        texts = {
            f"anna_{corpus}-{index:03}": list(generator.choice(WORDS, generator.integers(3, 12)))
            for index in range(self.number)
        }
        lines = [f"{key} {' '.join(words)}" for key, words in texts.items()]
        write_text(self.results / "references" / corpus / name, lines)
        return texts

    def add(self, run: Run, wrong: float = 0.3, seconds: float = 360.0, **fields) -> Record:
        """A record whose hypotheses have this share of the words wrong.

        Which words are wrong depends on the seed and the arm, and, more, on how hard the utterance is.
        """
        rows = {}
        for name in ("dev",) if run.sweep else ("dev", "test"):
            texts = self.reference(run.corpus, name)
            hard = np.random.default_rng(zlib.crc32(f"hard {run.corpus}".encode())).normal(0, 0.1, len(texts))
            generator = np.random.default_rng(zlib.crc32(f"{run.title} {name}".encode()))
            level = wrong + generator.normal(0, 0.01)
            lines = []
            for extra, (key, words) in zip(hard, texts.items(), strict=True):
                spoiled = [w[:-1] if generator.random() < level + extra else w for w in words]
                lines.append(f"{key} {' '.join(spoiled)}")
            hypothesis = self.results / "hypothesis"
            write_text(hypothesis, lines)
            rows[name] = score_texts(self.results / "references" / run.corpus / name, hypothesis)
            hypothesis.unlink()
        return self.write(run, rows, seconds=seconds, **fields)

    def write(self, run: Run, rows: dict[str, list[tuple]], **fields) -> Record:
        """A record with these rows."""
        epochs = np.arange(1, 21)
        fall = 1 + list(ARMS).index(run.arm) / 5 + run.seed / 20
        usual = {
            "fingerprint": "0123456789abcdef",
            "upstream": "tiny 0123456789ab",
            "trainable": 1_200_000 + 1000 * list(ARMS).index(run.arm),
            "total": 5_800_000,
            "seconds": 360.0,
            "git": "abc1234",
            "date": "2026-01-02",
            "device": "cpu",
            "curves": {
                "train loss": [round(80 * np.exp(-epoch * fall / 8), 3) for epoch in epochs],
                "valid loss": [round(70 * np.exp(-epoch * fall / 12), 3) for epoch in epochs],
                "valid cer_ctc": [round(float(np.exp(-epoch * fall / 20)), 3) for epoch in epochs],
            },
        }
        record = Record(run=run, **(usual | fields))
        write_record(self.results, record, rows)
        return record

    def choose(self, chosen: dict[str, float]) -> None:
        """What the sweep has chosen."""
        write_text(self.results / CHOSEN, json.dumps(chosen).split("\n"))

    def measure(self, setups: Iterable[Setup]) -> None:
        """Costs, the more the higher k and with attention."""
        rows = []
        for setup in setups:
            share = {"attention": 1.0, "random_attention": 1.0, "lora": 0.9, "frozen": 0.05, "drop": 0.06}
            one = share.get(setup.arm, 0.5 + 0.01 * list(ARMS).index(setup.arm))
            one *= 1 if setup.attention_dropout else 0.45
            k = max(1, setup.num_replaced)
            row = {
                "trainable": 400_000 * k,
                "saved_bytes": round(80 * 2**20 * k * one),
                "step_s": {"median": 0.3 * k * one, "min": 0.25 * k * one, "max": 0.4 * k * one},
                "checkpoint_bytes": 1_600_000 * k,
                "ratios": {"saved_bytes": one, "step_s": one, "checkpoint_bytes": 1.0},
            }
            rows.append({**asdict(setup), **row})
        costs = {
            "fingerprint": "0123456789abcdef",
            "machine": {"device": "cpu", "cpu": "A Processor", "cores": 2, "threads": 1},
            "versions": {"torch": "2.14.1", "espnet": "202611"},
            "batch": {"utterances": 4, "seconds": 10.0, "vocabulary": 50},
            "configured": {"window": 10, "width": 256, "suffix_dtype": "bfloat16"},
            "rows": rows,
        }
        write_text(self.results / COSTS, json.dumps(costs).split("\n"))

    def add_errors(self, run: Run, errors: Iterable[int], **fields) -> Record:
        """A record with so many of 10 characters wrong in each utterance."""
        rows = [(f"anna-{i:03}", 2, min(2, wrong), 10, wrong, "text") for i, wrong in enumerate(errors)]
        return self.write(run, {"dev": rows} if run.sweep else {"dev": rows, "test": rows}, **fields)
