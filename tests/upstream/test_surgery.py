"""What the surgery replaces, reports and refuses."""

import pytest
import torch
from checkpoints import NUM_LAYERS

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import LayerTable, WsmConfig, load_upstream, prepare_suffix
from espnet_wsm.upstream.config import TRAINABLE
from espnet_wsm.upstream.stored_cut import cut_of
from espnet_wsm.upstream.surgery import describe_prefix, describe_suffix


def cut(config: WsmConfig):
    """(prefix, suffix after surgery, kinds of its layers, family)."""
    expert, checkpoint = load_upstream(config.upstream)
    family = checkpoint.family
    dim = family.dim(expert)
    _, replaced = config.place_cut(NUM_LAYERS)
    prefix, suffix = cut_of(expert, family, config)
    return prefix, suffix, prepare_suffix(suffix, replaced, dim, config), family


@pytest.mark.parametrize(
    ("conf", "kinds"),
    [
        ({"num_replaced": 1}, ["frozen attention", "frozen attention", "wsm"]),
        ({"layers": [1, 3]}, ["wsm", "attention", "wsm"]),
        ({"num_replaced": 0}, ["frozen attention"] * 3),
        ({"layers": [2], "mixer": "drop"}, ["frozen attention", None, "attention"]),
    ],
    ids=["the last", "the first and the last", "none", "one taken out"],
)
@pytest.mark.parametrize("trainable", TRAINABLE)
def test_the_table_names_every_part_and_its_parameters(
    upstream_path, family_name, pre_norm, trainable, conf, kinds
):
    config = WsmConfig(upstream_path(family_name, pre_norm), width=8, trainable=trainable, **conf)
    prefix, suffix, suffix_kinds, family = cut(config)
    num_below = len(family.encoder(prefix.expert).layers)
    rows = (*describe_prefix(prefix), *describe_suffix(suffix, num_below, suffix_kinds))
    table = LayerTable(rows)
    expected = [("below", "frozen"), *((f"layer {i}", kind) for i, kind in enumerate(kinds, 1) if kind)]
    expected += [("final norm", "layer norm")] if pre_norm else []
    assert [(row.layer, row.kind) for row in table.rows] == expected
    parameters = [*prefix.parameters(), *suffix.parameters()]
    assert table.trainable == sum(p.numel() for p in parameters if p.requires_grad)
    assert table.parameters == sum(p.numel() for p in parameters)
    first, *_, total = (line.split("|") for line in str(table).splitlines())
    assert [cell.strip() for cell in first] == ["layer", "kind", "trainable", "parameters"]
    assert total[2].strip() == f"{table.trainable:,}"


def test_random_attention_forgets_and_attention_keeps_the_weights(upstream_path, family_name):
    path = upstream_path(family_name, True)
    _, kept, _, family = cut(WsmConfig(path, mixer="attention"))
    before = kept.state_dict()
    expert, _ = load_upstream(path)
    pretrained = family.encoder(expert).layers[1:].state_dict(prefix="layers.")
    assert all(torch.equal(before[k], v) for k, v in pretrained.items())
    _, reset, _, _ = cut(WsmConfig(path, mixer="random_attention"))
    after = reset.state_dict()
    weights = [k for k in before if f"{family.attention}." in k and k.endswith("weight")]
    assert len(weights) == 8
    assert not any(torch.equal(after[k], before[k]) for k in weights)
    assert all(torch.equal(after[k], v) for k, v in before.items() if f"{family.attention}." not in k)


def test_heads_that_do_not_divide_the_upstream_are_refused(upstream_path):
    path = upstream_path("hf_hubert", True)
    with pytest.raises(UserError, match=f"mixer wsm does not fit {path}: .*dim=32 and heads=5"):
        cut(WsmConfig(path, heads=5))


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (
            {"mixer": "wms"},
            "mixer has to be one of attention, drop, local, lora, random_attention, sm, wsm, got 'wms'",
        ),
        ({"num_replaced": -1}, "num_replaced has to be a number of layers, 0 or more, got -1"),
        ({"num_replaced": "2"}, "num_replaced .* got '2'"),
        ({"layers": []}, r"layers has to be a list of different layer numbers .* got \[\]"),
        ({"layers": [0, 1]}, r"layers has to be .* got \[0, 1\]"),
        ({"layers": [2, 2]}, r"layers has to be .* got \[2, 2\]"),
        ({"layers": 2}, "layers has to be .* got 2"),
        ({"window": -1}, "window has to be .* got -1"),
        ({"window": []}, "window has to be"),
        ({"window": 2.5}, "window has to be .* got 2.5"),
        ({"width": 0}, "width has to be .* got 0"),
        ({"dropout": 1.0}, "dropout has to be .* got 1.0"),
        ({"heads": True}, "heads has to be .* got True"),
        ({"trainable": "all"}, "trainable has to be one of layer, mixer, suffix, got 'all'"),
        ({"shared_projection": "no"}, "shared_projection .* got 'no'"),
        ({"mixer": ["wsm"]}, "mixer has to be one of"),
        ({"features": "sum"}, "features has to be one of last, weighted_sum, got 'sum'"),
        ({"prefix_dtype": "fp16"}, "prefix_dtype has to be one of float32, float16, bfloat16, got 'fp16'"),
        ({"exact_padding": 1}, "exact_padding has to be true or false, got 1"),
        ({"trust": "yes"}, "trust has to be true or false, got 'yes'"),
        ({"lora_rank": 0}, "lora_rank has to be 1 or more, got 0"),
        ({"lora_alpha": 0}, "lora_alpha has to be above 0, got 0"),
        (
            {"upstream": 5},
            "upstream has to be a name or a path, in quotes where YAML reads it otherwise, got 5",
        ),
        ({"windw": 3}, "encoder_conf has no key windw; the keys are upstream, trust, num_replaced, layers"),
        ({"path": "up/here"}, "encoder_conf has no key path: write 'upstream: up/here' in place"),
        ({"upstream": None}, "encoder_conf needs 'upstream'"),
    ],
)
def test_bad_values_are_refused_with_field_and_value(conf, message):
    with pytest.raises(UserError, match=message):
        WsmConfig.from_dict({"upstream": "hf_hubert_custom"} | conf)
