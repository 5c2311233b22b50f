"""Score a decoded set with sclite and jiwer, in WER, CER and grapheme CER.

Writes trn files, score.json and examples.md. WER is refused for scripts without spaces between words. CER is
counted by code point (cer) and by grapheme cluster (gcer), with spaces and without (_nospace).

Beside the WER stand the words to touch, which is what correcting the text takes. In each stretch of errors
with no right word inside, the words of the reference that are wrong or missing have to be typed; a stretch of
words that are only too many counts as one. With --utt2num_samples, CER by the duration of utterances too.
"""

import argparse
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.data.dump.lists import read_num_samples
from espnet_wsm.data.kaldi.lists import name_some, raise_collected
from espnet_wsm.data.text.tokens import read_symbols
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.files import write_text
from espnet_wsm.scoring.correction import Correction, describe_correction, measure_correction
from espnet_wsm.scoring.durations import DurationCounts, count_by_duration, describe_durations
from espnet_wsm.scoring.python_scorer import ScorerResult, list_steps, score_steps
from espnet_wsm.scoring.results import (
    RATE_METRICS,
    SCORERS,
    Scores,
    find_disagreements,
    render_examples,
    render_summary,
    write_score,
)
from espnet_wsm.scoring.sclite import run_sclite
from espnet_wsm.scoring.trn import TOKENIZERS, TextPair, find_reason_against_words, pair_texts, write_trns


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ref", type=Path, required=True, help="reference text, Kaldi's `id word word ...`")
    parser.add_argument("--hyp", type=Path, required=True, help="decoded text, the same ids")
    parser.add_argument(
        "--utt2spk", type=Path, help="`id speaker` for sclite's table (default: one per utterance)"
    )
    parser.add_argument(
        "--non_linguistic_symbols", type=Path, metavar="FILE", help="symbols not to count, one per line"
    )
    parser.add_argument("--out", type=Path, required=True, help="directory, e.g. exp/X/decode/test")
    parser.add_argument("--set_name", help="name of the set in tables (default: the last part of --out)")
    parser.add_argument(
        "--num_examples", type=int, default=10, help="utterances shown in examples.md (default: 10)"
    )
    parser.add_argument(
        "--sclite_timeout", type=float, default=600, help="time limit of sclite in seconds (default: 600)"
    )
    parser.add_argument(
        "--seconds_per_correction",
        type=float,
        metavar="S",
        help="seconds that a touched word takes you: also minutes of correction a minute of audio",
    )
    parser.add_argument(
        "--utt2num_samples",
        type=Path,
        metavar="FILE",
        help="lengths in samples of 16 kHz, for these minutes and CER by duration",
    )
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Write the scores below ``--out``, score.json last, and print them as a table."""
    args = make_parser().parse_args(argv)
    if args.num_examples < 0:
        raise UserError(f"--num_examples is {args.num_examples}: give 0 or more")
    if args.sclite_timeout <= 0:
        raise UserError(f"--sclite_timeout is {args.sclite_timeout:g}: give a positive number of seconds")
    each = args.seconds_per_correction
    if each is not None and not 0 < each < math.inf:
        raise UserError(f"--seconds_per_correction is {each:g}: give a number of seconds above 0")
    if each is not None and args.utt2num_samples is None:
        raise UserError("--seconds_per_correction needs the lengths of the audio: give --utt2num_samples")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out} is a file: name a directory")
    record = args.out / "score.json"
    record.unlink(missing_ok=True)  # whatever happens below, an old record must not be taken for a new one
    symbols = read_symbols(args.non_linguistic_symbols) if args.non_linguistic_symbols else ()
    pairs = pair_texts(args.ref, args.hyp, args.utt2spk, symbols)
    samples = None if args.utt2num_samples is None else _read_lengths(args.utt2num_samples, pairs)
    set_name = args.set_name or args.out.resolve().name
    scores: Scores = {}
    correction: Correction | None = None
    durations: list[DurationCounts] = []
    for metric, tokenize in TOKENIZERS.items():
        directory = args.out / f"score_{metric}"
        shutil.rmtree(directory, ignore_errors=True)
        if metric == "wer" and (reason := find_reason_against_words(pairs)):
            scores[metric] = {name: ScorerResult(None, None, reason) for name in SCORERS}
            continue
        tokens = [tokenize(pair) for pair in pairs]
        write_trns(directory, tokens)
        sclite = run_sclite(tokens, directory / "result.txt", args.sclite_timeout)
        steps = list_steps(tokens)
        scores[metric] = {"sclite": sclite, "python": score_steps(steps, metric in RATE_METRICS)}
        if metric == "wer":
            correction = measure_correction(steps, samples, each)
        if metric == "cer" and samples is not None:
            durations = count_by_duration(steps, samples)
    write_text(args.out / "examples.md", render_examples(pairs, args.num_examples).split("\n"))
    write_score(record, set_name, scores, correction, durations)
    print(render_summary(set_name, scores))
    if correction is not None:
        print(f"{set_name}: {describe_correction(correction)}")
    if len(durations) > 1:
        print(f"{set_name}: {describe_durations(durations)}")
    for sentence in find_disagreements(set_name, scores):
        print(f"warning: {sentence}", file=sys.stderr)


def _read_lengths(path: Path, pairs: Sequence[TextPair]) -> list[int]:
    """Samples of each utterance."""
    problems: list[str] = []
    found = read_num_samples(path, problems)
    if missing := [pair.id for pair in pairs if not found.get(pair.id)]:
        problems.append(f"{path}: no length of {name_some(missing)}: run stage 2 again")
    raise_collected(problems, path)
    return [found[pair.id] for pair in pairs]


if __name__ == "__main__":
    main()
