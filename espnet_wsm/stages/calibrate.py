"""What the confidences of decoded words are worth, and what makes probabilities of them.

Isotonic regression on the validation set; then, on every set, the AUC of "the word is right" and the expected
calibration error before and after. Writes confidence.json, which transcribe applies, and confidence.png.

Example:
  python -m espnet_wsm.stages.calibrate --decoded exp/asr/decode_greedy \\
    --model_file exp/asr/valid.cer_ctc.ave.pth --valid dev \\
    dev=dump/raw/dev/text test=dump/raw/test/text
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_wsm.annotations import ctm
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.figures import import_pyplot, write_figure
from espnet_wsm.files import digest_file
from espnet_wsm.recognition.calibration import (
    CALIBRATION,
    Calibration,
    Rated,
    fit_calibration,
    measure_reliability,
    split_into_bins,
    write_calibration,
)
from espnet_wsm.scoring.python_scorer import list_steps
from espnet_wsm.scoring.trn import TextPair, read_kaldi_text
from espnet_wsm.tables import render_table


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--decoded", type=Path, required=True, help="folder of stage 4, e.g. exp/X/decode_greedy"
    )
    parser.add_argument("--model_file", type=Path, required=True, help="the checkpoint that decoded")
    parser.add_argument(
        "--valid", required=True, help="name of the set to learn from, which was not trained on"
    )
    parser.add_argument(
        "sets", nargs="+", metavar="SET=TEXT", help="decoded set, and its references as Kaldi's text"
    )
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    rated = {}
    for argument in args.sets:
        name, _, text = argument.partition("=")
        rated[name] = rate_words(Path(text), args.decoded / name / "ctm")
    calibration, why = None, None
    try:
        calibration = fit_calibration(rated[args.valid])
    except UserError as error:
        why = str(error)
    found = {
        # The set that it was learnt from says nothing about it.
        name: measure_reliability(words, calibration if name != args.valid else None)
        for name, words in rated.items()
        if words.confidences
    }
    sets = {name: vars(reliability) for name, reliability in found.items()}
    about = {
        "model_digest": digest_file(args.model_file),
        "learnt_on": args.valid,
        "why_not": why,
        "sets": sets,
    }
    write_calibration(args.decoded / CALIBRATION, calibration, about)
    write_figure(draw(rated, calibration, args.valid), args.decoded / "confidence.png")
    header = ["confidence of words in", "words", "right", "AUC", "calibration error", "calibrated"]
    rows = [
        [name, str(each.words), str(each.right), _show(each.auc), _show(each.ece), _show(each.ece_calibrated)]
        for name, each in found.items()
    ]
    print(render_table(header, rows, num_left=1), end="\n\n")
    if why is not None:
        print(f"confidences stay as they are, with {args.valid} as the validation set: {why}", end="\n\n")


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def rate_words(reference: Path, hypothesis: Path) -> Rated:
    """The confidences of a set's decoded words, and which of them are right: aligned to themselves.

    Args:
        reference: Kaldi's text.
        hypothesis: the set's ``ctm``, in which utterances without words are missing.

    Raises:
        UserError: a file cannot be read, has an utterance that is not in the text, or lacks confidences.
    """
    references = read_kaldi_text(reference)
    pairs, confidences, right = [], [], []
    for recording in ctm.read_all(hypothesis):
        if recording.audio not in references:
            raise UserError(f"{hypothesis}: {recording.audio} is not in {reference}: run stage 4 again")
        words = [word for tier in recording.tiers for word in tier.segments]
        if any(word.confidence is None for word in words):
            raise UserError(
                f"{hypothesis}: {recording.audio} has words without confidence: run stage 4 again"
            )
        confidences += [word.confidence for word in words]
        texts = tuple(word.text for word in words)
        pairs.append(TextPair(recording.audio, "", references[recording.audio], texts))
    for steps in list_steps(pairs):
        right += [step == "C" for step in steps if step != "D"]
    return Rated(tuple(confidences), tuple(right))


def draw(rated: dict[str, Rated], calibration: Calibration | None, learnt_on: str) -> Any:
    """Reliability diagram: for bins of confidence, how many words are right; a panel a set."""
    pyplot = import_pyplot()
    figure, panels = pyplot.subplots(
        1, len(rated), squeeze=False, sharey=True, figsize=(1 + 3.6 * len(rated), 4), layout="constrained"
    )
    for panel, (name, words) in zip(panels[0], rated.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        lines = [("as measured", "#CC6677", "o", np.array(words.confidences))]
        if calibration is not None and name != learnt_on:
            values = np.array([calibration(value) for value in words.confidences])
            lines.append(("calibrated", "#117733", "s", values))
        right = np.array(words.right)
        for label, colour, marker, values in lines if words.confidences else []:
            bins = split_into_bins(values)
            points = [(values[bin_].mean(), right[bin_].mean()) for bin_ in bins]
            sizes = [15 + 250 * bin_.mean() for bin_ in bins]
            panel.plot(*zip(*points, strict=True), color=colour, linewidth=1)
            panel.scatter(
                *zip(*points, strict=True), s=sizes, color=colour, marker=marker, label=label, alpha=0.8
            )
        panel.set(
            title=f"{name}: {len(right)} words", xlabel="confidence", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
        )
        panel.set_aspect("equal")
        if panel.get_legend_handles_labels()[1]:
            panel.legend(loc="upper left", frameon=False, markerscale=0.6)
    panels[0][0].set_ylabel("share of words that are right")
    return figure


if __name__ == "__main__":
    main()
