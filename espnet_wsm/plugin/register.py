"""The one place that touches ESPnet's class registries. Import it before ESPnet parses its arguments."""

from espnet2.tasks.asr import encoder_choices
from espnet2.train.dataset import DATA_TYPES

from espnet_wsm.plugin.encoder import WsmS3prlEncoder

NAME = "wsm_s3prl"
# In --train_data_path_and_name_and_type: CACHE/SET/feats.scp,speech,feature_cache
CACHE_TYPE = "feature_cache"

encoder_choices.classes[NAME] = WsmS3prlEncoder
