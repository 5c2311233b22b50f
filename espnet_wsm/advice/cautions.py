"""What to know before training, as a table: a sentence, and when it is said."""

from collections.abc import Callable
from dataclasses import dataclass

from espnet_wsm.advice.case import TRIAL_MINUTES, Case
from espnet_wsm.advice.upstreams import WHISPER_SECONDS

README_MEMORY_GB = 8  # that README.md asks for


@dataclass(frozen=True)
class Caution:
    """What to know before training: a sentence, if it fits."""

    fits: Callable[[Case], bool]
    says: Callable[[Case], str]


CAUTIONS = (
    Caution(
        lambda case: case.corpus.minutes is not None and case.corpus.minutes < TRIAL_MINUTES,
        lambda case: (
            f"{60 * case.corpus.minutes:.0f} s of speech are too little to learn from: the run only shows "
            "that everything works; record more"
        ),
    ),
    Caution(
        lambda case: case.corpus.minutes is None,
        lambda case: (
            "how long the audio is is not known (commands in wav.scp are not run): put utt2dur there, or "
            "steps and lengths are only guessed"
        ),
    ),
    Caution(
        lambda case: case.corpus.speakers == 1,
        lambda case: "one speaker: the scores will say nothing of other voices",
    ),
    Caution(
        lambda case: case.corpus.speakers is None,
        lambda case: (
            "nothing says who speaks (utt2spk): sets are split by text, and a voice may be on both sides"
        ),
    ),
    Caution(
        lambda case: bool(case.corpus.seconds) and case.corpus.quantile(0.95) > WHISPER_SECONDS,
        lambda case: (
            f"more than 5 % of the utterances are longer than {WHISPER_SECONDS} s (95 % are below "
            f"{case.corpus.quantile(0.95):.0f} s): cut them (segments, or --split_above of prepare_corpus)"
        ),
    ),
    Caution(
        lambda case: case.corpus.unspaced is not None,
        lambda case: (
            f"{case.corpus.unspaced} has no spaces between words: WER is refused, look at CER and GCER"
        ),
    ),
    Caution(
        lambda case: case.corpus.has_pipes,
        lambda case: "wav.scp has commands in place of audio: read them, as --allow_pipes true runs them",
    ),
    Caution(
        lambda case: case.machine.memory_gb is not None and case.machine.memory_gb < README_MEMORY_GB,
        lambda case: f"less than {README_MEMORY_GB} GB of memory: nothing of ours was run with so little",
    ),
    Caution(
        lambda case: case.machine.ngpu > 0,
        lambda case: "our times and results are of CPUs",
    ),
    Caution(lambda case: case.machine.ngpu > 1, lambda case: "on several GPUs our training is untried"),
)
