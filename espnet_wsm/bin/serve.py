"""Serve a page on which people transcribe, correct and keep recordings.

The page is at http://127.0.0.1:8000 of this computer. Recordings are removed once they are transcribed, and
nothing is stored unless --corpus names a folder and people ask for it. Ctrl-C ends the server.

Example:
  espnet-wsm serve --model exp/asr_train_ctc_char --corpus corrected --open
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.errors import UserError, report_user_errors, require_packages
from espnet_wsm.recognition.live_options import add_timing_arguments, read_timing
from espnet_wsm.recognition.options import add_model_arguments, load_model

if TYPE_CHECKING:
    import socket

    from espnet_wsm.serve.corpus import Corpus

PACKAGES = ("starlette", "uvicorn", "python_multipart", "websockets")  # of the extra


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR",
        help="let people add what they have corrected to this corpus: manifest.csv and audio",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; 0.0.0.0: all (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: 8000)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--max_megabytes", type=float, default=500, help="largest upload (default: 500)")
    parser.add_argument("--max_minutes", type=float, default=180, help="longest recording (default: 180)")
    parser.add_argument(
        "--queue", type=int, default=20, metavar="N", help="recordings that may wait (default: 20)"
    )
    add_channel_argument(parser)
    add_timing_arguments(parser.add_argument_group("text while somebody speaks"))
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    require_packages("serve", PACKAGES, "serve")
    for name in ("max_megabytes", "max_minutes", "queue"):
        if not 0 < getattr(args, name) < float("inf"):
            raise UserError(f"--{name} {getattr(args, name):g}: give a number above 0")

    from espnet_wsm.serve.corpus import Corpus
    from espnet_wsm.serve.guard import is_loopback
    from espnet_wsm.serve.running import format_address, leave_at_once, listen

    corpus = None if args.corpus is None else Corpus(args.corpus)
    with listen(args.host, args.port) as listening:
        if not is_loopback(args.host):
            print(
                "warning: there is no password: whoever reaches this computer may use the page",
                file=sys.stderr,
            )
        try:
            ended = _serve(args, corpus, listening, format_address(listening))
        except KeyboardInterrupt:  # while the model is loaded
            sys.exit(130)
    print("ended", file=sys.stderr)
    if not ended:
        leave_at_once()


def _serve(
    args: argparse.Namespace, corpus: "Corpus | None", listening: "socket.socket", address: str
) -> bool:
    """Whether all threads have ended."""
    from espnet_wsm.serve.app import THRESHOLD, THRESHOLD_UNCALIBRATED, Settings, make_app
    from espnet_wsm.serve.jobs import Jobs
    from espnet_wsm.serve.live import LiveRecogniser
    from espnet_wsm.serve.recogniser import Recogniser
    from espnet_wsm.serve.running import run

    timing = read_timing(args)
    transcriber = load_model(args)
    with TemporaryDirectory(prefix="espnet_wsm_serve_", ignore_cleanup_errors=True) as folder:
        recogniser = Recogniser(transcriber, args.max_minutes, args.channel)
        jobs = Jobs(recogniser, Path(folder), args.queue)
        threshold = THRESHOLD_UNCALIBRATED if transcriber.decoder.calibration is None else THRESHOLD
        settings = Settings(Path(args.model).name, args.host, args.max_megabytes, args.max_minutes, threshold)
        live = LiveRecogniser(transcriber, timing)
        app = make_app(settings, recogniser, jobs, live, corpus)
        print(f"open {address} (Ctrl-C ends the server)", file=sys.stderr)
        if args.open:
            import webbrowser

            webbrowser.open(address)
        return run(app, listening, jobs)


if __name__ == "__main__":
    main()
