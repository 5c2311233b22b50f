"""Channels last in front of the layers: the numbers of the upstream's own modules."""

import pytest
import torch
from checkpoints import CHECKPOINTS
from torch import nn

from espnet_wsm.upstream import FrozenPrefix, WsmConfig, load_upstream
from espnet_wsm.upstream.convolutions import ChannelsLastConvolutions, fits
from espnet_wsm.upstream.cut import cut_of

KINDS = [
    ("wav2vec2", "post-norm, group norm"),
    ("wav2vec2", "pre-norm, layer norm"),
    ("hf_hubert", "post-norm, group norm"),
    ("hf_wav2vec2", "pre-norm, layer norm"),
]
LENGTHS = (16000, 7000, 9001)


def draw(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [0.1 * torch.randn(length, generator=generator) + 0.02 for length in lengths]


@pytest.fixture(scope="module", params=KINDS, ids=": ".join)
def path(request, tmp_path_factory) -> str:
    return str(CHECKPOINTS[request.param](tmp_path_factory.mktemp("upstream") / "model"))


def cut_plain(path: str, **conf) -> FrozenPrefix:
    """With the modules as they come."""
    expert, checkpoint = load_upstream(path)
    return cut_of(expert, checkpoint.family, WsmConfig(path, **conf))[0]


def cut(path: str, **conf) -> FrozenPrefix:
    prefix = cut_plain(path, **conf)
    assert prefix.put_channels_last()
    return prefix


@pytest.mark.parametrize("exact_padding", [True, False])
def test_the_states_are_those_of_the_modules_as_they_come(path, exact_padding):
    fast, plain = (
        cut(path, exact_padding=exact_padding),
        cut_plain(path, exact_padding=exact_padding),
    )
    assert any(isinstance(module, ChannelsLastConvolutions) for module in fast.modules())
    assert not any(isinstance(module, ChannelsLastConvolutions) for module in plain.modules())
    assert fast.state_dict().keys() == plain.state_dict().keys()
    for wavs in (draw(*LENGTHS), draw(16000), [torch.zeros(5000), *draw(6000)]):
        (found, mask), (expected, _) = fast(wavs), plain(wavs)
        valid = slice(None) if mask is None else ~mask
        torch.testing.assert_close(
            found[valid], expected[valid], atol=2e-5 * float(expected.abs().max()), rtol=0
        )


def test_an_utterance_is_the_same_alone_and_beside_longer_ones(path):
    fast, wavs = cut(path), draw(*LENGTHS)
    together, mask = fast(wavs)
    for row, padded, wav in zip(together, mask, wavs, strict=True):
        alone = fast([wav])[0][0]
        torch.testing.assert_close(row[~padded], alone, atol=1e-5 * float(alone.abs().max()), rtol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_no_further_off_than_that_of_the_modules(path, dtype):
    wavs = draw(*LENGTHS)
    expected, mask = cut(path)(wavs)
    errors = [
        float((made(wavs)[0] - expected)[~mask].norm() / expected[~mask].norm())
        for made in (cut(path, prefix_dtype=dtype), cut_plain(path, prefix_dtype=dtype))
    ]
    assert 0 < errors[0] < 1.5 * errors[1] + 1e-3


def extractor(*blocks: nn.Module) -> nn.Module:
    module = nn.Module()
    module.conv_layers = nn.ModuleList(blocks)
    return module


FIRST = (nn.Conv1d(1, 4, 10, stride=5), nn.GroupNorm(4, 4), nn.GELU())


@pytest.mark.parametrize(
    "blocks",
    [
        (),
        (nn.Sequential(nn.Conv1d(1, 4, 10, stride=5), nn.GroupNorm(2, 4), nn.GELU()),),
        (nn.Sequential(nn.Conv1d(1, 4, 10, padding=1), nn.GELU()),),
        (nn.Sequential(nn.Conv1d(2, 4, 10), nn.GELU()),),
        (nn.Sequential(*FIRST), nn.Sequential(nn.Conv1d(4, 4, 3), nn.GroupNorm(4, 4), nn.GELU())),
        (nn.Sequential(nn.Conv1d(1, 4, 3), nn.Conv1d(4, 4, 3), nn.GELU()),),
    ],
    ids=["none", "few groups", "padding", "two channels", "a later group norm", "two convolutions"],
)
def test_other_blocks_are_left_alone(blocks):
    assert fits(extractor(nn.Sequential(*FIRST)))
    assert not fits(extractor(*blocks)) and not fits(nn.Linear(1, 1))


def test_an_upstream_of_another_form_is_left_as_it_is(tmp_path):
    prefix = cut_plain(str(CHECKPOINTS["whisper", "pre-norm, on log-mel"](tmp_path / "model")))
    assert not prefix.put_channels_last()
