"""Pre-train HuBERT with ESPnet's arguments and the encoder wsm_hubert."""

from pathlib import Path

import espnet_wsm.plugin.register  # noqa: F401  # registers the encoder
from espnet_wsm.errors import report_user_errors
from espnet_wsm.plugin.hubert import WsmHubertTask
from espnet_wsm.plugin.numbers import parse_training
from espnet_wsm.pretraining.records import record_device


@report_user_errors
def main(cmd: list[str] | None = None) -> None:
    """Entry point; ``cmd`` as in ``espnet2.bin.hubert_train``. Writes the device to ``devices.txt``."""
    args = parse_training(WsmHubertTask.get_parser(), cmd)
    if args.output_dir is not None:
        record_device(Path(args.output_dir), args.ngpu)
    WsmHubertTask.main(args=args)


if __name__ == "__main__":
    main()
