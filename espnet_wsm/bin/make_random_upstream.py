"""Write a small upstream with random weights, for smoke tests."""

import argparse
from pathlib import Path

from espnet_wsm.errors import report_user_errors


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory, for encoder_conf 'upstream'")
    parser.add_argument("--model_type", default="hubert", help="hubert, wav2vec2 or wavlm")
    parser.add_argument("--num_layers", type=int, default=4, help="transformer layers")
    parser.add_argument("--dim", type=int, default=192, help="channels, a multiple of --heads")
    parser.add_argument("--heads", type=int, default=4, help="attention heads")
    parser.add_argument("--conv_dim", type=int, default=128, help="channels of the feature extractor")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights")
    args = parser.parse_args(argv)

    from espnet_wsm.upstream.random_upstream import RandomUpstreamSize, write_random_upstream

    size = RandomUpstreamSize(args.model_type, args.num_layers, args.dim, args.heads, args.conv_dim)
    print(f"{args.out}: {write_random_upstream(args.out, size, args.seed)}")


if __name__ == "__main__":
    main()
