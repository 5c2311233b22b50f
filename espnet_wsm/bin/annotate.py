"""Recognise what is not transcribed yet, into a copy of an ELAN or Praat file.

The copy, NAME.asr.eaf or NAME.asr.TextGrid, is the file with a new tier of utterances and one of their
confidences; all else is as it was, byte for byte. The audio is looked for where the file says it is, beside
it, and in a folder of audio there. Files that cannot be annotated are named at the end; the exit status is
then 1.

Examples:
  espnet-wsm annotate --model exp/asr_train_ctc_char interview.eaf
  espnet-wsm annotate --model exp/asr_train_ctc_char *.eaf --tiers anna boris --shortest 2 --out_dir drafts
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_wsm.annotations import Segment, Tier, eaf, select_tiers, textgrid, textgrid_copies
from espnet_wsm.annotations.clock import show_confidence
from espnet_wsm.annotations.eaf.drafts import CONFIDENCE
from espnet_wsm.annotations.stretches import find_untranscribed, floor_milliseconds
from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.data.audio.recordings import read_header
from espnet_wsm.data.corpora.audio_search import AudioSearch
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.recognition.options import UNCALIBRATED, add_model_arguments, load_model
from espnet_wsm.recognition.outputs import check_out_dir
from espnet_wsm.recognition.progress import show_progress
from espnet_wsm.recognition.stretches import read_whole, recognise_stretches
from espnet_wsm.recognition.transcript import TIER
from espnet_wsm.recognition.utterance_options import add_utterance_arguments, check_utterance_arguments

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Advance, Transcriber

SHORTEST = 1.0  # seconds


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="NAME.eaf or NAME.TextGrid")
    add_model_arguments(parser)
    add_channel_argument(parser)
    where = parser.add_argument_group("where")
    where.add_argument(
        "--where", choices=("untranscribed", "all"), default="untranscribed",
        help="stretches without annotations, or the whole recording (default: untranscribed)",
    )  # fmt: skip
    where.add_argument(
        "--tiers", nargs="+", metavar="NAME", help="whose annotations count for that (default: all tiers)"
    )
    where.add_argument(
        "--shortest", type=float, default=SHORTEST, metavar="SECONDS",
        help=f"leave out untranscribed stretches that are shorter (default: {SHORTEST:g})",
    )  # fmt: skip
    where.add_argument(
        "--audio", type=Path,
        help="the audio of FILE, if it is not found or another one; or the folder of that of all of them",
    )  # fmt: skip
    writing = parser.add_argument_group("what is written")
    writing.add_argument("--tier", default=TIER, help=f"name of the new tier (default: {TIER})")
    writing.add_argument("--words", action="store_true", help="tiers of words and of their confidences too")
    add_utterance_arguments(writing)
    writing.add_argument("--out", type=Path, help="the copy of the only FILE")
    writing.add_argument("--out_dir", type=Path, help="folder for the copies (default: beside each FILE)")
    writing.add_argument("--overwrite", action="store_true", help="replace copies that are there")
    writing.add_argument(
        "--encoding", help="of TextGrids that are neither UTF-8 nor marked: cp1252, latin-1, mac_roman, ..."
    )
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    folder = args.audio if args.audio is not None and args.audio.is_dir() else None
    args.audio = args.audio if folder is None else None
    _check(args)
    faults: list[UserError] = []
    plans: list[_Plan] = []
    search = AudioSearch(folder)
    for file in dict.fromkeys(args.files):
        try:
            plan = _plan(file, args, search)
            if other := next((one for one in plans if one.out == plan.out), None):
                raise UserError(f"{other.file} and {file} would both be written to {plan.out}: rename one")
        except UserError as error:
            faults.append(error)
        else:
            plans.append(plan)
    for said in search.several:
        print(f"warning: {said}", file=sys.stderr)
    for plan in plans:
        if not plan.stretches:
            print(f"{plan.file}: no stretch of {args.shortest:g} s is untranscribed", file=sys.stderr)
    plans = [plan for plan in plans if plan.stretches]
    if plans:
        faults += _annotate_all(plans, args)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


def _check(args: argparse.Namespace) -> None:
    for name in ("out", "audio"):
        if getattr(args, name) is not None and len(args.files) > 1:
            raise UserError(f"--{name} is for one FILE, and there are {len(args.files)}: leave it out")
    Tier(args.tier)  # checks the name
    check_out_dir(args.out_dir)
    if args.out is not None and args.out_dir is not None:
        raise UserError("--out and --out_dir both say where the copy goes: leave one out")
    if not 0 <= args.shortest < float("inf"):
        raise UserError(f"--shortest {args.shortest:g}: give seconds, 0 or more")
    check_utterance_arguments(args)


@dataclass(frozen=True)
class _Plan:
    """What is recognised for a file: ``stretches`` of the ``audio``, in milliseconds."""

    file: Path
    audio: Path
    out: Path
    stretches: Sequence[tuple[int, int]]

    @property
    def seconds(self) -> float:
        """Of all stretches."""
        return sum(end - start for start, end in self.stretches) / 1000


def _is_eaf(file: Path) -> bool:
    return file.suffix.lower() == ".eaf"


def _plan(file: Path, args: argparse.Namespace, search: AudioSearch) -> _Plan:
    is_eaf = _is_eaf(file)
    if not is_eaf and file.suffix.lower() != ".textgrid":
        raise UserError(f"{file} is neither an .eaf nor a .TextGrid: convert_annotations makes one of others")
    out = args.out or (args.out_dir or file.parent) / f"{file.stem}.asr{file.suffix}"
    if out.suffix.lower() != file.suffix.lower():
        raise UserError(f"--out {out}: the copy of {file.name} ends in {file.suffix} too")
    recording = eaf.read(file) if is_eaf else textgrid.read(file, encoding=args.encoding)
    if out.exists() and out.samefile(file):
        raise UserError(f"{file} would be written over, and only copies are written: name another --out")
    if out.exists() and not args.overwrite:
        raise UserError(f"{out} is there already: --overwrite replaces it")
    if any(tier.name == args.tier for tier in recording.tiers):
        raise UserError(f"{file} has a tier {args.tier} already: --tier names the new one otherwise")
    audio = args.audio or _find_audio(file, recording.audio, search)
    end = floor_milliseconds(read_header(audio).seconds)
    if recording.duration is not None:  # of a TextGrid, which holds nothing behind it
        end = min(end, floor_milliseconds(recording.duration))
    window = max(0, eaf.find_origin(file)) if is_eaf else 0, end
    try:
        counted = select_tiers(recording, args.tiers).tiers if args.tiers else recording.tiers
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    everywhere = args.where == "all" or not any(tier.segments for tier in counted)
    shortest = 0 if everywhere else round(1000 * args.shortest)
    return _Plan(file, audio, out, find_untranscribed(() if everywhere else counted, window, shortest))


def _find_audio(file: Path, named: str | None, search: AudioSearch) -> Path:
    """As `prepare_corpus` finds it; else a video that the file names, whose sound ffmpeg reads."""
    if found := search.find(file, named):
        return found
    if _is_eaf(file) and (media := eaf.find_media(file)):
        return media[0]
    what = f"the audio of {file}, {named}," if named else f"audio of the name of {file}"
    raise UserError(
        f"{what} is not on this machine: put it beside the file, or in a folder audio there, or name it or "
        "its folder with --audio"
    )


def _annotate_all(plans: Sequence[_Plan], args: argparse.Namespace) -> list[UserError]:
    """Write the copies; returns what went wrong."""
    from tqdm import tqdm

    transcriber = load_model(args)
    if transcriber.decoder.calibration is None:
        print(UNCALIBRATED, file=sys.stderr)
    faults = []
    with show_progress("annotate", [plan.seconds for plan in plans]) as bar:
        for plan in plans:
            try:
                said = _annotate(plan, transcriber, args, bar.advance)
            except UserError as error:
                faults.append(error)
            else:
                tqdm.write(said)
            bar.end_file()
    return faults


def _annotate(plan: _Plan, transcriber: "Transcriber", args: argparse.Namespace, advance: "Advance") -> str:
    """Write the copy of a file, and say what is in it."""
    samples = read_whole(plan.audio, args.channel)
    found = recognise_stretches(transcriber, samples, plan.stretches, args.pause, args.longest, advance)
    segments = [segment for stretch in found for segment in stretch]
    kept = tuple(segment if args.words else replace(segment, words=()) for segment in segments)
    tier = Tier(args.tier, kept)
    if _is_eaf(plan.file):
        eaf.add_tiers(plan.file, plan.out, [tier], overwrite=args.overwrite)
    else:
        tiers = [tier, _show_confidences(tier)]
        textgrid_copies.add_tiers(
            plan.file, plan.out, tiers, encoding=args.encoding, overwrite=args.overwrite
        )
    return f"{plan.out}: {len(kept)} utterances in {plan.seconds:.1f} s of {plan.audio}"


def _show_confidences(tier: Tier) -> Tier:
    """A tier of confidences as texts, where a format has none."""
    return Tier(
        tier.name + CONFIDENCE,
        tuple(
            Segment(segment.start, segment.end, show_confidence(segment.confidence))
            for segment in tier.segments
            if segment.confidence is not None
        ),
    )


if __name__ == "__main__":
    main()
