"""The options that say which trained model a command uses."""

import argparse


def add_trained_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, its checkpoint, its upstream, and whether that is trusted."""
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
