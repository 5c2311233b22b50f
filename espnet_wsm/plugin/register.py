"""The one place that touches ESPnet's class registry. Import it before ESPnet parses its arguments."""

from espnet2.tasks.asr import encoder_choices

from espnet_wsm.plugin.encoder import WsmS3prlEncoder

NAME = "wsm_s3prl"

encoder_choices.classes[NAME] = WsmS3prlEncoder
