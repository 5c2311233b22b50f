"""Score a decoded set with sclite and jiwer, in WER, CER and grapheme CER.

Writes trn files, score.json and examples.md. WER is refused for scripts without spaces between words. CER is
counted by code point (cer) and by grapheme cluster (gcer), with spaces and without (_nospace).
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.data.text.tokens import read_symbols
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.files import write_text
from espnet_wsm.scoring.python_scorer import ScorerResult, score_with_jiwer
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
from espnet_wsm.scoring.trn import TOKENIZERS, find_reason_against_words, pair_texts, write_trns


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
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Write the scores below ``--out``, score.json last, and print them as a table."""
    args = make_parser().parse_args(argv)
    if args.num_examples < 0:
        raise UserError(f"--num_examples is {args.num_examples}: give 0 or more")
    if args.sclite_timeout <= 0:
        raise UserError(f"--sclite_timeout is {args.sclite_timeout:g}: give a positive number of seconds")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out} is a file: name a directory")
    record = args.out / "score.json"
    record.unlink(missing_ok=True)  # whatever happens below, an old record must not be taken for a new one
    symbols = read_symbols(args.non_linguistic_symbols) if args.non_linguistic_symbols else ()
    pairs = pair_texts(args.ref, args.hyp, args.utt2spk, symbols)
    set_name = args.set_name or args.out.resolve().name
    scores: Scores = {}
    for metric, tokenize in TOKENIZERS.items():
        directory = args.out / f"score_{metric}"
        shutil.rmtree(directory, ignore_errors=True)
        if metric == "wer" and (reason := find_reason_against_words(pairs)):
            scores[metric] = {name: ScorerResult(None, None, reason) for name in SCORERS}
            continue
        tokens = [tokenize(pair) for pair in pairs]
        write_trns(directory, tokens)
        sclite = run_sclite(tokens, directory / "result.txt", args.sclite_timeout)
        scores[metric] = {"sclite": sclite, "python": score_with_jiwer(tokens, metric in RATE_METRICS)}
    write_text(args.out / "examples.md", render_examples(pairs, args.num_examples).split("\n"))
    write_score(record, set_name, scores)
    print(render_summary(set_name, scores))
    for sentence in find_disagreements(set_name, scores):
        print(f"warning: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    main()
