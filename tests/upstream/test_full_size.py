"""The sizes of published upstreams with random weights: what tiny models cannot show, memory and counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from checkpoints import write_wav2vec2, write_wavlm
from espnet2.asr.ctc import CTC

from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.upstream.families.registry import FAMILIES

BASE = dict(encoder_layers=12, encoder_embed_dim=768, encoder_ffn_embed_dim=3072, encoder_attention_heads=12)
LARGE = dict(
    encoder_layers=24, encoder_embed_dim=1024, encoder_ffn_embed_dim=4096, encoder_attention_heads=16
)
POSITION = dict(conv_pos=128, conv_pos_groups=16)
CONVOLUTIONS = dict(conv_feature_layers="[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2")

FULL_SIZE = ["wav2vec2-base", "XLS-R 300M", "WavLM-large"]


def test_the_table_of_upstreams_says_which_are_built_here():
    assert [model for family in FAMILIES for model in family.full_size] == FULL_SIZE


NOISE = 0.02 * torch.randn(2**20, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def fill(tensor: torch.Tensor, *_args, **_kwargs) -> torch.Tensor:
    """The same noise over and over: hundreds of millions of draws would take half a minute."""
    if not tensor.is_contiguous():
        return tensor.copy_(fill(torch.empty(tensor.shape)))
    flat = tensor.view(-1)
    for start in range(0, len(flat), len(NOISE)):
        flat[start : start + len(NOISE)] = NOISE[: len(flat) - start]
    return tensor


@pytest.fixture
def write_half(monkeypatch, tmp_path) -> Callable[..., Path]:
    """Write a checkpoint in half precision; whatever a module draws at random is the same noise."""
    save_file = checkpoints.save_file

    def save_half(directory: Path, state: dict[str, Any]) -> Path:
        for part in ("model_weight", "model"):
            if part in state:
                state[part] = {name: weight.half() for name, weight in state[part].items()}
        return save_file(directory, state)

    monkeypatch.setattr(checkpoints, "save_file", save_half)
    monkeypatch.setattr(checkpoints, "randomise_weights", lambda model: model)
    for name in ("uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_"):
        monkeypatch.setattr(torch.nn.init, name, fill)
    monkeypatch.setattr(torch.Tensor, "normal_", fill)
    return lambda write, **sizes: write(tmp_path, **sizes)


def count(modules) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.large
@pytest.mark.parametrize(
    ("write", "sizes", "parameters"),
    [
        (write_wav2vec2, BASE | dict(pre_norm=False), 94_371_712),
        (write_wav2vec2, LARGE | dict(pre_norm=True), 315_438_720),
        (
            write_wavlm,
            LARGE
            | dict(pre_norm=True, conv_bias=False, num_buckets=320, max_distance=800)
            | dict(relative_position_embedding=True, gru_rel_pos=True),
            315_453_120,
        ),
    ],
    ids=FULL_SIZE,
)
def test_an_upstream_of_true_size_trains_and_encodes(write_half, write, sizes, parameters):
    """Counts are those of transformers' models of these names, which have no heads of pre-training either."""
    path = write_half(write, **sizes | CONVOLUTIONS | POSITION)
    try:
        encoder = WsmS3prlEncoder(1, upstream=str(path))
    finally:
        path.unlink()
    depth, dim = sizes["encoder_layers"], sizes["encoder_embed_dim"]
    below, above = encoder.prefix.expert.model.encoder.layers, encoder.suffix.layers
    assert (len(below), len(above)) == (depth - 2, 2)
    # The two blocks stand where attention of the size of that below was.
    total = count([encoder]) - count(layer.self_attn for layer in above) + 2 * count([below[1].self_attn])
    if encoder.suffix.shared is not None:
        total -= count([encoder.suffix.shared])  # a copy of the table in the lowest layer
    assert total == parameters
    assert encoder.table.parameters == count([encoder])

    speech, lengths = 0.1 * torch.randn(2, 16000), torch.tensor([16000, 12000])
    trained = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    out, frames, _ = encoder.train()(speech, lengths)
    assert out.shape == (2, 49, dim) and frames.tolist() == [49, 37]
    loss = (out * torch.randn(out.shape)).mean()
    loss.backward()
    torch.optim.SGD(trained.values(), lr=1.0).step()
    assert loss.isfinite() and len(trained) > 2 * 10
    assert all(not torch.equal(p, before[name]) and p.isfinite().all() for name, p in trained.items())
    assert all(name.startswith("suffix.") for name in trained)
    assert all(p.grad is None for p in encoder.prefix.parameters())

    with torch.no_grad():
        encoded, frames, _ = encoder.eval()(speech[:1], lengths[:1])
    assert encoded.shape == (1, 49, dim) and encoded.isfinite().all() and encoded.std() > 0
    best_path = CTC(30, dim).argmax(encoded)
    assert best_path.shape == (1, 49) and 0 <= best_path.min() <= best_path.max() < 30
