"""Show an upstream's family and layers, and what training would replace in it.

Example:
  espnet-wsm inspect_upstream upstreams/xls_r_300m --num_replaced 2
"""

import argparse

from espnet_wsm.errors import report_user_errors


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "upstream", metavar="NAME_or_PATH", help="a checkpoint, or S3PRL's name for one on this machine"
    )
    parser.add_argument("--num_replaced", type=int, default=2, help="layers from the top (default: 2)")
    parser.add_argument(
        "--layers", type=int, nargs="+", help="numbers of layers instead of the last k, 1 = the lowest"
    )
    parser.add_argument("--mixer", default="wsm", help="what replaces their attention (default: wsm)")
    parser.add_argument(
        "--trainable", default="layer", help="mixer, layer or suffix: what trains (default: layer)"
    )
    parser.add_argument(
        "--trust", action="store_true", help="open a checkpoint that can run code when it is loaded"
    )
    parser.add_argument(
        "--padding", action="store_true", help="also measure how padding changes the output for an utterance"
    )
    args = vars(parser.parse_args(argv))
    padding = args.pop("padding")

    from espnet_wsm.upstream import WsmConfig
    from espnet_wsm.upstream.inspection import inspect_upstream

    # Head windows have the same parameters wherever they lie.
    print(inspect_upstream(WsmConfig(**args, windows=None), padding))


if __name__ == "__main__":
    main()
