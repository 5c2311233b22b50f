"""Find the times of a text that is known: forced alignment of words by CTC.

Each line of the text becomes an utterance. Without --format, the words are printed: start and end in seconds,
confidence (the probability of the least probable of their characters) and word, separated by tabs.

Examples:
  espnet-wsm align --model exp/asr_train_ctc_char talk.wav --text talk.txt
  espnet-wsm align --model exp/asr_train_ctc_char talk.wav --text talk.txt --format eaf textgrid
"""

import argparse
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_wsm.annotations import Recording, Tier
from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.data.audio.opening import find_seconds
from espnet_wsm.data.audio.recordings import stream_converted
from espnet_wsm.data.corpora.trees import read_utf8
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.recognition.options import add_model_arguments, load_model
from espnet_wsm.recognition.outputs import Outputs, add_output_arguments
from espnet_wsm.recognition.progress import show_progress

if TYPE_CHECKING:
    from espnet_wsm.recognition.known_text import Aligned

MOST_NAMED = 20


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", metavar="AUDIO", help="wav, flac, mp3, mp4, m4a, ..., of any length")
    parser.add_argument(
        "--text", type=Path, required=True, help="what is said in it, a line an utterance, UTF-8"
    )
    add_model_arguments(parser)
    add_output_arguments(parser, "text")
    add_channel_argument(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    try:
        lines = read_utf8(args.text).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--text {args.text} cannot be read as UTF-8 text: {error}") from None
    if not any(line.strip() for line in lines):
        raise UserError(f"--text {args.text} holds no text: there is nothing to align")
    outputs = Outputs(args.format or [], args.out_dir, args.overwrite)
    outputs.check([args.audio])
    blocks = stream_converted(args.audio, channel=args.channel)
    first = next(blocks)  # what cannot be read is told before the model is loaded
    transcriber = load_model(args)

    from espnet_wsm.recognition.known_text import align_text

    try:
        with show_progress("align", [find_seconds(args.audio)]) as bar:
            aligned = align_text(transcriber, chain([first], blocks), lines, bar.advance)
    except UserError as error:
        raise UserError(f"{args.audio}, --text {args.text}: {error}") from None
    _say_missing(aligned)
    if not args.format:
        for segment in aligned.segments:
            for word in segment.words:
                sure = "" if word.confidence is None else f"{word.confidence:.3f}"
                print(f"{word.start:.2f}\t{word.end:.2f}\t{sure}\t{word.text}")
    recording = Recording(Path(args.audio).name, (Tier(args.tier, aligned.segments),), aligned.duration)
    outputs.write(args.audio, recording)


def _say_missing(aligned: "Aligned") -> None:
    """Name what the model lacks, the most frequent first."""
    if not aligned.missing:
        return
    named = [f"{text} ({number})" for text, number in list(aligned.missing.items())[:MOST_NAMED]]
    more = len(aligned.missing) - len(named)
    print(
        f"warning: aligned around what the model has no tokens for: {', '.join(named)}"
        f"{f' and {more} more' if more else ''}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
