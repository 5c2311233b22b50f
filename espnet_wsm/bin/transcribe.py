"""Transcribe audio of any format: prints texts, or writes files with times.

Prints `FILE<TAB>text` for each. Any length, sampling rate and number of channels will do. A folder stands for
the audio in and below it, `-` for the names on the lines of standard input. If ffmpeg is installed, it reads
the sound of videos, and what else libsndfile does not (m4a, wma, ...). Files that cannot be read are skipped
and named at the end; the exit status is then 1.

With --live, audio is transcribed while it comes. On a terminal, final text is never written over, and what
may still change follows it faintly. Elsewhere each utterance is a line, START<TAB>END<TAB>text in seconds.

Examples:
  espnet-wsm transcribe --model exp/asr_train_ctc_char talk.mp3 interviews/*.wav > texts.tsv
  espnet-wsm transcribe --model exp/asr_train_ctc_char interviews --format eaf srt --skip_existing
  espnet-wsm transcribe --model exp/asr_train_ctc_char --live microphone --stats
  ffmpeg -v error -i URL -ac 1 -ar 16000 -f s16le - | espnet-wsm transcribe --model exp/asr_X --live
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import soundfile

from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.data.audio.media import is_media
from espnet_wsm.data.audio.opening import find_seconds
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.files import write_text
from espnet_wsm.recognition.live_command import add_live_arguments, check_live, transcribe_live
from espnet_wsm.recognition.options import add_model_arguments, load_model
from espnet_wsm.recognition.outputs import Outputs, add_output_arguments, list_recordings
from espnet_wsm.recognition.processes import Processes
from espnet_wsm.recognition.progress import show_progress
from espnet_wsm.recognition.transcript import TIER
from espnet_wsm.recognition.transcription import Transcription
from espnet_wsm.recognition.utterance_options import add_utterance_arguments, check_utterance_arguments


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="wav, flac, mp3, mp4, m4a, ..., folders, - (see above)"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N",
        help="processes with a model each, which share out the files and the cores (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, help="file to write when all is done (default: standard output, a line at a time)"
    )
    writing = parser.add_argument_group("files with times and confidences, one for each recording")
    add_output_arguments(writing, TIER)
    writing.add_argument(
        "--skip_existing", action="store_true", help="leave out recordings whose files are there"
    )
    add_utterance_arguments(writing)
    add_channel_argument(parser)
    add_live_arguments(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    check_live(args)
    if args.live is not None:
        check_utterance_arguments(args)
        transcribe_live(args)
        return
    if args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}: give 1 or more processes")
    if args.out is not None:
        _check_out(args.out)
    files = list_recordings(args.files)
    outputs = _find_outputs(args)
    if outputs is not None:
        files = [file for file in files if not (outputs.keep and outputs.are_there(file))]
        outputs.check(files)
    if not files:
        print("the files of all recordings are there", file=sys.stderr)
        return
    _transcribe(args, files, outputs)


def _find_outputs(args: argparse.Namespace) -> Outputs | None:
    """What is written for each file; None where texts are printed."""
    if not args.format:
        for name in ("out_dir", "overwrite", "skip_existing"):
            if getattr(args, name):
                raise UserError(f"--{name} is for files with times: name their --format, e.g. --format json")
        return None
    if args.out is not None:
        raise UserError("--out takes texts without times: leave it out, or --format")
    check_utterance_arguments(args)
    return Outputs(args.format, args.out_dir, args.overwrite, keep=args.skip_existing)


def _transcribe(args: argparse.Namespace, files: list[str], outputs: Outputs | None) -> None:
    from tqdm import tqdm

    transcription = Transcription(args.channel, outputs, args.tier, args.pause, args.longest)
    jobs = min(args.jobs, len(files))
    transcriber = load_model(args) if jobs == 1 else None
    if transcriber is not None and (warning := transcription.find_warning(transcriber)):
        print(warning, file=sys.stderr)
    faults: list[UserError] = []
    lines: list[str] = []
    with show_progress("transcribe", [find_seconds(file) for file in files]) as bar:
        if transcriber is not None:
            found = transcription.run(transcriber, files, bar.advance)
        else:
            found = Processes(jobs, partial(load_model, args, jobs), transcription).run(files, bar.advance)
        for file, text in found:
            bar.end_file()
            if isinstance(text, UserError):
                faults.append(text)
            elif args.out is not None:
                lines.append(f"{file}\t{text}")
            elif outputs is None:
                tqdm.write(f"{file}\t{text}", file=sys.stdout)
                sys.stdout.flush()
    if args.out is not None:
        write_text(args.out, lines)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


def _check_out(file: Path) -> None:
    """Raise UserError for what must not be written over, before hours of work."""
    folder = file.absolute().parent
    if file.exists() and not file.is_file():
        raise UserError(f"--out {file} is not a file: name one, or leave --out out for standard output")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"--out {file} cannot be written: name a file in a folder that can")
    if file.exists() and (is_media(file) or _is_audio(file)):
        raise UserError(f"--out {file} is audio and would be overwritten: name another file")


def _is_audio(file: Path) -> bool:
    try:
        soundfile.info(str(file))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a .raw file
        return False
    return True


if __name__ == "__main__":
    main()
