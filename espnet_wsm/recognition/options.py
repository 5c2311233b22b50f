"""The options of commands that use a trained model."""

import argparse
from typing import TYPE_CHECKING

from espnet_wsm.allocator import keep_memory, uncollected
from espnet_wsm.recognition.dtypes import DTYPES
from espnet_wsm.recognition.model_options import add_trained_model_arguments

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Transcriber

# What is said of a model without `decoder.calibration`.
UNCALIBRATED = "confidences are as measured, not probabilities: stages 4 and 5 of the recipe calibrate them"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, where it runs, and how."""
    add_trained_model_arguments(parser)
    parser.add_argument("--ngpu", type=int, default=0, help="0 = CPU, 1 = GPU (default: 0)")
    parser.add_argument(
        "--chunk_seconds", type=float, default=30, metavar="SECONDS",
        help="cut longer audio at pauses, into chunks of 5 to 10 s (default: 30)",
    )  # fmt: skip
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


def load_model(args: argparse.Namespace, processes: int = 1, live: bool = False) -> "Transcriber":
    """The model that the options of :func:`add_model_arguments` name.

    Args:
        args: those options.
        processes: that share the cores.
        live: whether it hears pieces of one length, and not recordings of any.

    Raises:
        UserError: as ``espnet_wsm.load``.
    """
    import espnet_wsm

    if args.ngpu == 0:
        keep_memory(kernels=live)
    with uncollected():
        model = espnet_wsm.load(
            args.model,
            args.upstream,
            "cuda" if args.ngpu > 0 else "cpu",
            model_file=args.model_file,
            chunk_seconds=args.chunk_seconds,
            batch_size=args.batch_size,
            trust=args.trust,
            dtype=args.dtype,
        )
    if processes > 1:
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    return model
