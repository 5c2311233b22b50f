"""Drop utterances that are too short, too long, or have more text than CTC can align with their frames."""

import argparse
from pathlib import Path

from espnet_wsm.data.dump.selection import select_utterances
from espnet_wsm.data.text.tokens import TOKEN_TYPES
from espnet_wsm.errors import report_user_errors
from espnet_wsm.frames import SAMPLE_RATE


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dir",
        dest="directory",
        metavar="DIR",
        type=Path,
        required=True,
        help="dump folder, e.g. dump/raw/train",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the lists of kept utterances")
    parser.add_argument(
        "--log", type=Path, required=True, help="file for `id reason numbers` of dropped utterances"
    )
    parser.add_argument(
        "--tokens",
        type=Path,
        help="folder of the token list; without it the text is not compared with the length",
    )
    parser.add_argument(
        "--token_type",
        choices=TOKEN_TYPES,
        help="default: sentencepiece if --tokens holds a bpe.model, else char",
    )
    parser.add_argument("--min_seconds", type=float, default=0.1, help="shortest to keep (default: 0.1)")
    parser.add_argument("--max_seconds", type=float, default=20.0, help="longest to keep (default: 20)")
    parser.add_argument(
        "--fs", type=int, default=SAMPLE_RATE, help="sampling rate of the dump in Hz (default: %(default)s)"
    )
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    print(select_utterances(**vars(make_parser().parse_args(argv))))


if __name__ == "__main__":
    main()
