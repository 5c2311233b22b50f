"""Train with ESPnet's arguments and the encoder wsm_s3prl."""

from espnet_wsm.errors import report_user_errors
from espnet_wsm.plugin.task import WsmASRTask


@report_user_errors
def main(cmd: list[str] | None = None) -> None:
    """Entry point; ``cmd`` as in ``espnet2.bin.asr_train``."""
    WsmASRTask.main(cmd=cmd)


if __name__ == "__main__":
    main()
