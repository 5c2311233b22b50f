"""What of an arm's model trains, and what autograd keeps of a known graph."""

import torch
from torch import nn

from espnet_wsm.benchmark.models import freeze_as_espnet, list_freeze_params
from espnet_wsm.meters import SavedBytes


def test_only_the_parameters_of_the_arm_train():
    """The freezing of today's arms is ESPnet's rule, with no parameter forgotten."""
    model = nn.ModuleDict({"body": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "ctc": nn.Linear(2, 2)})
    patterns = list_freeze_params(model, [model["body"][1], model["ctc"]])
    assert patterns == ["body.0"]
    freeze_as_espnet(model, patterns)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"body.1.weight", "body.1.bias", "ctc.weight", "ctc.bias"}


def test_saved_bytes_are_those_of_a_known_graph():
    model = torch.nn.Linear(4, 8)
    counter = SavedBytes(model)
    x = torch.randn(16, 4)
    with counter.hooks():
        kept = model(x).exp()  # keeps x for the weight, and its own result
        model(x).sin()  # its graph is gone at once
    assert counter.count()["saved_bytes"] == 4 * (16 * 4 + 16 * 8)
    assert kept.shape == (16, 8)
