"""Decode by ESPnet's beam search, with ESPnet's arguments."""

from espnet2.bin import asr_inference

from espnet_wsm.errors import report_user_errors
from espnet_wsm.plugin import register  # noqa: F401  (registers the encoder)
from espnet_wsm.recognition.texts import LineTokenizer


class Speech2Text(asr_inference.Speech2Text):
    """ESPnet's, with texts that stay on one line."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.tokenizer is not None:
            self.tokenizer = LineTokenizer(self.tokenizer)


@report_user_errors
def main(cmd: list[str] | None = None) -> None:
    """Entry point; ``cmd`` as in ``espnet2.bin.asr_inference``."""
    asr_inference.Speech2Text = Speech2Text  # its main does not take the class as an argument
    asr_inference.main(cmd=cmd)


if __name__ == "__main__":
    main()
