"""What the surgery replaces, reports and refuses."""

import pytest
import torch

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import LayerTable, WsmConfig, cut_upstream, load_upstream, prepare_suffix
from espnet_wsm.upstream.surgery import describe_prefix, describe_suffix

LAYERS = 3


def cut(name: str, path: str, config: WsmConfig):
    """(prefix, suffix after surgery, family)."""
    expert, family = load_upstream(name, path)
    dim = family.dim(expert)
    prefix, suffix = cut_upstream(expert, family, config.num_replaced)
    prepare_suffix(suffix, dim, config)
    return prefix, suffix, family


@pytest.mark.parametrize("trainable", ["layer", "mixer"])
def test_the_table_names_every_part_and_its_parameters(upstream_path, family_name, pre_norm, trainable):
    name, path = upstream_path(family_name, pre_norm)
    config = WsmConfig(name, path, num_replaced=1, width=8, trainable=trainable)
    prefix, suffix, _ = cut(name, path, config)
    table = LayerTable((*describe_prefix(prefix), *describe_suffix(suffix, LAYERS - 1, "wsm")))
    kinds = {row.layer: row.kind for row in table.rows}
    assert kinds["layer 2"] == "frozen attention" and kinds["layer 3"] == "wsm"
    assert ("final norm" in kinds) == pre_norm
    parameters = [*prefix.parameters(), *suffix.parameters()]
    assert table.trainable == sum(p.numel() for p in parameters if p.requires_grad)
    assert table.parameters == sum(p.numel() for p in parameters)
    head, *_, total = (line.split("|") for line in str(table).splitlines())
    assert [cell.strip() for cell in head] == ["layer", "kind", "trainable", "parameters"]
    assert total[2].strip() == f"{table.trainable:,}"


def test_random_attention_forgets_and_attention_keeps_the_weights(upstream_path, family_name):
    name, path = upstream_path(family_name, True)
    _, kept, family = cut(name, path, WsmConfig(name, path, mixer="attention"))
    before = kept.state_dict()
    expert, _ = load_upstream(name, path)
    pretrained = family.encoder(expert).layers[1:].state_dict(prefix="layers.")
    assert all(torch.equal(before[k], v) for k, v in pretrained.items())
    _, reset, _ = cut(name, path, WsmConfig(name, path, mixer="random_attention"))
    after = reset.state_dict()
    weights = [k for k in before if f"{family.attention}." in k and k.endswith("weight")]
    assert len(weights) == 8
    assert not any(torch.equal(after[k], before[k]) for k in weights)
    assert all(torch.equal(after[k], v) for k, v in before.items() if f"{family.attention}." not in k)


def test_heads_that_do_not_divide_the_upstream_are_refused(upstream_path):
    name, path = upstream_path("hf_hubert", True)
    with pytest.raises(UserError, match=r"mixer wsm does not fit hf_hubert_custom: .*dim=32 and heads=5"):
        cut(name, path, WsmConfig(name, path, heads=5))


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"mixer": "wms"}, "mixer has to be one of attention, local, random_attention, sm, wsm, got 'wms'"),
        ({"num_replaced": 0}, "num_replaced has to be a number of layers, 1 or more, got 0"),
        ({"num_replaced": "2"}, "num_replaced .* got '2'"),
        ({"window": -1}, "window has to be .* got -1"),
        ({"window": []}, "window has to be"),
        ({"window": 2.5}, "window has to be .* got 2.5"),
        ({"width": 0}, "width has to be .* got 0"),
        ({"dropout": 1.0}, "dropout has to be .* got 1.0"),
        ({"heads": True}, "heads has to be .* got True"),
        ({"trainable": "all"}, "trainable has to be one of layer, mixer, got 'all'"),
        ({"shared_projection": "no"}, "shared_projection .* got 'no'"),
        ({"mixer": ["wsm"]}, "mixer has to be one of"),
        ({"features": "sum"}, "features has to be one of last, weighted_sum, got 'sum'"),
        ({"prefix_dtype": "fp16"}, "prefix_dtype has to be one of float32, float16, bfloat16, got 'fp16'"),
        ({"path": 123}, "path has to be a path, in quotes where YAML reads it otherwise, got 123"),
        ({"upstream": 5}, "upstream has to be a name, .* got 5"),
        ({"windw": 3}, "encoder_conf has no key windw; the keys are upstream, path, num_replaced"),
        ({"upstream": None}, "encoder_conf needs 'upstream'"),
    ],
)
def test_bad_values_are_refused_with_field_and_value(conf, message):
    with pytest.raises(UserError, match=message):
        WsmConfig.from_dict({"upstream": "hf_hubert_custom"} | conf)
