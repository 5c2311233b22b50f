"""Prepare a word n-gram for decoding, and print the path of its file.

--lm is an n-gram in ARPA or KenLM format, or a text to train one on, one sentence per line. Without it, the
n-gram is trained on the transcripts of --train_text. Other texts are first spelt like the transcripts: by
--text_config, and then without capitals and punctuation marks that the transcripts do not have.

Example:
  python -m espnet_wsm.stages.prepare_lm --lm news.txt --order 4 --train_text dump/raw/train/text \\
    --valid_text dump/raw/dev/text --out exp/asr/decode_lm/lm
"""

import argparse
import sys
from pathlib import Path

from espnet_wsm.data.text.language_model import (
    LARGEST_ORDER,
    Spelling,
    check_vocabulary,
    is_model,
    load_model,
    read_sentences,
    read_training_sentences,
    train_model,
)
from espnet_wsm.data.text.rules import add_text_arguments, find_unspaced_script, read_text_arguments
from espnet_wsm.errors import UserError, report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lm", type=Path, help="a model, or a text to train it on (default: --train_text)")
    parser.add_argument("--order", type=int, default=3, help="order of a model that is trained (default: 3)")
    parser.add_argument("--train_text", type=Path, required=True, help="transcripts of the training set")
    parser.add_argument("--valid_text", type=Path, required=True, help="transcripts of the validation set")
    add_text_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for lm.arpa")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point.

    Raises:
        UserError: --lm is not such a model or text, or does not fit the language.
    """
    args = make_parser().parse_args(argv)
    if not 2 <= args.order <= LARGEST_ORDER:
        raise UserError(f"--order {args.order}: KenLM has n-grams from 2 to {LARGEST_ORDER}")
    if args.lm is not None and not args.lm.is_file():
        raise UserError(f"--lm {args.lm} is not a file: name a language model, or a text to train one on")
    train, valid = read_training_sentences(args.train_text), read_training_sentences(args.valid_text)
    if script := find_unspaced_script(train):
        raise UserError(
            f"{args.train_text}: {script} is written without spaces between words, which a word n-gram "
            "needs: decode without --lm"
        )
    path = args.lm
    if path is None or not is_model(path):
        spelling = Spelling(train, read_text_arguments(args))
        sentences = filter(None, map(spelling.apply, train if path is None else read_sentences(path)))
        path = train_model(sentences, args.order, args.out)
    model = load_model(path)
    texts = {args.train_text: train, args.valid_text: valid}
    print(f"{path}: {model.order}-gram", *check_vocabulary(model, path, texts), sep="\n", file=sys.stderr)
    print(path)


if __name__ == "__main__":
    main()
