"""What a configuration of benchmarks may hold."""

import subprocess
import sys

import pytest
import yaml
from tiny import ROOT, tiny, tiny_with_arm

from espnet_wsm.arms import ARMS
from espnet_wsm.benchmark.config import MIXERS, REMOVED, config_from_dict, read_config
from espnet_wsm.errors import UserError
from espnet_wsm.figures import COLOURS
from espnet_wsm.upstream import MIXERS as BUILDERS
from espnet_wsm.upstream.config import KEPT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "huge"}, "architecture has to be one of .*, got 'huge'"),
        ({"lengths_s": [2, 1]}, r"lengths_s .* shortest first, got \(2, 1\)"),
        ({"lengths_s": [-1]}, "lengths_s"),
        ({"lengths_s": ["ten"]}, "lengths_s"),
        ({"reference": {"seconds": 1, "batch": 0}}, "reference: batch has to be .*, got 0"),
        ({"reference": {"second": 1}}, "reference has no key second"),
        ({"reference": 10}, "reference has to be a mapping"),
        ({"num_replaced": 0}, "num_replaced"),
        ({"mixer_conf": {"windowed": 5}}, "mixer_conf"),
        ({"mixer_conf": {"window": -5}}, "window has to be .*, got -5"),
        ({"vocab_size": 1}, "vocab_size"),
        ({"tokens_per_second": 60}, "tokens_per_second has to be .*, got 60"),
        ({"device": "tpu"}, "device has to be one of auto, cpu, cuda, got 'tpu'"),
        ({"dtypes": {"cpu": ["float32"]}}, "dtypes"),
        ({"dtypes": {"cpu": ["int8"], "cuda": ["float32"]}}, "dtypes .*int8"),
        ({"threads": 0}, "threads"),
        ({"seed": 1.5}, "seed"),
        ({"rounds": -1}, "rounds"),
        ({"rounds": True}, "rounds"),
        ({"seconds_per_point": 0}, "seconds_per_point"),
        ({"minutes": float("nan")}, "minutes"),
        ({"bars": {"speed": 1}}, "bars"),
        ({"ratio_arms": {"reference": "nobody"}}, "ratio_arms"),
        ({"ratio_arms_other": {"x": {}}}, "ratio_arms_other"),
        ({"ratio_arms": None}, "lacks ratio_arms"),
        ({"arms": []}, "arms has to be a mapping"),
        ({"arms": {}}, "arms"),
        ({"speed": 1}, "has no key speed"),
    ],
)
def test_a_bad_value_is_refused_with_its_field(tmp_path, changes, message):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(tiny(**changes)))
    with pytest.raises(UserError, match=f"bad.yaml: .*{message}"):
        read_config(file)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({}, "lacks way"),
        ({"way": "tomorrow"}, "way has to be one of .*, got 'tomorrow'"),
        ({"way": "cut", "mixer": "wms"}, "mixer has to be one of .*, got 'wms'"),
        ({"way": "cut", "trainable": "all"}, "trainable"),
        ({"way": "cached", "trainable": "head"}, "trainable"),
        ({"way": "cut", "mixer": "none"}, "trainable"),
        ({"way": "today", "mixer": "none", "trainable": "head"}, "way has to be cut"),
        ({"way": "today", "mixer": "wsm", "trainable": "head"}, "mixer has to be attention"),
        ({"way": "cut", "attention": "flash"}, "attention"),
        ({"way": "today_native", "attention": "eager"}, "attention"),
        ({"way": "cut", "attention_dropout": 1}, "attention_dropout has to be .*, got 1"),
        ({"way": "cut", "trainable": "lora"}, "trainable has to be .*, got 'lora'"),
        ({"way": "transformers", "trainable": "mixer"}, "trainable has to be .*, got 'mixer'"),
        ({"way": "transformers", "mixer": "wsm"}, "mixer has to be attention with transformers"),
        ({"way": "transformers", "recompute": "block"}, "recompute has to be auto or layer"),
        ({"way": "today", "recompute": "layer"}, "recompute has to be auto"),
        ({"way": "cut", "mixer_conf": {"windowed": 5}}, "mixer_conf"),
        ({"way": "cut", "mixer_conf": {"window": -5}}, "window has to be .*, got -5"),
        ({"way": "cached", "measure": ["decode"]}, "measure"),
        ({"way": "cut", "measure": "step"}, "measure"),
        ({"way": "cut", "at": ["home"]}, "at"),
        ({"way": "cut", "longest_s": 0}, "longest_s has to be .*, got 0"),
    ],
)
def test_a_bad_arm_is_refused_with_its_name_and_field(arm, message):
    with pytest.raises(UserError, match=f"arm extra.*{message}"):
        config_from_dict(tiny_with_arm(**arm))


@pytest.mark.parametrize("content", ["- a\n", "a: [", "\xff"])
def test_a_file_that_is_no_configuration_is_refused_by_name(tmp_path, content):
    file = tmp_path / "odd.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"odd\.yaml"):
        read_config(file)
    with pytest.raises(UserError, match=r"missing\.yaml"):
        read_config(tmp_path / "missing.yaml")


def test_the_command_reports_a_bad_configuration_in_one_line(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(tiny(device="tpu")))
    command = [sys.executable, ROOT / "tools/benchmark.py", "--config", file, "--out", tmp_path / "out"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1 and "got 'tpu'" in ended.stderr


def test_every_mixer_that_can_be_measured_has_words_and_a_colour_of_its_own():
    names = set(MIXERS) - {REMOVED}
    assert names == BUILDERS.keys() - {KEPT}  # which is for converted upstreams
    assert all(ARMS[name].words for name in names)
    assert ARMS.keys() <= COLOURS.keys() and len(set(COLOURS.values())) == len(COLOURS)
