"""The frozen prefix inside torch's wrappers: one process of DistributedDataParallel, with autocast."""

import pytest
import torch
import torch.distributed as dist

from espnet_wsm.plugin.encoder import WsmS3prlEncoder


@pytest.fixture
def process_group(tmp_path):
    """A group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("trainable", ["layer", "mixer"])
def test_data_parallel_training_leaves_the_prefix_alone(
    upstream_path, family_name, wavs, process_group, trainable
):
    torch.manual_seed(0)
    upstream = upstream_path(family_name, True)
    encoder = WsmS3prlEncoder(1, upstream=upstream, window=3, trainable=trainable)
    # Without find_unused_parameters: every parameter that trains takes part in every step.
    model = torch.nn.parallel.DistributedDataParallel(encoder)
    model.train()
    assert not any(module.training for module in encoder.prefix.modules())
    speech = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    lengths = torch.tensor([len(wav) for wav in wavs])
    before = {name: p.clone() for name, p in encoder.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out, _, _ = model(speech, lengths)
        optimizer.zero_grad()
        (out.float() * torch.randn(out.shape)).sum().backward()
        optimizer.step()
    for key, parameter in encoder.named_parameters():
        assert torch.equal(parameter, before[key]) == (not parameter.requires_grad), key
        assert (parameter.grad is None) == (not parameter.requires_grad), key
