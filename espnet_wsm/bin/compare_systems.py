"""Tell whether two systems differ on a test set by more than noise, in WER or CER."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.data.text.tokens import read_symbols
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.files import write_text
from espnet_wsm.scoring.mapsswe import MatchedPairs
from espnet_wsm.scoring.results import show_p
from espnet_wsm.scoring.sc_stats import ScStats, run_sc_stats
from espnet_wsm.scoring.significance import PairedComparison, Resampling, name_verdict
from espnet_wsm.scoring.trn import TOKENIZERS, TextPair, find_reason_against_words, pair_texts
from espnet_wsm.scoring.two_systems import examine_pair
from espnet_wsm.tables import render_table

METRICS = {"word": "wer", "char": "cer", "grapheme": "gcer"}  # --unit -> key of TOKENIZERS
ONE_RUN = "one training run of each system: the verdict holds for these two models, another seed may turn it"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ref", type=Path, required=True, help="reference text, Kaldi's `id word word ...`")
    parser.add_argument("--hyp_a", type=Path, required=True, help="text decoded by system A, the same ids")
    parser.add_argument("--hyp_b", type=Path, required=True, help="text decoded by system B, the same ids")
    parser.add_argument("--utt2spk", type=Path, help="`id speaker`, for --by speaker")
    parser.add_argument(
        "--non_linguistic_symbols", type=Path, metavar="FILE", help="symbols not to count, one per line"
    )
    parser.add_argument(
        "--by",
        choices=("utterance", "speaker"),
        default="utterance",
        help="what is resampled: choose speaker if the utterances of a speaker are alike and there are about "
        "30 speakers or more (default: utterance)",
    )
    parser.add_argument("--name_a", default="A", help="name of system A in the tables (default: A)")
    parser.add_argument("--name_b", default="B", help="name of system B in the tables (default: B)")
    parser.add_argument(
        "--unit",
        choices=METRICS,
        default="word",
        help="word for WER, char for CER by code point, grapheme for CER by grapheme cluster (default: word)",
    )
    parser.add_argument("--replicates", type=int, default=10_000, help="resampled test sets (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (default: 0)")
    parser.add_argument("--level", type=float, default=0.95, help="level of the intervals (default: 0.95)")
    parser.add_argument("--out", type=Path, help="JSON file for all figures")
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Print rates, difference, tests and a verdict; write them to ``--out`` as JSON if given."""
    args = make_parser().parse_args(argv)
    resampling = Resampling(args.replicates, args.seed, args.level)
    names = _check_names(args.name_a, args.name_b)
    systems = _read_pairs(args)
    tests = examine_pair(*systems, resampling, by_speaker=args.by == "speaker")
    comparison, mapsswe = tests.comparison, tests.mapsswe
    words = sum(len(pair.reference) for pair in systems[0])
    sc_stats, reason = run_sc_stats(*systems) if mapsswe.segments else (None, "no segment holds an error")
    verdict = name_verdict(comparison.difference.verdict, *names)
    notes = _find_notes(comparison, mapsswe, resampling.level)

    print(
        f"{count(len(systems[0]), 'utterance')}, {count(words, args.unit)}, "
        f"{resampling.replicates} test sets resampled by {args.by}\n"
    )
    print(_render_rates(comparison, names, METRICS[args.unit].upper(), resampling.level), end="\n\n")
    print(_render_tests(comparison, mapsswe, sc_stats, reason, names), end="\n\n")
    print(f"verdict at {100 * resampling.level:g} %: {verdict}")
    for note in notes:
        print(f"note: {note}")
    if sc_stats and not _agree(mapsswe, sc_stats):
        print("warning: sc_stats and the Python MAPSSWE differ: please report the two texts", file=sys.stderr)
    if args.out:
        record = {
            "unit": args.unit,
            "by": args.by,
            "names": names,
            "utterances": len(systems[0]),
            "words": words,
            "errors": [sum(errors) for errors in tests.errors],
            "resampling": asdict(resampling),
            "comparison": asdict(comparison),
            "mapsswe": asdict(mapsswe),
            "sc_stats": asdict(sc_stats) if sc_stats else None,
            "sc_stats_reason": reason,
            "verdict": verdict,
            "notes": notes,
        }
        write_text(args.out, json.dumps(record, indent=2, ensure_ascii=False).split("\n"))


