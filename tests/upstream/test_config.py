"""What the configuration of an encoder refuses, and where it places the cut."""

import re
from dataclasses import fields

import pytest

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import MIXERS, WsmConfig, load_upstream, prepare_suffix
from espnet_wsm.upstream.config import DROP, MIXER_NAMES, RULES
from espnet_wsm.upstream.cut import cut_of


def test_the_key_path_of_earlier_versions_says_what_to_write():
    message = "no key path: write 'upstream: models/my.pt' in place of upstream and path; the family is"
    with pytest.raises(UserError, match=re.escape(message)):
        WsmConfig.from_dict({"upstream": "wav2vec2_local", "path": "models/my.pt"})


def test_an_unknown_key_lists_the_known_ones_and_an_upstream_is_needed():
    with pytest.raises(
        UserError, match=r"no key num_layers, windowed; the keys are upstream, trust, num_replaced"
    ):
        WsmConfig.from_dict({"upstream": "x", "windowed": 3, "num_layers": 2})
    for conf in ({}, {"upstream": None}, {"upstream": ""}):
        with pytest.raises(
            UserError, match="encoder_conf needs 'upstream', the path of a checkpoint or S3PRL's"
        ):
            WsmConfig.from_dict(conf)


@pytest.mark.parametrize(
    ("field", "values", "expected"),
    [
        ("upstream", (3, 5, 1.5, True, ["a"]), "a name or a path, in quotes where YAML reads it otherwise"),
        ("trust", (1, "yes", "true", None), "true or false"),
        (
            "layers",
            ([], [0], [0, 1], [1.0], [True], [2, 2], "2", 2, [None]),
            "a list of different layer numbers from 1",
        ),
        ("num_replaced", (-1, 1.0, True, "2", None), "a number of layers, 0 or more"),
        (
            "mixer",
            ("wms", "WSM", "", None, ["wsm"]),
            "one of attention, drop, gc_lora, kept, kv_pool, local, lora, random_attention, reset, sm, wsm",
        ),
        ("window", (-1, [], 2.5, [1, True]), "a number of frames, 0 or more, or a list of them"),
        ("width", (0, 8.0), "a number of channels, 1 or more, or null"),
        ("heads", (True, 0), "1 or more"),
        ("dropout", (1.0, -0.1), "at least 0 and below 1"),
        ("shared_projection", ("no", 1), "true or false"),
        (
            "hidden",
            ([], [0], [8, 1.0], [True], 512, "512"),
            "a list of numbers of channels, each 1 or more, or",
        ),
        ("combine_activation", ("relu", "", None, ["gelu"]), "one of none, gelu"),
        ("causal", (0, "yes", None), "true or false"),
        ("max_look_ahead", (-1, 2.0, True, "10"), "a number of frames, 0 or more, or null"),
        (
            "windows",
            (-1, [], [[1, 0]], [[0, 1, 2]], [1, 2], [[0, True]], [[[0, 1]], [0, 1]], "heads"),
            r"attention, a list of \[first, last\] frames of each head",
        ),
        ("init", ("pretrained", None), "one of attention, random"),
        ("key_weights", (0, "yes", None), "true or false"),
        ("per_frame_width", (-1, 2.0, True), "a number of channels, 0 or more, or null"),
        ("global_summary", (1, None), "true or false"),
        ("lora_kernel", (0, 4, -1, 5.0, True, None), "an odd number of frames"),
        ("pool", (0, -1, 4.0, True, None), "a number of frames, 1 or more"),
        ("lora_rank", (0, -1, 8.0, True, None), "1 or more"),
        ("lora_alpha", (0, -1.0, True, "16"), "above 0"),
        ("trainable", ("all", "", None, ["mixer"]), "one of layer, mixer, suffix"),
        ("features", ("first", "sum", None), "one of last, weighted_sum"),
        ("prefix_dtype", ("fp16", None), "one of float32, float16, bfloat16"),
        ("suffix_dtype", ("float16", None), "one of float32, bfloat16, auto"),
        ("recompute", (True, "all", None), "one of auto, none, block, layer"),
        ("exact_padding", (0, 1, "false"), "true or false"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_field_and_value(field, values, expected):
    for value in values:
        with pytest.raises(
            UserError, match=f"^{field} has to be {expected}.*, got {re.escape(repr(value))}$"
        ):
            WsmConfig.from_dict({"upstream": "x"} | {field: value})


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (
            {"mixer": "attention", "causal": True},
            "causal: true is for the mixers wsm, sm, local, not for att",
        ),
        ({"mixer": "drop", "causal": True}, "causal: true is for the mixers wsm, sm, local, not for drop"),
        ({"mixer": "wsm_heads", "causal": True}, "not for wsm_heads: it has max_look_ahead: 0 for that"),
        (
            {"mixer": "wsm", "max_look_ahead": 5},
            "max_look_ahead is for the mixer wsm_heads, not for wsm: it has c",
        ),
        ({"mixer": "lora", "max_look_ahead": 0}, "max_look_ahead is for the mixer wsm_heads, not for lora$"),
    ],
)
def test_a_key_of_another_mixer_that_would_promise_a_stream_is_refused(conf, message):
    with pytest.raises(UserError, match=message):
        WsmConfig.from_dict({"upstream": "x"} | conf)


def test_heads_that_do_not_divide_the_upstream_are_refused(upstream_path):
    config = WsmConfig(upstream_path("hf_hubert", True), heads=5)
    expert, checkpoint = load_upstream(config.upstream)
    _, suffix = cut_of(expert, checkpoint.family, config)
    with pytest.raises(UserError, match=f"mixer wsm does not fit {config.upstream}: .*dim=32 and heads=5"):
        prepare_suffix(suffix, (0, 1), 32, config)


@pytest.mark.parametrize(
    ("conf", "below", "replaced"),
    [
        ({}, 10, (0, 1)),
        ({"num_replaced": 1}, 11, (0,)),
        ({"num_replaced": 0}, 12, ()),
        ({"num_replaced": 12}, 0, tuple(range(12))),
        ({"layers": [12]}, 11, (0,)),
        ({"layers": (9, 3)}, 2, (0, 6)),
        ({"layers": [1], "num_replaced": 20}, 0, (0,)),
    ],
)
def test_the_cut_lies_below_the_lowest_replaced_layer(conf, below, replaced):
    assert WsmConfig("x", **conf).place_cut(12) == (below, replaced)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"num_replaced": 13}, "num_replaced is 13, but the upstream has only 12 layers"),
        ({"layers": [13]}, "layers names layer 13, but the upstream has only 12 layers"),
        ({"layers": [20, 1]}, "layers names layer 20, but the upstream has only 12 layers"),
    ],
)
def test_more_layers_than_the_upstream_has_are_refused_with_both_numbers(conf, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        WsmConfig("x", **conf).place_cut(12)


def test_every_name_of_a_mixer_is_built_or_removes_layers():
    assert (*MIXERS, DROP) == MIXER_NAMES


def test_every_field_has_a_rule():
    assert {field.name for field in fields(WsmConfig)} == RULES.keys()
