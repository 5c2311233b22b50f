"""What the rules are asked about: a corpus, a machine, an upstream, and what was measured with it."""

import math
from dataclasses import dataclass

from espnet_wsm.advice.corpus import Corpus
from espnet_wsm.advice.evidence import Evidence, read_card_limit
from espnet_wsm.advice.machine import Machine

TRIAL_MINUTES = 1.0  # with less, a run shows that everything works and nothing else
# Minutes of training speech of the corpora of our grids, from the tables in egs/CORPUS/asr1/README.md.
TRAIN_MINUTES = {
    "asterisk_en": 17.6,
    "asterisk_es": 22.2,
    "asterisk_fr": 17.8,
    "asterisk_it": 16.6,
    "asterisk_ru": 17.4,
    "festvox_ru": 79.7,
    "fillets_cs": 76.1,
    "fillets_nl": 72.1,
}


@dataclass(frozen=True)
class Case:
    """What rules are asked about.

    Args:
        corpus: the data.
        machine: where it will be trained.
        upstream: the chosen one; key of ``UPSTREAMS``.
        evidence: its grid.
    """

    corpus: Corpus
    machine: Machine
    upstream: str
    evidence: Evidence

    @property
    def arm(self) -> str:
        """What mixes in the replaced layers."""
        return self.evidence.arm

    @property
    def depth(self) -> int:
        """Number of replaced layers."""
        return self.evidence.list_depths(self.arm)[0][0]

    @property
    def measured_minutes(self) -> tuple[float, float]:
        """The least and the most training speech in the grid."""
        runs = [record.run for record in self.evidence.study.records]
        sizes = [run.minutes or TRAIN_MINUTES[run.corpus] for run in runs]
        return min(sizes), max(sizes)

    @property
    def is_larger(self) -> bool:
        """Whether there is more speech than in any corpus of the grid."""
        return (self.corpus.minutes or 0) > self.measured_minutes[1]

    @property
    def steps(self) -> int:
        """Of the training: those of the grid; beyond its largest corpus, as many passes as that one had."""
        own = self.evidence.steps
        if not self.is_larger:
            return own
        each = int(self.evidence.training["num_iters_per_epoch"])
        epochs = own * self.corpus.minutes / self.measured_minutes[1] / each
        return math.ceil(round(epochs, 6)) * each  # ten times the speech is ten times the steps, not one more

    @property
    def batch_seconds(self) -> float:
        """Of audio in a step: those of the grid, or what fits on the card."""
        limit = self.card_seconds
        own = self.evidence.batch_seconds
        return own if limit is None else min(own, max(1.0, math.floor(limit)))

    @property
    def card_seconds(self) -> float | None:
        """Of audio that fit on the GPU; None if nothing is known of it."""
        if not self.machine.gpu_memory_gb or self.upstream != "whisper_base":
            return None
        return read_card_limit(self.upstream, self.machine.gpu_memory_gb)
