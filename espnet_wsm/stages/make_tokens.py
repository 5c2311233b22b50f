"""Make a token list (tokens.txt, for bpe and unigram also bpe.model and bpe.vocab) from transcripts."""

import argparse
from pathlib import Path

from espnet_wsm.data.text.tokens import TOKEN_TYPES, make_token_list, read_symbols
from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="transcripts, e.g. dump/raw/train/text")
    parser.add_argument("--token_type", choices=TOKEN_TYPES, default="char", help="default: char")
    parser.add_argument(
        "--nbpe", type=int, default=100, help="length of the list for bpe and unigram (default: 100)"
    )
    parser.add_argument(
        "--non_linguistic_symbols",
        type=Path,
        metavar="FILE",
        help="symbols that are one token each, one per line",
    )
    parser.add_argument(
        "--byte_fallback",
        choices=("true", "false"),
        default="false",
        help="true: 256 of the bpe or unigram tokens are bytes, so that every character can be written",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write, e.g. dump/token_list/char")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    symbols = read_symbols(args.non_linguistic_symbols) if args.non_linguistic_symbols else ()
    byte_fallback = args.byte_fallback == "true"
    tokens = make_token_list(args.text, args.out, args.token_type, args.nbpe, symbols, byte_fallback)
    print(f"{args.out / 'tokens.txt'}: {len(tokens)} {args.token_type} tokens")


if __name__ == "__main__":
    main()
