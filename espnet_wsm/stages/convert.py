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


class Progress:
    """A bar for both phases of a conversion, which also writes the file of progress beside a log."""

    def __init__(self, steps: int, file: Path | None) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=steps, desc="convert", unit="step", mininterval=1)
        self.file, self.before = file, 0

    def start(self, name: str, steps: int) -> Callable[[int, float], None]:
        """See :class:`espnet_wsm.bin.convert.Bars`."""
        from espnet_wsm.recipe.progress import write_progress

        before, self.before = self.before, self.before + steps

        def step(done: int, error: float) -> None:
            if (self.bar.update(before + done - self.bar.n) or done == steps) and self.file:
                write_progress(self.file, before + done, self.bar.total, {f"{name}: left": error})

        return step


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    from espnet_wsm.plugin.arguments import NAME, read_arguments
    from espnet_wsm.recipe.progress import find_progress_file
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
    args.convert = convert.make_parser().parse_args(
        [*args.audio, "--upstream", config.upstream, *trust, *given]
    )
    progress = Progress(
        args.convert.steps + args.convert.own_steps, args.log and find_progress_file(args.log)
    )
    with progress.bar:
        convert.run(args.convert, progress.start)


if __name__ == "__main__":
    main()
