"""A corpus in any of the forms that people have, as rows: which form it is, and the options that say more."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from espnet_wsm.annotations import FORMATS
from espnet_wsm.data.corpora import annotated, spontaneous_speech
from espnet_wsm.data.corpora.annotation_rules import LABEL_STUDIO, NOTES, SPEAKERS, AnnotationRules
from espnet_wsm.data.corpora.columns import COLUMNS, parse_columns
from espnet_wsm.data.corpora.label_studio import is_label_studio, read_json
from espnet_wsm.data.corpora.listing import Listing
from espnet_wsm.data.corpora.parquet import SUFFIX, list_parquet
from espnet_wsm.data.corpora.pieces import LONGEST, OVERLAP, OVERLAPS, PieceRules
from espnet_wsm.data.corpora.tables import name_split, read_table
from espnet_wsm.data.corpora.tier_choice import TierWish
from espnet_wsm.data.corpora.trees import is_of_mac
from espnet_wsm.errors import UserError

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
OURS = "espnet_wsm annotations"  # what a .json of annotations says that it is
HOLDS = (
    f"{', '.join(METADATA)}, wav.scp, parquet, annotations ({', '.join(annotated.SUFFIXES)}, others with "
    "--format) and Common Voice's spontaneous speech"
)


def list_source(
    source: Path,
    columns: Mapping[str, str] | None = None,
    rules: AnnotationRules | None = None,
    store: Path | None = None,
) -> Listing:
    """The rows of a file or folder.

    Args:
        source: anything but Kaldi directories.
        columns: names or numbers of columns, see `read_table`.
        rules: how annotations are read.
        store: folder for audio that is embedded in the source; None: it is only looked at.

    Raises:
        UserError: something cannot be read or understood; gives file, line and remedy.
    """
    columns, rules = columns or {}, rules or AnnotationRules()
    if source.is_file():
        if source.suffix.lower() == SUFFIX:
            return list_parquet([source], columns, store)
        if is_annotated(source, rules):
            return annotated.list_annotations([source], rules, source.parent)
        if source.match(spontaneous_speech.PATTERN):
            return spontaneous_speech.list_release(source, columns, rules.notes)
        return Listing(read_table(source, columns))
    rows = []
    for folder in find_folders(source, METADATA):
        table = next(folder / name for name in METADATA if (folder / name).is_file())
        rows += read_table(table, columns, name_split(folder.name) or "")
    if rows:
        return Listing(rows)
    if releases := sorted(source.glob(spontaneous_speech.PATTERN)):
        return spontaneous_speech.list_release(releases[0], columns, rules.notes)
    if shards := [path for path in sorted(source.rglob(f"*{SUFFIX}")) if not is_of_mac(path)]:
        return list_parquet(shards, columns, store, source)
    if files := annotated.find_files(source, rules.format):
        return annotated.list_annotations(files, rules, source)
    raise UserError(f"{source} holds none of {HOLDS}, nor do its folders")


def find_folders(source: Path, names: Iterable[str]) -> list[Path]:
    """``source``, or those folders in it, that hold a file with one of the names."""
    folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    found = [folder for folder in folders if any((folder / name).is_file() for name in names)]
    return found[:1] if found[:1] == [source] else found


def is_annotated(file: Path, rules: AnnotationRules) -> bool:
    """Whether a file is annotations, and not a table."""
    if rules.format or file.suffix.lower() in annotated.SUFFIXES:
        return True
    if file.suffix.lower() != ".json":
        return False
    content = read_json(file)
    return is_label_studio(content) or (isinstance(content, Mapping) and content.get("format") == OURS)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of :func:`read_source_arguments`."""
    pieces = PieceRules()
    readable = ", ".join([*(name for name, one in FORMATS.items() if one.read), LABEL_STUDIO])
    parser.add_argument(
        "--columns", default="", metavar="KIND=NAME,...",
        help="names of columns, if they differ, e.g. 'text=Satz,path=Datei', or their numbers, if the "
        f"table has no header, e.g. 'path=1,text=2'; kinds: {', '.join(COLUMNS)}",
    )  # fmt: skip
    group = parser.add_argument_group("annotations (ELAN, Praat, subtitles, ...)")
    group.add_argument("--format", default="", help=f"of files whose suffix does not say it: {readable}")
    group.add_argument(
        "--encoding", default="", help="of text files: cp1252, mac_roman, ... (default: UTF-8)"
    )
    group.add_argument("--audio", type=Path, metavar="DIR", help="folder of the recordings (default: beside)")
    group.add_argument(
        "--tier", nargs="+", default=[], metavar="NAME",
        help="tiers to take; * stands for anything, ? for a character, e.g. 'tx@*' (default: the outermost "
        "with text, which are named)",
    )  # fmt: skip
    group.add_argument("--tier_type", default="", metavar="TYPE", help="take tiers of this linguistic type")
    group.add_argument("--tier_number", type=int, metavar="N", help="take the Nth tier of each file")
    group.add_argument(
        "--speaker", default="participant", metavar="|".join(SPEAKERS),
        help="who speaks: the tier's participant, the tier's name, or each file its own speaker "
        "(default: participant, or else the tier of the file)",
    )  # fmt: skip
    group.add_argument(
        "--notes", default="remove", metavar="|".join(NOTES),
        help="notes in brackets, [laughs]: remove them, leave_out the utterance, or keep (default: remove)",
    )  # fmt: skip
    group.add_argument(
        "--overlaps", default=pieces.overlaps, metavar="|".join(OVERLAPS),
        help=f"utterances overlapping with another for more than {OVERLAP:g} s (default: {pieces.overlaps})",
    )  # fmt: skip
    group.add_argument(
        "--padding", type=float, default=pieces.padding, metavar="SECONDS",
        help="taken along before and behind, up to half of the pause (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--merge_below", type=float, default=pieces.merge_below, metavar="SECONDS",
        help="join what is shorter with what the same speaker says next, up to --split_above "
        f"(default: nothing; at most {LONGEST:g} s)",
    )  # fmt: skip
    group.add_argument(
        "--split_above", type=float, default=pieces.split_above, metavar="SECONDS",
        help="split what is longer at pauses, if its words have times (default: nothing)",
    )  # fmt: skip
    group.add_argument(
        "--longest_pause", type=float, default=pieces.longest_pause, metavar="SECONDS",
        help="in what is joined, and between words where there are words alone (default: %(default)s)",
    )  # fmt: skip


def read_source_arguments(args: argparse.Namespace) -> tuple[dict[str, str], AnnotationRules]:
    """Names of columns, and how annotations are read.

    Raises:
        UserError: a value is none of its choices.
    """
    pieces = PieceRules(args.padding, args.merge_below, args.split_above, args.longest_pause, args.overlaps)
    wish = TierWish(tuple(args.tier), args.tier_type, args.tier_number)
    rules = AnnotationRules(args.format, args.encoding, wish, args.speaker, args.notes, args.audio, pieces)
    return parse_columns(args.columns), rules


def list_sources(
    sources: Sequence[Path], columns: Mapping[str, str], rules: AnnotationRules
) -> list[tuple[Path, Listing]]:
    """The listings of several sources, annotation files together as one, under the name of the first.

    Nothing is written.

    Raises:
        UserError: as :func:`list_source`; a source does not exist.
    """
    if missing := [source for source in sources if not source.exists()]:
        raise UserError(f"{missing[0]} does not exist: name a file or folder")
    files = [source for source in sources if source.is_file() and is_annotated(source, rules)]
    listed = [(files[0], annotated.list_annotations(files, rules))] if files else []
    return listed + [(each, list_source(each, columns, rules)) for each in sources if each not in files]
