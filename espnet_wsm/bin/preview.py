"""Say what a corpus would become: tiers, speakers, minutes, rare characters.

Nothing is written. Several annotation files are one corpus. The last line is the command to go on with.

Example:
  espnet-wsm preview field
  espnet-wsm preview field/*.eaf --tier 'tx@*' --text_config conf/text.yaml
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.data.corpora.annotated import find_files
from espnet_wsm.data.corpora.annotation_rules import AnnotationRules
from espnet_wsm.data.corpora.preparation import find_kaldi_folders
from espnet_wsm.data.corpora.preview import preview
from espnet_wsm.data.corpora.sources import add_source_arguments, list_sources, read_source_arguments
from espnet_wsm.data.text.rules import add_text_arguments, read_text_arguments
from espnet_wsm.errors import UserError, report_user_errors

OF_TEXT = ("--text_config", "--lang", "--non_linguistic_symbols")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("sources", metavar="FILE", nargs="+", type=Path, help="file or folder")
    add_source_arguments(parser)
    add_text_arguments(parser)
    return parser


def find_source(sources: Sequence[Path], rules: AnnotationRules) -> Path | None:
    """What prepare_corpus is to be given in place of these files; None if they are not all of a folder."""
    if len(sources) == 1:
        return sources[0]
    folder = sources[0].parent
    wanted = {path.resolve() for path in sources}
    return folder if {path.resolve() for path in find_files(folder, rules.format)} == wanted else None


def find_options(argv: Sequence[str], sources: Sequence[Path]) -> str:
    """The options of the source as run.sh takes them in --data_args: words between blanks, without quotes.

    Blanks in patterns of tiers are ``?``, and a folder is named from the root, as run.sh is elsewhere.
    """
    files = {str(source) for source in sources}
    options: list[str] = []
    previous = ""
    for word in argv:
        name, _, value = word.partition("=")
        of_text = previous in OF_TEXT or name in OF_TEXT
        if previous == "--audio" or (name == "--audio" and value):
            word = str(Path(value or word).resolve()) if previous else f"--audio={Path(value).resolve()}"
        if not of_text and (word.startswith("--") or word not in files):
            options.append(word.replace(" ", "?"))
        previous = word if word.startswith("--") and "=" not in word else ""
    return " ".join(options)


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point.

    Raises:
        UserError: a file cannot be read, or the preparation would stop: at the end, with the reason.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    args = make_parser().parse_args(argv)
    if kaldi := [source for source in args.sources if find_kaldi_folders(source)]:
        raise UserError(f"{kaldi[0]} holds Kaldi directories: espnet-wsm report_data_dir describes these")
    columns, rules = read_source_arguments(args)
    texts = read_text_arguments(args)
    faults = []
    for name, listing in list_sources(args.sources, columns, rules):
        print(name)
        lines, fault = preview(listing, texts)
        print("\n".join(f"  {line}" for line in lines))
        faults += [fault] if fault else []
    if faults:
        raise UserError(faults[0])
    source = find_source(args.sources, rules)
    if source is None:
        print("go on: with a folder that holds these files and no other annotations")
        return
    options = find_options(argv, args.sources)
    more = f" --data_args {shlex.quote(options)}" if options else ""
    print(f"go on: tools/new_corpus.sh NAME --lang CODE --manifest {shlex.quote(str(source))}{more}")


if __name__ == "__main__":
    main()
