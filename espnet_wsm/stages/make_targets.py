"""Cluster MFCCs or a layer of an upstream by k-means, as targets of HuBERT's masked prediction."""

import argparse
from pathlib import Path

from espnet_wsm.errors import UserError, report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True, help="dump folder to fit on: dump/raw/train")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="more dump folders to label")
    parser.add_argument("--out", type=Path, required=True, help="folder for SET/labels and targets.json")
    parser.add_argument("--num_clusters", type=int, default=100, help="clusters of k-means")
    parser.add_argument("--upstream", type=Path, help="cluster a layer of this upstream instead of MFCCs")
    parser.add_argument("--layer", type=int, help="number of the layer, 1 = the lowest")
    parser.add_argument("--seed", type=int, default=0, help="seed of k-means and of the choice of frames")
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    if (args.upstream is None) != (args.layer is None):
        raise UserError("--upstream and --layer belong together: give both, or neither for MFCC")
    if args.num_clusters < 2:
        raise UserError(f"--num_clusters {args.num_clusters}: at least 2 are needed")

    from espnet_wsm.pretraining.features import NUM_CEPSTRA, extract_mfcc, make_layer_extractor
    from espnet_wsm.pretraining.targets import make_targets

    if args.upstream:
        extract, num_static = make_layer_extractor(args.upstream, args.layer), 0
        features = f"layer {args.layer} of {args.upstream}"
    else:
        extract, num_static = extract_mfcc, NUM_CEPSTRA
        features = "MFCC with first and second differences, standardised within each voice"
    summaries = make_targets(
        args.train, args.others, args.out, extract, args.num_clusters, args.seed, num_static, features
    )
    for name, summary in summaries.items():
        print(f"{name}: {summary}")


if __name__ == "__main__":
    main()
