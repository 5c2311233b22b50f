"""What decides about stored features is read as ESPnet reads it, without ESPnet."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from espnet_wsm.errors import UserError
from espnet_wsm.plugin.arguments import read_arguments
from espnet_wsm.plugin.task import WsmASRTask

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = sorted([*ROOT.glob("egs/*/asr1/conf/train*.yaml"), *ROOT.glob("conf/train*.yaml")])
OPTIONS = [
    [],
    ["--encoder_conf", "upstream=a=b", "--encoder_conf", "window=[2, 5]", "--encoder_conf", "trust=true"],
    ["--encoder_conf", "{mixer: sm, width: 64}", "--encoder_conf", "mixer=wsm"],
    ["--encoder_conf", "{'mixer': 'sm'}", "--max_epoch", "3", "--optim_conf", "lr=0.1", "--seed", "4"],
    ["--encoder", "conformer", "--preprocessor", "multi", "--preprocessor_conf", "data_aug_effects=[]"],
    ["--rir_scp", "rir.scp", "--noise_scp", "none", "--speech_volume_normalize", "1"],
    ["--speech_volume_normalize=none", "--noise_scp=n.scp", "--encoder_conf=features=weighted_sum"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_they_are_those_that_espnet_reads(configuration, options):
    words = ["--config", str(configuration), *options]
    expected = vars(WsmASRTask.get_parser().parse_args(words))
    got = vars(read_arguments(words))
    del got["config"]
    assert got == {name: expected[name] for name in got}


def test_without_a_configuration_they_are_espnets_defaults():
    expected = vars(WsmASRTask.get_parser().parse_args([]))
    got = vars(read_arguments([]))
    assert got == {name: expected[name] for name in got}


def test_reading_them_takes_no_long_import(tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text("encoder: wsm_s3prl\nencoder_conf: {upstream: models/mine}\n")
    code = (
        "import sys; from espnet_wsm.plugin.arguments import find_reason_against_cache, read_arguments\n"
        "print(find_reason_against_cache(read_arguments(['--config', sys.argv[1]])))\n"
        "print(sorted({'espnet2.tasks.asr', 's3prl', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code, config], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["None", "[]"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("- a\n", "holds no mapping"), ("encoder: [", "is not YAML"), (None, "cannot be read")],
)
def test_a_configuration_that_is_none_is_named(tmp_path, content, message):
    config = tmp_path / "train.yaml"
    if content is not None:
        config.write_text(content)
    with pytest.raises(UserError, match=f"{config} {message}"):
        read_arguments(["--config", str(config)])


def test_settings_of_the_configuration_are_not_changed_by_options(tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({"encoder_conf": {"mixer": "sm"}}))
    words = ["--config", str(config)]
    assert read_arguments([*words, "--encoder_conf", "window=3"]).encoder_conf == {"mixer": "sm", "window": 3}
    causal = read_arguments([*words, "--encoder_conf", "causal=true"])
    assert causal.encoder_conf == {"mixer": "sm", "causal": True}
    assert read_arguments(words).encoder_conf == {"mixer": "sm"}
