"""Decode by greedy CTC in batches; reads and writes the files of asr_inference."""

import argparse
from collections.abc import Callable
from pathlib import Path

from espnet2.utils import config_argparse
from espnet2.utils.types import str2triple_str, str_or_none

from espnet_wsm.allocator import find_device
from espnet_wsm.errors import report_user_errors
from espnet_wsm.recognition.dtypes import DTYPES


def get_parser(description: str | None = __doc__) -> argparse.ArgumentParser:
    """The options, named as in ``espnet2.bin.asr_inference``; ``--config`` takes a YAML file of them."""
    parser = config_argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--output_dir", required=True, help="1best_recog/{text,token,token_int,score,ctm} go here"
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0 = CPU, 1 = GPU")
    parser.add_argument("--num_workers", type=int, default=0, help="data loader processes")
    parser.add_argument("--batch_size", type=int, default=16, help="utterances per batch")
    parser.add_argument(
        "--data_path_and_name_and_type",
        type=str2triple_str,
        action="append",
        required=True,
        help="e.g. dump/raw/test/wav.scp,speech,sound",
    )
    parser.add_argument("--key_file", type=str_or_none, help="decode only the ids in this file")
    parser.add_argument("--asr_train_config", required=True, help="config.yaml of the training")
    parser.add_argument("--asr_model_file", required=True, help="checkpoint")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="trained",
        help="precision of the model; trained = as the training's configuration has it, auto = the fastest "
        "that this processor is made for, which other machines need not repeat to the last digit",
    )
    return parser


@report_user_errors
def main(cmd: list[str] | None = None) -> None:
    """Entry point."""
    args = get_parser().parse_args(cmd)

    from espnet_wsm.recognition.greedy import GreedyCtcDecoder

    files = (args.asr_train_config, args.asr_model_file)
    decode(args, lambda device: GreedyCtcDecoder(*files, device, args.dtype))


def decode(args: argparse.Namespace, make_decoder: Callable[[str], Callable]) -> None:
    """Decode the set that the options name; the words with times and confidences go into a file ``ctm``.

    Args:
        args: the options of :func:`get_parser`.
        make_decoder: makes the decoder for a torch device.

    Raises:
        UserError: there is no GPU, or one of the decoder's files or of the set's is faulty.
    """
    from espnet2.fileio.datadir_writer import DatadirWriter
    from tqdm import tqdm

    from espnet_wsm.recognition.sets import read_batches
    from espnet_wsm.recognition.words import format_ctm_lines

    decoder = make_decoder(str(find_device(args.ngpu)))
    batches = read_batches(args, decoder.train_args)
    folder = Path(args.output_dir) / "1best_recog"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        DatadirWriter(args.output_dir) as writer,
        (folder / "ctm").open("w", encoding="utf-8") as ctm,
        tqdm(desc="decode", unit="utt") as progress,
    ):
        best = writer["1best_recog"]
        for keys, batch in batches:
            for key, hypothesis in zip(keys, decoder(**batch), strict=True):
                best["text"][key] = hypothesis.text
                best["token"][key] = " ".join(hypothesis.tokens)
                best["token_int"][key] = " ".join(map(str, hypothesis.token_ids))
                best["score"][key] = str(hypothesis.score)
                ctm.writelines(f"{line}\n" for line in format_ctm_lines(key, hypothesis.words))
            progress.update(len(keys))


if __name__ == "__main__":
    main()
