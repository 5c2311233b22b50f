"""What the surgery reports and refuses."""

import pytest
import torch

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import WsmConfig, load_upstream, replace_last_attention


def test_the_report_names_every_part_and_its_parameters(upstream_path, family_name, pre_norm):
    name, path = upstream_path(family_name, pre_norm)
    expert, family = load_upstream(name, path)
    report = replace_last_attention(expert, family, WsmConfig(name, path, num_replaced=1, width=8))
    kinds = {row.part: row.mixing for row in report.rows}
    assert kinds["layer 2"] == "frozen attention" and kinds["layer 3"] == "wsm"
    assert ("final norm" in kinds) == pre_norm
    assert report.trained == sum(p.numel() for p in expert.parameters() if p.requires_grad)
    assert report.trained + report.frozen == sum(p.numel() for p in expert.parameters())
    assert f"{report.trained:,}" in str(report).splitlines()[-1]


def test_random_attention_forgets_and_attention_keeps_the_weights(upstream_path, family_name):
    name, path = upstream_path(family_name, True)
    expert, family = load_upstream(name, path)
    before = {k: v.clone() for k, v in expert.state_dict().items()}
    replace_last_attention(expert, family, WsmConfig(name, path, mixer="attention"))
    assert all(torch.equal(v, before[k]) for k, v in expert.state_dict().items())
    replace_last_attention(expert, family, WsmConfig(name, path, mixer="random_attention", num_replaced=1))
    weights = [k for k in before if f"layers.2.{family.attention}." in k and k.endswith("weight")]
    assert len(weights) == 4
    after = expert.state_dict()
    assert not any(torch.equal(after[k], before[k]) for k in weights)
    assert all(
        torch.equal(after[k], v) for k, v in before.items() if f"layers.2.{family.attention}." not in k
    )


def test_more_layers_than_the_upstream_has_are_refused(upstream_path, family_name):
    name, path = upstream_path(family_name, False)
    expert, family = load_upstream(name, path)
    with pytest.raises(UserError, match=f"num_replaced is 4, but {name} has only 3 layers"):
        replace_last_attention(expert, family, WsmConfig(name, path, num_replaced=4))


def test_heads_that_do_not_divide_the_upstream_are_refused(upstream_path):
    name, path = upstream_path("hf_hubert", True)
    expert, family = load_upstream(name, path)
    with pytest.raises(UserError, match=r"mixer wsm does not fit hf_hubert_custom: .*dim=32 and heads=5"):
        replace_last_attention(expert, family, WsmConfig(name, path, heads=5))


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
        ({"path": 123}, "path has to be a path, in quotes where YAML reads it otherwise, got 123"),
        ({"upstream": 5}, "upstream has to be a name, .* got 5"),
        ({"windw": 3}, "encoder_conf has no key windw; the keys are upstream, path, num_replaced"),
        ({"upstream": None}, "encoder_conf needs 'upstream'"),
    ],
)
def test_bad_values_are_refused_with_field_and_value(conf, message):
    with pytest.raises(UserError, match=message):
        WsmConfig.from_dict({"upstream": "hf_hubert_custom"} | conf)
