"""Decode one job's share of several sets in one process.

One process, because importing ESPnet takes longer than decoding a small set. Each job takes whole batches of
utterances of similar length, so that results do not depend on --nj; with fewer batches than jobs, some jobs
do nothing. The output of a set is in OUT/SET/log/output.JOB.

Example:
  python -m espnet_wsm.stages.decode_sets --search greedy --nj 4 --job 1 --out exp/asr/decode_greedy \\
    dump/raw/org/dev dump/raw/test \\
    -- --asr_train_config exp/asr/config.yaml --asr_model_file exp/asr/valid.cer_ctc.ave.pth
"""

import argparse
import sys
from pathlib import Path

from espnet_wsm.bin import asr_inference_greedy, asr_inference_lm
from espnet_wsm.data.dump.batches import check_job, take_batches
from espnet_wsm.errors import report_user_errors
from espnet_wsm.files import write_text
from espnet_wsm.recipe.settings import SEARCHES
from espnet_wsm.stages import split_arguments

BATCHED = {"greedy": asr_inference_greedy, "lm": asr_inference_lm}


def make_parser() -> argparse.ArgumentParser:
    """Build the command line; arguments after ``--`` are the decoder's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--search",
        choices=SEARCHES,
        default="greedy",
        help="asr_inference_greedy, asr_inference, asr_inference_lm",
    )
    parser.add_argument("--nj", type=int, default=1, help="number of jobs")
    parser.add_argument("--job", type=int, default=1, help="number of this job, from 1")
    parser.add_argument("--out", type=Path, required=True, help="exp/TAG/decode_*")
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET", help="folder in dump/raw")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point.

    Raises:
        UserError: there is no such job, or a list of a set is faulty.
    """
    own, decoder_args = split_arguments(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(own)
    check_job(args.job, args.nj)
    shares = {}
    for folder in args.sets:
        out = args.out / folder.name / "log"
        arguments = [*decoder_args, "--output_dir", str(out / f"output.{args.job}")]
        arguments += ["--data_path_and_name_and_type", f"{out}/wav.{args.job}.scp,speech,sound"]
        # ESPnet's beam search takes one utterance at a time.
        batched = BATCHED.get(args.search)
        size = batched.get_parser().parse_args(arguments).batch_size if batched else 1
        if share := take_batches(folder, size, args.nj, args.job):
            write_text(out / f"wav.{args.job}.scp", [f"{id} {audio}" for id, audio in share.items()])
            shares[folder] = arguments
    if not shares:
        print("nothing to decode: there are fewer batches than jobs", file=sys.stderr)
        return

    if batched := BATCHED.get(args.search):
        decode = batched.main
    else:
        from espnet_wsm.bin.asr_inference import main as decode
    for folder, arguments in shares.items():
        print(f"{folder.name}: {folder}", file=sys.stderr, flush=True)
        decode(arguments)


if __name__ == "__main__":
    main()
