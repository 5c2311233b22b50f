"""Convert the upstream of a training without labels, from the audio of its sets (see `espnet-wsm convert`).

The arguments of the training stand after `--`; all others go to `espnet-wsm convert`.

Example:
  python -m espnet_wsm.stages.convert --layers all --out exp/upstream --audio dump/raw/org/train \\
    --log dump/log/convert.log -- --config train.yaml
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from espnet_wsm.bin import convert
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.stages import split_arguments


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    from espnet_wsm.plugin.arguments import NAME, read_arguments
    from espnet_wsm.recipe.progress import ReportingBar
    from espnet_wsm.upstream import WsmConfig

    own, training = split_arguments(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--audio", nargs="+", required=True, help="data directories to learn from")
    parser.add_argument("--log", type=Path, help="the log, for a file of progress beside it")
    args, given = parser.parse_known_args(own)
    training_args = read_arguments(training)
    if training_args.encoder != NAME:
        raise UserError(f"--convert needs `encoder: {NAME}`, and the training has {training_args.encoder}")
    config = WsmConfig.from_dict(training_args.encoder_conf)
    trust = ["--trust"] if config.trust else []
    converting = convert.make_parser().parse_args(
        [*args.audio, "--upstream", config.upstream, *trust, *given]
    )
    steps = converting.steps + converting.own_steps
    with ReportingBar(args.log, total=steps, desc="convert", unit="step", mininterval=1) as progress:

        def start_phase(name: str, steps: int) -> Callable[[int, float], None]:
            before = progress.n
            return lambda done, error: progress.show(before + done, {f"{name}: left": error})

        convert.run(converting, start_phase)


if __name__ == "__main__":
    main()
