"""Find what is wrong or suspicious in Kaldi data directories.

Lists: encoding, line ends, order under LC_ALL=C, duplicate or missing ids, empty transcripts. Audio: files
that are missing, empty, truncated or not audio; durations; transcripts that do not fit them. With --train:
audio, speakers and texts that other sets share with training, and characters that training lacks. Prints one
line for each directory. Faults are named with file, line, id and remedy, and make the exit status 1; warnings
do not.

Example:
  espnet-wsm validate_data_dir --train data/train data/dev data/test
"""

import argparse
import sys
from pathlib import Path

from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.data.kaldi.lists import raise_collected
from espnet_wsm.data.kaldi.validation import compare_with_training, shorten, survey_data_dir
from espnet_wsm.data.text.rules import add_text_arguments, read_text_arguments
from espnet_wsm.errors import report_user_errors

MOST_SHOWN = 100  # faults


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", metavar="DIR", nargs="*", type=Path, help="e.g. data/dev")
    parser.add_argument(
        "--train", metavar="DIR", type=Path, help="the training set, with which the others are compared"
    )
    parser.add_argument(
        "--no_text", action="store_true", help="neither require nor read a text file (unlabelled audio)"
    )
    parser.add_argument(
        "--no_audio", action="store_true", help="only check that the audio exists, do not open it"
    )
    parser.add_argument(
        "--allow_pipes", default="false", choices=("true", "false"),
        help="true: let wav.scp name commands, 'COMMAND |'; none is run here (default: false)",
    )  # fmt: skip
    parser.add_argument(
        "--min_seconds", type=float, default=0.1, help="warn about shorter audio (default: %(default)s)"
    )
    parser.add_argument(
        "--max_seconds", type=float, default=20, help="warn about longer audio (default: %(default)s)"
    )
    add_channel_argument(parser)
    add_text_arguments(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point.

    Raises:
        UserError: lists everything that is wrong.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    directories = [*([args.train] if args.train else []), *args.directories]
    if not directories:
        parser.error("name at least one directory")
    rules = read_text_arguments(args)
    surveys = [
        survey_data_dir(
            directory,
            need_text=None if args.no_text else True,
            allow_pipes=args.allow_pipes == "true",
            open_audio=not args.no_audio,
            min_seconds=args.min_seconds,
            max_seconds=args.max_seconds,
            rules=rules,
            channel=args.channel,
        )
        for directory in directories
    ]
    if args.train:
        compare_with_training(surveys[0], surveys[1:])
    for survey in surveys:
        for warning in shorten(survey.warnings):
            print(f"warning: {warning}", file=sys.stderr)
    errors = [error for survey in surveys for error in survey.errors]
    raise_collected(shorten(errors), "data directories", MOST_SHOWN)
    for survey in surveys:
        print(survey)


if __name__ == "__main__":
    main()
