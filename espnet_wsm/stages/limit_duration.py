"""Print the seconds of the longest utterance to train on: as given, or less if the upstream takes no more.

The arguments of the training stand after `--`.

Example:
  python -m espnet_wsm.stages.limit_duration --max_seconds 40 -- --config train.yaml
"""

import argparse
import sys
from collections.abc import Sequence

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.stages import split_arguments


def find_limit(training: Sequence[str]) -> float | None:
    """Seconds that the upstream of a training takes at most; None for any duration."""
    from espnet_wsm.frames import HOP, SAMPLE_RATE
    from espnet_wsm.plugin.arguments import NAME, read_arguments
    from espnet_wsm.upstream import WsmConfig, find_checkpoint

    args = read_arguments(training)
    if args.encoder != NAME:
        return None
    config = WsmConfig.from_dict(args.encoder_conf)
    checkpoint = find_checkpoint(config.upstream, config.trust)
    frames = checkpoint.family.max_frames(checkpoint.weights, config.trust)
    return None if frames is None else frames * HOP / SAMPLE_RATE


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    own, training = split_arguments(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max_seconds", type=float, required=True, help="longest utterance to train on")
    parser.add_argument(
        "--join_to",
        type=float,
        default=0,
        help="seconds up to which utterances are joined (default: 0, none)",
    )
    args = parser.parse_args(own)
    limit = find_limit(training)
    if limit is not None and limit < args.max_seconds:
        print(
            f"the upstream takes {limit:g} s at most: longer utterances are not trained on", file=sys.stderr
        )
        args.max_seconds = limit
    if args.join_to > args.max_seconds:
        allowed = "the upstream takes" if args.max_seconds == limit else "--max_wav_duration allows"
        raise UserError(
            f"--join_to {args.join_to:g}: give at most {args.max_seconds:g} seconds, what {allowed}"
        )
    print(f"{args.max_seconds:.12g}")


if __name__ == "__main__":
    main()
