"""One decoded set, utterance by utterance: aligned tokens, errors, times, confidences, durations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.annotations.ctm import read_all
from espnet_wsm.data.dump.lists import read_num_samples
from espnet_wsm.data.kaldi.lists import count, raise_collected, read_list
from espnet_wsm.data.text.rules import split_graphemes
from espnet_wsm.errors import UserError
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.recognition.calibration import Calibration
from espnet_wsm.recognition.transcript import mean_confidence
from espnet_wsm.report.experiment import DecodedSet
from espnet_wsm.scoring.correction import Correction
from espnet_wsm.scoring.python_scorer import (
    Counts,
    ScorerResult,
    list_steps,
    score_utterances,
    score_with_jiwer,
)
from espnet_wsm.scoring.results import RATE_METRICS, SCORE, Scores, read_correction, read_score
from espnet_wsm.scoring.trn import TOKENIZERS, TextPair, find_reason_against_words, pair_texts

NOT_SCORED = "stage 5 has not scored this set"


@dataclass(frozen=True)
class SpokenWord:
    """When a word of a hypothesis begins, in seconds of its utterance, and how sure the model is, 0 to 1."""

    start: float
    confidence: float | None


@dataclass(frozen=True)
class Utterance:
    """One utterance of one system.

    Args:
        pair: id, speaker, and the tokens that are shown: words; graphemes in scripts without spaces.
        steps: of the alignment, see `python_scorer.list_steps`.
        characters: counts of the CER.
        words: one a token of the hypothesis; empty if there are no times.
    """

    pair: TextPair
    steps: str
    characters: Counts
    words: tuple[SpokenWord, ...]

    @property
    def errors(self) -> int:
        """Of the tokens that are shown."""
        return len(self.steps) - self.steps.count("C")

    @property
    def confidence(self) -> float | None:
        """Mean over the words; None without any."""
        return mean_confidence(self.words)


@dataclass(frozen=True)
class Decoded:
    """A decoded set.

    Args:
        of: where it is.
        utterances: sorted by id.
        graphemes: pairs of grapheme clusters, for the characters that are often mistaken.
        scores: metric -> scorer -> result.
        correction: what stage 5 says that correcting takes; None where it has not.
        by_words: whether tokens are words.
        seconds: of each utterance that has a known length, by id.
        audio: what wav.scp says, by id.
        notes: what is missing, a sentence each.
    """

    of: DecodedSet
    utterances: tuple[Utterance, ...]
    graphemes: tuple[TextPair, ...]
    scores: Scores
    correction: Correction | None
    by_words: bool
    seconds: dict[str, float]
    audio: dict[str, str]
    notes: tuple[str, ...]

    @property
    def has_times(self) -> bool:
        """Whether any utterance has times of its words."""
        return any(one.words for one in self.utterances)


def read_decoded(of: DecodedSet, symbols: Sequence[str], calibration: Calibration | None) -> Decoded:
    """Read and align a set.

    Args:
        of: where it is.
        symbols: what is not scored.
        calibration: from a confidence to the probability of being right; None = confidences as they are.

    Raises:
        UserError: reference and hypothesis do not belong together, or a file is damaged.
    """
    speakers = of.dump / "utt2spk"
    pairs = pair_texts(
        of.dump / "text", of.folder / "text", speakers if speakers.is_file() else None, symbols
    )
    unspaced = find_reason_against_words(pairs)
    by_words = unspaced is None
    tokens = [pair if by_words else TOKENIZERS["gcer"](pair) for pair in pairs]
    characters = score_utterances([TOKENIZERS["cer"](pair) for pair in pairs])
    steps = list_steps(tokens)
    scores = _read_scores(of, pairs, characters, unspaced)
    record = of.folder / "score.json"
    times, notes = _read_times(of, pairs, symbols, by_words, calibration)
    problems: list[str] = []
    samples = {}
    if (file := of.dump / "utt2num_samples").is_file():
        samples = read_num_samples(file, problems)
    audio = {}
    if (file := of.dump / "wav.scp").is_file():
        audio = {id: entry.value for id, entry in read_list(file, problems).items()}
    raise_collected(problems, of.dump)
    return Decoded(
        of=of,
        utterances=tuple(
            Utterance(pair, letters, counts, times.get(pair.id, ()))
            for pair, letters, counts in zip(tokens, steps, characters, strict=True)
        ),
        graphemes=tuple(TOKENIZERS["gcer"](pair) for pair in pairs),
        scores=scores,
        correction=read_correction(record) if record.is_file() else None,
        by_words=by_words,
        seconds={id: number / SAMPLE_RATE for id, number in samples.items()},
        audio=audio,
        notes=tuple(notes),
    )


def _read_scores(
    of: DecodedSet, pairs: list[TextPair], characters: list[Counts], unspaced: str | None
) -> Scores:
    """Those of stage 5; counted here by the Python scorer alone where it has not run.

    Raises:
        UserError: the record is of other texts.
    """
    record = of.folder / "score.json"
    if record.is_file():
        scores = read_score(record)[1]
        if scores["cer"]["python"].counts != sum(characters, Counts()):
            raise UserError(f"{record} is not of {of.folder / 'text'}: run stage {SCORE} again")
        return scores
    missing = ScorerResult(None, None, NOT_SCORED)
    scores = {}
    for metric in RATE_METRICS:
        reason = unspaced if metric == "wer" else None
        python = ScorerResult(None, None, reason)
        if reason is None:
            python = score_with_jiwer([TOKENIZERS[metric](pair) for pair in pairs], with_interval=True)
        scores[metric] = {"sclite": missing, "python": python}
    return scores


def _read_times(
    of: DecodedSet,
    pairs: list[TextPair],
    symbols: Sequence[str],
    by_words: bool,
    calibration: Calibration | None,
) -> tuple[dict[str, tuple[SpokenWord, ...]], list[str]]:
    """Times and confidences of the shown tokens by id, and what has to be said about them."""
    file: Path = of.folder / "ctm"
    if not file.is_file():
        return {}, [
            f"{of.name} has no times and confidences of words: decode it again with --search greedy or lm "
            "(stages 4 and 5), which writes them."
        ]
    found = {one.audio: one for one in read_all(file)}
    times, other = {}, []
    for pair in pairs:
        recording = found.get(pair.id)
        said = [word for tier in recording.tiers for word in tier.segments] if recording else []
        said = [word for word in said if word.text not in symbols]
        if [word.text for word in said] != list(pair.hypothesis):
            other.append(pair.id)
            continue
        words = []
        for word in said:
            sure = word.confidence
            if sure is not None and calibration is not None:
                sure = calibration(sure)
            # The space before a word goes with it.
            copies = 1 if by_words else len(split_graphemes(word.text)) + bool(words)
            words += [SpokenWord(word.start, sure)] * copies
        times[pair.id] = tuple(words)
    notes = []
    if other:
        notes.append(
            f"{file} has other words than {of.folder / 'text'} for {count(len(other), 'utterance')}, e.g. "
            f"{other[0]}, which have no times here: run stages 4 and 5 again."
        )
    return times, notes
