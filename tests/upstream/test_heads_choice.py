"""What a configuration says by naming a heads.json becomes numbers, or is refused."""

import argparse
import json
from dataclasses import asdict, replace

import pytest
import yaml

from espnet_wsm.errors import UserError
from espnet_wsm.plugin.task import WsmASRTask
from espnet_wsm.upstream import WsmConfig, find_checkpoint
from espnet_wsm.upstream.heads_record import HeadWindowsRecord, LayerHeads, read_record

HEADS = 4
LEFT = (0.5, 0.2, 0.4)  # of the three layers, from the lowest


def make_layer(number: int, left: float | None, after: float | None = None) -> LayerHeads:
    windows = tuple((-number, head) for head in range(HEADS))
    return LayerHeads(number, windows, (0.5,) * HEADS, ((0.1, 0.6, 0.1),) * HEADS, left, after)


@pytest.fixture
def upstream(upstream_path) -> str:
    return upstream_path("hf_hubert", True)


@pytest.fixture
def record(upstream) -> HeadWindowsRecord:
    layers = tuple(make_layer(number, left) for number, left in enumerate(LEFT, 1))
    return HeadWindowsRecord(0.1, 1, 3000, layers, find_checkpoint(upstream).digest)


@pytest.fixture
def file(record, tmp_path):
    path = tmp_path / "heads.json"
    record.write(path)
    return path


def list_windows(number: int) -> list[list[int]]:
    return [[-number, head] for head in range(HEADS)]


@pytest.mark.parametrize(("count", "layers"), [(1, [2]), (2, [2, 3]), (3, [1, 2, 3])])
def test_the_cheapest_layers_become_their_numbers(upstream, file, count, layers):
    config = WsmConfig.from_dict({"upstream": upstream, "layers": f"auto:{count}:{file}"})
    assert config.layers == layers
    assert WsmConfig.from_dict(asdict(config)) == config


def test_what_is_left_after_a_transfer_ranks_if_all_layers_had_one(record, tmp_path):
    after = [0.1, 0.3, 0.2]
    both = replace(
        record,
        layers=tuple(replace(x, left_after=y) for x, y in zip(record.layers, after, strict=True)),
    )
    assert record.ranking == (2, 3, 1) and both.ranking == (1, 3, 2)
    partly = replace(both, layers=(*both.layers[:2], record.layers[2]))
    assert partly.ranking == (2, 3, 1)
    both.write(tmp_path / "heads.json")
    assert read_record(tmp_path / "heads.json") == both


@pytest.mark.parametrize(
    ("conf", "layers"),
    [
        ({}, [2, 3]),
        ({"num_replaced": 1}, [3]),
        ({"layers": [3, 1]}, [1, 3]),
        ({"layers": "auto:1:{file}"}, [2]),
    ],
)
def test_windows_of_the_replaced_layers_become_lists(upstream, file, conf, layers):
    conf = {key: value.format(file=file) if isinstance(value, str) else value for key, value in conf.items()}
    config = WsmConfig.from_dict({"upstream": upstream, "mixer": "wsm_heads", "windows": str(file)} | conf)
    assert config.windows == [list_windows(layer) for layer in layers]
    assert WsmConfig.from_dict(asdict(config)) == config


def test_mixers_without_windows_of_heads_do_not_read_the_file(upstream):
    conf = {"upstream": upstream, "mixer": "attention", "windows": "none/heads.json"}
    assert WsmConfig.from_dict(conf).windows == "attention"


def test_no_replaced_layer_needs_no_windows(upstream, file):
    conf = {"upstream": upstream, "mixer": "wsm_heads", "num_replaced": 0, "windows": str(file)}
    assert WsmConfig.from_dict(conf).windows == "attention"


def test_a_training_from_waveforms_records_the_numbers(upstream, file):
    conf = {"upstream": upstream, "mixer": "wsm_heads", "windows": str(file), "layers": f"auto:1:{file}"}
    args = argparse.Namespace(
        token_list=["<blank>", "<unk>", "A", "<sos/eos>"], input_size=1, frontend=None, frontend_conf={},
        specaug=None, normalize=None, preencoder=None, encoder="wsm_s3prl", encoder_conf=conf,
        postencoder=None, decoder=None, ctc_conf={}, model="espnet", model_conf={"ctc_weight": 1.0},
        init=None, output_dir=None,
    )  # fmt: skip
    encoder = WsmASRTask.build_model(args).encoder
    written = yaml.safe_load(yaml.safe_dump(args.encoder_conf))
    assert written["layers"] == [2] and written["windows"] == [list_windows(2)]
    block = encoder.suffix.layers[0].attention.mixer
    assert block.windows == tuple(map(tuple, list_windows(2)))


def rewrite(file, change) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def drop_ranking(content) -> None:
    for layer in content["layers"]:
        del layer["left_in_all"], layer["left_after"]


def change_upstream(content) -> None:
    content["upstream"] = "0123456789abcdef"


@pytest.mark.parametrize(
    ("conf", "change", "message"),
    [
        ({"layers": "auto:4:{file}"}, None, r"auto:4 asks for 4 layers, but .*heads.json ranks only 3$"),
        ({"layers": "auto:1:{file}"}, drop_ranking, r"heads.json does not rank its layers, .*make it anew"),
        ({"layers": "auto:1:{file}"}, change_upstream, r"was read off another upstream \(0123456789ab inst"),
        (
            {"layers": "auto:1:none.json"},
            None,
            "none.json does not exist: stage 2 with --mixer wsm_heads writes it",
        ),
        ({"windows": "{file}"}, change_upstream, r"was read off another upstream \(0123456789ab instead"),
        (
            {"windows": "none.json"},
            None,
            "none.json does not exist: stage 2 with --mixer wsm_heads writes it",
        ),
        ({"windows": "{file}", "num_replaced": 4}, None, "num_replaced is 4, but the upstream has only 3"),
        ({"windows": "{file}", "layers": [1]}, lambda it: it["layers"].pop(0), "has no windows of layer 1"),
        ({"layers": "auto:2"}, None, r"layers has to be .*auto:K:PATH .*, got 'auto:2'$"),
        ({"layers": "auto:0:{file}"}, None, r"layers has to be .*auto:K:PATH .*, got 'auto:0:"),
        ({"layers": "auto:two:{file}"}, None, r"layers has to be .*auto:K:PATH"),
        (
            {"windows": "heads.txt"},
            None,
            r"windows has to be .*the path of a heads.json, or null, got 'heads",
        ),
    ],
)
def test_a_file_or_a_word_that_does_not_fit_is_refused(upstream, file, conf, change, message):
    if change is not None:
        rewrite(file, change)
    conf = {key: value.format(file=file) if isinstance(value, str) else value for key, value in conf.items()}
    with pytest.raises(UserError, match=message):
        WsmConfig.from_dict({"upstream": upstream, "mixer": "wsm_heads"} | conf)


def test_an_older_file_without_a_ranking_still_has_windows(upstream, file):
    rewrite(file, drop_ranking)
    conf = {"upstream": upstream, "mixer": "wsm_heads", "windows": str(file)}
    assert WsmConfig.from_dict(conf).windows == [list_windows(2), list_windows(3)]
