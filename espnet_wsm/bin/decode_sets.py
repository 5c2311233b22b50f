"""Decode one job's share of several sets in one process.

Importing ESPnet takes longer than decoding a small set. Each FOLDER holds log/splitN/JOB/wav.scp (none where
the set has fewer utterances than there are jobs); its output is log/output.JOB.

Example:
  python -m espnet_wsm.bin.decode_sets --search greedy --nj 4 --job 1 exp/asr/decode_greedy/{dev,test} \\
    -- --asr_train_config exp/asr/config.yaml --asr_model_file exp/asr/valid.cer_ctc.ave.pth
"""

import argparse
import sys
from pathlib import Path

from espnet_wsm.bin import split_arguments
from espnet_wsm.errors import UserError, report_user_errors

SEARCHES = ("greedy", "beam")


def make_parser() -> argparse.ArgumentParser:
    """Build the command line; what follows ``--`` is the decoder's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--search", choices=SEARCHES, default="greedy", help="asr_inference_greedy or asr_inference"
    )
    parser.add_argument("--nj", type=int, default=1, help="jobs that the sets were split for")
    parser.add_argument("--job", type=int, default=1, help="number of this job")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="exp/TAG/decode_SEARCH/SET")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point.

    Raises:
        UserError: no folder holds a list of this job.
    """
    own, decoder_args = split_arguments(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(own)
    lists = [folder / f"log/split{args.nj}/{args.job}/wav.scp" for folder in args.folders]
    if not any(path.is_file() for path in lists):
        raise UserError(
            f"job {args.job} of {args.nj} has nothing to decode: {lists[0]} does not exist; run stage 4"
        )

    if args.search == "greedy":
        from espnet_wsm.bin.asr_inference_greedy import main as decode
    else:
        from espnet_wsm.bin.asr_inference import main as decode
    for folder, path in zip(args.folders, lists, strict=True):
        if path.is_file():
            print(f"{folder.name}: {path}", file=sys.stderr, flush=True)
            output = ["--output_dir", str(folder / f"log/output.{args.job}")]
            decode([*decoder_args, *output, "--data_path_and_name_and_type", f"{path},speech,sound"])


if __name__ == "__main__":
    main()
