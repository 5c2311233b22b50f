"""Measure what each layer of an upstream knows, by a linear layer with CTC on it.

Log-mel features and the same upstream with random weights are measured too, for comparison.

Example, in egs/asterisk/asr1 after stage 2:
  espnet-wsm probe_upstream --upstream DIR --dump dump/en --out probe.json
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from espnet_wsm.errors import report_user_errors
from espnet_wsm.files import write_text
from espnet_wsm.scoring.python_scorer import score_utterances
from espnet_wsm.scoring.significance import bootstrap_error_rate, compare_paired, name_verdict
from espnet_wsm.scoring.trn import ASCII_SPACE, TextPair, split_characters


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--upstream", required=True, help="a checkpoint, or S3PRL's name for one on this machine"
    )
    parser.add_argument("--dump", type=Path, required=True, help="dump folder of a recipe with char tokens")
    parser.add_argument(
        "--layers", type=int, nargs="+", help="numbers of layers, 0 = the input of the lowest (default: all)"
    )
    parser.add_argument("--out", type=Path, help="JSON of all numbers; a plot goes beside it, as .png")
    parser.add_argument(
        "--card", action="store_true", help="also write the table to the model card of an exported upstream"
    )
    parser.add_argument("--train_set", default="train", help="in DUMP/raw (default: train)")
    parser.add_argument("--valid_set", default="dev", help="chooses learning rate and epoch (default: dev)")
    parser.add_argument("--test_set", default="test", help="default: test")
    parser.add_argument(
        "--learning_rates",
        type=float,
        nargs="+",
        default=(0.01, 0.03, 0.1),
        help="learning rates to try (default: 0.01 0.03 0.1)",
    )
    parser.add_argument(
        "--max_epoch", type=int, default=100, help="most epochs with each rate (default: 100)"
    )
    parser.add_argument(
        "--patience", type=int, default=6, help="stop after this many epochs without progress (default: 6)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the order of batches and of random weights (default: 0)"
    )
    return parser


def count_characters(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[list[int], list[int]]:
    """Errors and reference characters of each text, counted like CER in stage 5 of the recipes."""
    words = [
        [tuple(word for word in ASCII_SPACE.split(text) if word) for text in texts]
        for texts in (references, hypotheses)
    ]
    pairs = [TextPair("", "", *sides) for sides in zip(*words, strict=True)]
    counts = score_utterances([split_characters(pair) for pair in pairs])
    return [one.errors for one in counts], [one.words for one in counts]


def add_intervals(record: dict[str, Any]) -> None:
    """Add 95 % bootstrap intervals over utterances to each row: ``interval`` of its test error rate,
    ``gain`` over log-mel (the difference in points and its interval), and the verdict ``better``."""
    characters = record["test_characters"]
    log_mel = next(row for row in record["results"] if row["kind"] == "log-mel")
    for row in record["results"]:
        rate = bootstrap_error_rate(row["test_errors"], characters)
        row["interval"] = [round(rate.low, 2), round(rate.high, 2)]
        gain = compare_paired(log_mel["test_errors"], row["test_errors"], characters).difference
        row["gain"] = [round(value, 2) for value in (gain.estimate, gain.low, gain.high)]
        row["better"] = name_verdict(gain.verdict, "log-mel", "features")


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)

    from espnet_wsm.pretraining.card import find_card, put_probe
    from espnet_wsm.pretraining.linear_probe import ProbeSettings
    from espnet_wsm.pretraining.probe import format_results, plot_results, probe_upstream

    settings = ProbeSettings(**{field.name: getattr(args, field.name) for field in fields(ProbeSettings)})
    if args.card:
        find_card(Path(args.upstream))
    record = probe_upstream(args.upstream, args.dump, count_characters, settings, args.layers)
    add_intervals(record)
    print(format_results(record))
    if args.out:
        write_text(args.out, [json.dumps(record, indent=2)])
        plot_results(record, args.out.with_suffix(".png"))
        print(f"{args.out}, {args.out.with_suffix('.png')}")
    if args.card:
        put_probe(Path(args.upstream), record)


if __name__ == "__main__":
    main()
