"""Convert annotations (ELAN, Praat, subtitles, tables, ...) and say what is lost.

Formats are known by the suffixes of the files, unless --from and --to name them. What OUT cannot hold of
IN is listed, with --dry_run without writing anything.

Example:
  espnet-wsm convert_annotations interview.eaf interview.srt --tiers anna boris
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from espnet_wsm.annotations import (
    FORMATS,
    SubtitleRules,
    describe_losses,
    read_annotations,
    select_tiers,
    write_annotations,
)
from espnet_wsm.annotations.formats import find_format
from espnet_wsm.errors import UserError, report_user_errors

READ = [name for name, one in FORMATS.items() if one.read]
WRITTEN = [name for name, one in FORMATS.items() if one.write]


def list_formats() -> str:
    """The table of formats that ``--help`` shows."""
    lines = ["formats:"]
    for name, one in FORMATS.items():
        uses = " and ".join(word for word, use in (("read", one.read), ("written", one.write)) if use)
        lines.append(f"  {name:<10}  {one.suffix:<9}  {one.description}, {uses}")
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    rules = SubtitleRules()
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=list_formats(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="IN", type=Path, help="file to read")
    parser.add_argument("out", metavar="OUT", type=Path, help="file to write")
    parser.add_argument("--from", dest="read_as", choices=READ, help="format of IN")
    parser.add_argument("--to", dest="write_as", choices=WRITTEN, help="format of OUT")
    parser.add_argument("--tiers", nargs="+", metavar="NAME", help="tiers to take (default: all)")
    parser.add_argument("--recording", help="which one of a ctm or stm with several")
    parser.add_argument(
        "--encoding", help="of IN, if it is neither UTF-8 nor marked: cp1252, latin-1, mac_roman, ..."
    )
    parser.add_argument("--channel", default="1", help="channel in a ctm or stm (default: 1)")
    parser.add_argument(
        "--keep_cues", action="store_true",
        help="subtitles: each segment as it is, however long or short",
    )  # fmt: skip
    parser.add_argument(
        "--line_length", type=int, default=rules.max_line_length, metavar="CHARACTERS",
        help=f"subtitles: longest line (default: {rules.max_line_length})",
    )  # fmt: skip
    parser.add_argument(
        "--reading_speed", type=float, default=rules.max_chars_per_second, metavar="CHARACTERS",
        help=f"subtitles: characters that are read in a second (default: {rules.max_chars_per_second:g})",
    )  # fmt: skip
    parser.add_argument("--dry_run", action="store_true", help="say what would be lost, and write nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    if args.out.exists() and args.source.exists() and args.out.samefile(args.source):
        raise UserError(f"{args.out} is the file that is read: name another one to write")
    write_as = args.write_as or find_format(args.out, writing=True)
    read_options = {
        name: value
        for name, value in (("encoding", args.encoding), ("recording", args.recording))
        if value is not None
    }
    recording = read_annotations(args.source, args.read_as, **read_options)
    if args.tiers:
        try:
            recording = select_tiers(recording, args.tiers)
        except UserError as error:
            raise UserError(f"{args.source}: {error}") from None
    recording = replace(recording, audio=_find_audio(recording.audio, args.source, args.out))
    losses = describe_losses(recording, FORMATS[write_as].loses)
    if not args.dry_run:
        write_annotations(
            recording, args.out, write_as, overwrite=args.overwrite, **_find_options(args, write_as)
        )
    if losses:
        print(f"{args.out} does not hold: {', '.join(losses)}", file=sys.stderr)


def _find_audio(audio: str | None, source: Path, out: Path) -> str | None:
    """The name of the audio: where it is named from the folder of IN and is there, from the folder of OUT."""
    if audio is None or Path(audio).is_absolute() or not (source.parent / audio).is_file():
        return audio
    return Path(os.path.relpath(source.parent / audio, out.parent)).as_posix()


def _find_options(args: argparse.Namespace, write_as: str) -> dict[str, Any]:
    """The options that the written format takes."""
    rules = SubtitleRules(max_line_length=args.line_length, max_chars_per_second=args.reading_speed)
    options = {"channel": args.channel, "rules": None if args.keep_cues else rules}
    return {name: value for name, value in options.items() if name in FORMATS[write_as].write_options}


if __name__ == "__main__":
    main()
