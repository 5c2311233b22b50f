"""Write a trained model as ONNX, for sherpa-onnx or any other runtime.

The folder gets model.onnx (prefix, suffix and CTC head in one graph, for recordings of any length),
tokens.txt and a README with the code that runs it. What onnxruntime computes is compared with PyTorch
before anything is kept.

Example:
  espnet-wsm export_onnx --model exp/asr_train_ctc_char --out phone --target sherpa-onnx --int8
"""

import argparse
from pathlib import Path

from espnet_wsm.deploy.names import PLAIN, TARGETS
from espnet_wsm.errors import report_user_errors, require_packages
from espnet_wsm.recognition.model_options import add_trained_model_arguments

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # of the extra


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_trained_model_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--target", choices=TARGETS, default=PLAIN,
        help="sherpa-onnx: for its slot for waveforms, whose normalisation the upstream must bear; "
        "plain: for onnxruntime and your own code (default: plain)",
    )  # fmt: skip
    parser.add_argument(
        "--int8", action="store_true", help="write model.int8.onnx too, with weights in 8 bits"
    )
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    require_packages("export_onnx", PACKAGES, "onnx")

    from espnet_wsm.deploy.export import export_onnx

    exported = export_onnx(
        args.model, args.out, args.target, args.int8, args.upstream, args.model_file, args.trust
    )
    for name, size in exported.sizes.items():
        print(f"{args.out / name}  {size / 1e6:.1f} MB")
    print(f"onnxruntime and PyTorch differ by at most {exported.difference:.1e} in log probabilities")
    if exported.most_seconds is not None:
        print(f"takes recordings of up to {exported.most_seconds:g} s: this upstream has no positions beyond")


if __name__ == "__main__":
    main()
