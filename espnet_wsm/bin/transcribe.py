"""Transcribe audio of any format: prints texts, or writes files with times.

Prints `FILE<TAB>text` for each. Any sampling rate and number of channels will do. A folder stands for the
audio in and below it, `-` for the names on the lines of standard input. Files that cannot be read are
skipped and named at the end; the exit status is then 1.

Examples:
  espnet-wsm transcribe --model exp/asr_train_ctc_char talk.mp3 interviews/*.wav > texts.tsv
  espnet-wsm transcribe --model exp/asr_train_ctc_char interviews --format eaf srt --skip_existing
"""

import argparse
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
import soundfile

from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.data.audio.recordings import read_converted
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.recognition.options import add_model_arguments, load_model
from espnet_wsm.recognition.outputs import Outputs, add_output_arguments, list_recordings
from espnet_wsm.recognition.transcript import PAUSE, TIER

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Transcriber


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="wav, flac, mp3, ogg, sph, ..., folders, - (see above)"
    )
    add_model_arguments(parser)
    parser.add_argument("--out", type=Path, help="file to write (default: standard output)")
    writing = parser.add_argument_group("files with times and confidences, one for each recording")
    add_output_arguments(writing, TIER)
    writing.add_argument(
        "--skip_existing", action="store_true", help="leave out recordings whose files are there"
    )
    writing.add_argument(
        "--pause", type=float, default=PAUSE, metavar="SECONDS",
        help=f"silence between words at which an utterance ends (default: {PAUSE})",
    )  # fmt: skip
    add_channel_argument(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    if args.out is not None and _is_audio(args.out):
        raise UserError(f"--out {args.out} is audio and would be overwritten: name another file")

    files = list_recordings(args.files)
    outputs = _find_outputs(args)
    if outputs is not None:
        files = [file for file in files if not (outputs.keep and outputs.are_there(file))]
        outputs.check(files)
    if not files:
        print("the files of all recordings are there", file=sys.stderr)
        return
    transcriber = load_model(args)
    if outputs is not None and transcriber.decoder.calibration is None:
        print(
            "confidences are as measured, not probabilities: stages 4 and 5 of the recipe calibrate them",
            file=sys.stderr,
        )
    _transcribe(args, transcriber, files, outputs)


def _find_outputs(args: argparse.Namespace) -> Outputs | None:
    """What is written for each file; None where texts are printed."""
    if not args.format:
        for name in ("out_dir", "overwrite", "skip_existing"):
            if getattr(args, name):
                raise UserError(f"--{name} is for files with times: name their --format, e.g. --format json")
        return None
    if args.out is not None:
        raise UserError("--out takes texts without times: leave it out, or --format")
    if not 0 <= args.pause < float("inf"):
        raise UserError(f"--pause {args.pause:g}: give seconds, 0 or more")
    return Outputs(args.format, args.out_dir, args.overwrite, keep=args.skip_existing)


def _transcribe(
    args: argparse.Namespace, transcriber: "Transcriber", files: list[str], outputs: Outputs | None
) -> None:
    from tqdm import tqdm

    faults: list[UserError] = []
    names: deque[str] = deque()

    def read() -> Iterator[np.ndarray]:
        for file in files:
            try:
                samples = _read(file, args.channel)
            except UserError as error:
                faults.append(error)
                bar.update()
            else:
                names.append(file)
                yield samples

    with (
        _open_output(args.out) as out,
        tqdm(total=len(files), desc="transcribe", unit="file", disable=len(files) == 1) as bar,
    ):
        if outputs is None:
            for text in transcriber.transcribe_all(read(), progress=True):
                tqdm.write(f"{names.popleft()}\t{text}", file=out)
                out.flush()
                bar.update()
        else:
            for transcript in transcriber.detail_all(read(), progress=True):
                file = names.popleft()
                try:
                    outputs.write(file, transcript.to_recording(Path(file).name, args.tier, args.pause))
                except UserError as error:
                    faults.append(error)
                bar.update()
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


def _is_audio(file: Path) -> bool:
    try:
        soundfile.info(str(file))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a .raw file
        return False
    return True


def _open_output(file: Path | None) -> AbstractContextManager[TextIO]:
    if file is None:
        return nullcontext(sys.stdout)
    try:
        return file.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {file} cannot be written: {error.strerror}") from None


def _read(file: str, channel: int | None) -> np.ndarray:
    if not file.isprintable():
        raise UserError(f"{file!a} is not a name that can be printed as text: rename the file")
    return read_converted(file, channel=channel)


if __name__ == "__main__":
    main()
