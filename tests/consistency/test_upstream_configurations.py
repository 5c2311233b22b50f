"""conf/upstream: settings that can work, and the arithmetic that their comments show."""

import json
import re
import statistics
from pathlib import Path

import pytest
import yaml

from espnet_wsm.upstream import WsmConfig
from espnet_wsm.upstream.families.registry import find_family, is_name

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "conf/upstream").glob("*.yaml"))
CARDS_GB = (12, 24, 80)


def bytes_a_second(arm: str) -> float:
    """Peak memory of a training step above the resident model, per second of audio, from the benchmark."""
    record = json.loads((ROOT / "bench/base/result.json").read_text())
    (step,) = [
        m
        for m in record["measurements"]
        if (m["arm"], m["kind"], m["batch"], m["seconds"], m["dtype"]) == (arm, "step", 4, 10, "float32")
    ]
    return statistics.median(step["above_baseline_bytes"]) / 40


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request) -> Path:
    """Each configuration in turn."""
    return request.param


def read_architecture(text: str) -> dict[str, float]:
    """What the comment says of the model."""
    found = re.search(
        r"# (\d+) layers of (\d+) \((.*), ?(?:feed-forward|.* of) (\d+)\), (\d+) M parameters", text
    )
    return {
        "layers": int(found[1]),
        "dim": int(found[2]),
        "blocks": 2 if "two feed-forward blocks" in found[0] else 1,
        "feed_forward": int(found[4]),
        "parameters": int(found[5]) * 1e6,
    }


def test_it_names_a_supported_upstream_and_layers_that_it_has(file):
    settings = yaml.safe_load(file.read_text())
    assert set(settings) == {"encoder_conf", "optim_conf"}
    common = yaml.safe_load((ROOT / "conf/train_ctc.yaml").read_text())
    config = WsmConfig.from_dict(common["encoder_conf"] | settings["encoder_conf"])
    model = read_architecture(file.read_text())
    assert 1 <= config.num_replaced <= model["layers"]
    assert 0 < settings["optim_conf"]["lr"] <= common["optim_conf"]["lr"]
    if is_name(config.upstream):
        find_family(config.upstream)
    else:
        assert re.fullmatch(r"[\w-]+/[\w.-]+", config.upstream), "an id of Hugging Face"
    assert f"fetch_upstream {config.upstream} " in file.read_text()
    assert f"conf/upstream/{file.name}" in file.read_text()


def test_max_seconds_follow_from_the_benchmark(file):
    text = file.read_text()
    conf = yaml.safe_load(text)["encoder_conf"]
    model = read_architecture(text)
    k, dim, blocks = conf["num_replaced"], model["dim"], model["blocks"]
    trained = k * (2 * dim * model["feed_forward"] * blocks + 5 * dim * conf["width"])
    weight = {"float32": 4, "float16": 2}[conf["prefix_dtype"]]
    fixed = 1e9 + weight * model["parameters"] + 16 * trained
    above_the_cut = bytes_a_second("wsm_cached") * k / 2 * dim / 768 * blocks
    per_second = max(bytes_a_second("wsm_cut"), above_the_cut)
    expected = [int((0.9e9 * card - fixed) / per_second) // 10 * 10 for card in CARDS_GB]
    stated = re.search(r"a card of 12, 24, 80 GB: (\d+), (\d+), (\d+)\n", text)
    assert [int(seconds) for seconds in stated.groups()] == expected
    assert f"- {fixed / 1e9:.2f} GB) / {per_second / 1e6:.1f} MB" in text
    assert f'"--batch_bins {16000 * expected[1]}"' in text


def test_every_named_upstream_of_the_main_families_has_one():
    named = {yaml.safe_load(file.read_text())["encoder_conf"]["upstream"] for file in FILES}
    assert {"wav2vec2_base_960", "xlsr_53", "xls_r_300m", "xls_r_1b", "xls_r_2b", "hubert_base"} <= named
    assert {"wavlm_base_plus", "wavlm_large", "data2vec_base_960", "distilhubert"} <= named
