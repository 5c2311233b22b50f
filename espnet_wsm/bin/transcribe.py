"""Transcribe audio files of any format; prints `FILE<TAB>text` for each.

Any sampling rate and number of channels will do. Files that cannot be read are skipped and named at the end;
the exit status is then 1.

Example:
  espnet-wsm transcribe --model exp/asr_train_ctc_char talk.mp3 interviews/*.wav > texts.tsv
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

from espnet_wsm.allocator import keep_memory, uncollected
from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.data.audio.recordings import read_converted
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.recognition.dtypes import DTYPES

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Transcriber


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="wav, flac, mp3, ogg, sph, ...")
    parser.add_argument(
        "--model", required=True, help="experiment folder, e.g. exp/asr_X, or archive of espnet2.bin.pack asr"
    )
    parser.add_argument(
        "--model_file", help="checkpoint (default: the average of the best epochs, or the one in the archive)"
    )
    parser.add_argument("--upstream", help="the upstream's checkpoint, if it is not where training read it")
    parser.add_argument(
        "--trust", action="store_true", help="open an upstream's file even if that runs code from it"
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0 = CPU, 1 = GPU (default: 0)")
    parser.add_argument(
        "--chunk_seconds", type=float, default=30, help="split longer audio into such chunks (default: 30)"
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        default=4,
        help="chunks in a batch, or as much audio in shorter ones and in short files (default: 4)",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="auto",
        help="precision: auto = bfloat16 where the processor is made for it, else float32; trained = as the "
        "training's configuration has it (default: auto)",
    )
    parser.add_argument("--out", type=Path, help="file to write (default: standard output)")
    add_channel_argument(parser)
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    if args.out is not None and _is_audio(args.out):
        raise UserError(f"--out {args.out} is audio and would be overwritten: name another file")

    if args.ngpu == 0:
        keep_memory()
    with uncollected():
        transcriber = _load(args)
    _transcribe(args, transcriber)


def _load(args: argparse.Namespace) -> "Transcriber":
    import espnet_wsm

    return espnet_wsm.load(
        args.model,
        args.upstream,
        "cuda" if args.ngpu > 0 else "cpu",
        model_file=args.model_file,
        chunk_seconds=args.chunk_seconds,
        batch_size=args.batch_size,
        trust=args.trust,
        dtype=args.dtype,
    )


def _transcribe(args: argparse.Namespace, transcriber: "Transcriber") -> None:
    from tqdm import tqdm

    faults: list[UserError] = []
    names: deque[str] = deque()

    def read() -> Iterator[np.ndarray]:
        for file in args.files:
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
        tqdm(total=len(args.files), desc="transcribe", unit="file", disable=len(args.files) == 1) as bar,
    ):
        for text in transcriber.transcribe_all(read(), progress=True):
            tqdm.write(f"{names.popleft()}\t{text}", file=out)
            out.flush()
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
