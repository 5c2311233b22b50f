"""The one place that touches ESPnet's class registries. Import it before ESPnet parses its arguments."""

from espnet2.tasks.asr import encoder_choices, model_choices
from espnet2.tasks.hubert import encoder_choices as pretraining_encoder_choices
from espnet2.train.dataset import DATA_TYPES

from espnet_wsm.data.features.reader import FeatureReader
from espnet_wsm.plugin.arguments import MODEL, NAME
from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.plugin.hubert import HubertPretrainEncoder
from espnet_wsm.plugin.model import WsmASRModel

PRETRAINING_NAME = "wsm_hubert"
# The data type of stored features, used as dump/cache/CUT/train/feats.scp,speech,feature_cache
CACHE_TYPE = "feature_cache"

encoder_choices.classes[NAME] = WsmS3prlEncoder
model_choices.classes[MODEL] = WsmASRModel
pretraining_encoder_choices.classes[PRETRAINING_NAME] = HubertPretrainEncoder
DATA_TYPES[CACHE_TYPE] = {
    "func": FeatureReader,
    "kwargs": [],
    "help": "Hidden states below the cut.\n\n   utterance_id_a features.1.1.1.safetensors",
}