def _check_names(name_a: str, name_b: str) -> tuple[str, str]:
    for option, name in (("--name_a", name_a), ("--name_b", name_b)):
        if not name.strip() or not name.isprintable():
            raise UserError(f"{option} is {name!r}: give a name that can be printed on one line")
    if name_a == name_b:
        raise UserError(f"--name_a and --name_b are both {name_a}: give two names")
    return name_a, name_b


def _read_pairs(args: argparse.Namespace) -> list[list[TextPair]]:
    """Tokens of reference and hypothesis, of A and of B, utterances in the same order."""
    if args.by == "speaker" and args.utt2spk is None:
        raise UserError("--by speaker needs --utt2spk: name the test set's utt2spk, or resample by utterance")
    tokenize = TOKENIZERS[METRICS[args.unit]]
    symbols = read_symbols(args.non_linguistic_symbols) if args.non_linguistic_symbols else ()
    texts = [pair_texts(args.ref, hyp, args.utt2spk, symbols) for hyp in (args.hyp_a, args.hyp_b)]
    if args.unit == "word" and (reason := find_reason_against_words(texts[0])):
        raise UserError(f"--unit word: {args.ref}: {reason}: give --unit char or grapheme")
    systems = [[tokenize(pair) for pair in pairs] for pairs in texts]
    if len(systems[0]) < 2:
        raise UserError(f"{args.ref} has one utterance, {systems[0][0].id}: an interval needs 2 or more")
    if args.by == "speaker" and len({pair.speaker for pair in systems[0]}) < 2:
        raise UserError(
            f"{args.utt2spk}: all utterances are of speaker {systems[0][0].speaker}: use --by utterance"
        )
    return systems


def _find_notes(comparison: PairedComparison, mapsswe: MatchedPairs, level: float) -> list[str]:
    notes = [ONE_RUN]
    if comparison.caution:
        notes.append(f"bootstrap: {comparison.caution}")
    if mapsswe.caution:
        notes.append(f"MAPSSWE: {mapsswe.caution}")
    elif (mapsswe.p < 1 - level) != (comparison.difference.verdict != "no difference"):
        notes.append("the paired bootstrap and MAPSSWE do not agree: take the difference as open")
    return notes


def _render_rates(comparison: PairedComparison, names: tuple[str, str], metric: str, level: float) -> str:
    rows = [
        (name, f"{rate.estimate:.2f}", f"{rate.low:.2f} to {rate.high:.2f}")
        for name, rate in zip(names, (comparison.rate_a, comparison.rate_b), strict=True)
    ]
    gap = comparison.difference
    rows.append((" - ".join(names), f"{gap.estimate:+.2f}", f"{gap.low:+.2f} to {gap.high:+.2f}"))
    return render_table(("system", f"{metric} %", f"{100 * level:g} % interval"), rows, num_left=1)


def _render_tests(
    comparison: PairedComparison,
    mapsswe: MatchedPairs,
    sc_stats: ScStats | None,
    reason: str | None,
    names: tuple[str, str],
) -> str:
    rows = [("paired bootstrap", f"{names[1]} better in {comparison.improvement:.2%}", show_p(comparison.p))]
    for label, result in (("MAPSSWE", mapsswe), ("MAPSSWE, sc_stats", sc_stats)):
        if result is None:
            rows.append((label, f"n/a: {reason}", "n/a"))
            continue
        figures = (
            f"{count(result.segments, 'segment')}, mean {result.mean:+.3f}, sd {result.deviation:.3f}, "
            f"z {result.z:+.3f}"
        )
        rows.append((label, figures, result.p if isinstance(result.p, str) else show_p(result.p)))
    return render_table(("test", "result", "p"), rows, num_left=2)


def _agree(ours: MatchedPairs, theirs: ScStats) -> bool:
    """Whether all figures are equal in sc_stats' three decimals."""
    close = all(
        abs(getattr(ours, name) - getattr(theirs, name)) < 0.00051 for name in ("mean", "deviation", "z")
    )
    return close and ours.segments == theirs.segments


if __name__ == "__main__":
    main()
