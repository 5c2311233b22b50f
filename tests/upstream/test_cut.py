"""Prefix and suffix together are S3PRL's own forward, and the parts that keep padding out are exact.

With S3PRL's forward, whose layers then call the new blocks, are compared two of its families and two of
transformers', with both norms: every mixer at one k, every k with one mixer. What needs no forward of S3PRL's
is in test_families.py, over all families.
"""

import pytest
import torch
from checkpoints import NUM_LAYERS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from espnet_wsm.upstream import (
    MIXERS,
    LayerWeights,
    WsmConfig,
    cut_upstream,
    load_upstream,
    replace_attention,
)
from espnet_wsm.upstream.config import KEPT
from espnet_wsm.upstream.families.hf import HfMixer
from espnet_wsm.upstream.prefix import PaddedConvolution, PaddedGroupNorm


@pytest.fixture
def s3prl_wavs() -> list[torch.Tensor]:
    """Three waveforms of lengths at which S3PRL's HuBERT, which rounds its padding mask up, does not err."""
    generator = torch.Generator().manual_seed(7)
    return [0.1 * torch.randn(n, generator=generator) for n in (16000, 9700, 4880)]


def replace_in_place(expert, family, config: WsmConfig) -> None:
    """Surgery on the whole upstream, which then still runs as S3PRL's own."""
    layers = family.encoder(expert).layers[NUM_LAYERS - config.num_replaced :]
    replace_attention(layers, family, family.dim(expert), config)
    if config.mixer in ("lora", "gc_lora"):  # they start as the attention they add to
        for name, parameter in layers.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)


def s3prl_forward(expert, wavs: list[torch.Tensor]) -> list[torch.Tensor]:
    """All hidden states of S3PRL's own forward.

    transformers 5 leaves the final norm of pre-norm models out of its hidden states, S3PRL's native
    upstreams include it: it is added here, so that the last state is the encoder's output everywhere.
    """
    with torch.no_grad():
        states = list(expert(wavs)["hidden_states"])
    if (
        getattr(expert.model.config, "do_stable_layer_norm", False)
        if hasattr(expert.model, "config")
        else False
    ):
        states[-1] = expert.model.encoder.layer_norm(states[-1])
    return states


def test_prefix_and_suffix_equal_the_upstream_after_surgery(upstream_path, family_name, pre_norm, s3prl_wavs):
    path = upstream_path(family_name, pre_norm)
    original = s3prl_forward(load_upstream(path)[0], s3prl_wavs)
    for mixer, num_replaced in (
        *((mixer, 2) for mixer in sorted(MIXERS.keys() - {KEPT})),
        ("wsm", 1),
        ("wsm", 3),
    ):
        config = WsmConfig(path, num_replaced=num_replaced, mixer=mixer, window=3, windows=None)
        expert, checkpoint = load_upstream(path)
        replace_in_place(expert, checkpoint.family, config)
        expected = s3prl_forward(expert, s3prl_wavs)
        assert len(expected) == len(original) == NUM_LAYERS + 1

        num_below = NUM_LAYERS - num_replaced
        prefix, suffix = cut_upstream(expert, checkpoint.family, num_below, exact_padding=False)
        hidden, padding_mask = prefix(s3prl_wavs)
        assert (~padding_mask).sum(dim=1).tolist() == [49, 30, 15]
        # Below the cut nothing was touched (at k = L the state below is the encoder's input). But for
        # rounding: the same product of matrices is not the same bit for bit on every processor, and
        # transformers' feature extractor has float32 sums where ours has float64 ones.
        below = original[num_below][~padding_mask]
        torch.testing.assert_close(hidden[~padding_mask], below, atol=1e-5, rtol=1e-4)
        out = suffix.eval()(hidden, padding_mask)[~padding_mask]
        torch.testing.assert_close(out, expected[-1][~padding_mask], atol=1e-5, rtol=1e-4)
        changed = mixer != "attention"
        assert torch.allclose(out, original[-1][~padding_mask], atol=1e-3) != changed, mixer


def test_the_cut_is_exact_in_float64(upstream_path, family_name, pre_norm, s3prl_wavs):
    path = upstream_path(family_name, pre_norm)
    expert, checkpoint = load_upstream(path)
    replace_in_place(expert, checkpoint.family, WsmConfig(path, window=3))
    expert.double()
    if family_name.startswith("hf_"):
        # S3PRL's Hugging Face experts normalise in float32 and feed float32: what goes in is made exact here.
        expert.extracter.do_normalize = False

        def widen(_model, args, kwargs):
            return [arg.double() for arg in args], kwargs | {
                name: value.double() for name, value in kwargs.items() if name == "input_values"
            }

        expert.model.register_forward_pre_hook(widen, with_kwargs=True)
    wavs = [wav.double() for wav in s3prl_wavs]
    expected = s3prl_forward(expert, wavs)[-1]
    prefix, suffix = cut_upstream(expert, checkpoint.family, NUM_LAYERS - 2, exact_padding=False)
    hidden, padding_mask = prefix(wavs)
    out = suffix.eval()(hidden, padding_mask)
    torch.testing.assert_close(out[~padding_mask], expected[~padding_mask], atol=1e-10, rtol=0)


def test_the_running_sum_is_the_weighted_sum_of_all_hidden_states(
    upstream_path, family_name, pre_norm, s3prl_wavs
):
    path = upstream_path(family_name, pre_norm)
    expert, checkpoint = load_upstream(path)
    states = s3prl_forward(expert, s3prl_wavs)
    for num_below in (2, 0):
        expert, _ = load_upstream(path)
        prefix, suffix = cut_upstream(expert, checkpoint.family, num_below, exact_padding=False)
        suffix.eval()
        weights = LayerWeights(NUM_LAYERS + 1)
        torch.nn.init.normal_(weights.weights)
        total = weights.start()
        hidden, mask = prefix(s3prl_wavs, total.add)
        total.add(suffix(hidden, mask, total.add))
        shares = weights.weights.softmax(0)
        expected = sum(share * state for share, state in zip(shares, states, strict=True))
        torch.testing.assert_close(total.total[~mask], expected[~mask], atol=1e-5, rtol=1e-4)
        total.total.sum().backward()
        assert weights.weights.grad.abs().max() > 0


def test_attention_masks_of_every_backend_reach_the_mixer(upstream_path, wavs):
    """The replaced upstream also runs inside transformers, whichever attention the other layers use."""
    path = upstream_path("hf_hubert", True)
    outs = {}
    for backend in ("sdpa", "eager"):
        torch.manual_seed(0)
        expert, checkpoint = load_upstream(path)
        expert.model.set_attn_implementation(backend)
        replace_in_place(expert, checkpoint.family, WsmConfig(path, window=3))
        assert isinstance(expert.model.encoder.layers[-1].attention, HfMixer)
        outs[backend] = s3prl_forward(expert, wavs)[-1]
    valid = torch.arange(49).unsqueeze(0) < torch.tensor([[49], [29], [14]])
    torch.testing.assert_close(outs["sdpa"][valid], outs["eager"][valid], atol=1e-5, rtol=1e-4)


frame_counts = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@settings(deadline=None, derandomize=True)
@given(frame_counts, st.sampled_from([1, 2, 8]), st.booleans())
def test_a_padded_group_norm_is_the_norm_of_each_utterance(frames, groups, affine):
    torch.manual_seed(0)
    norm = nn.GroupNorm(groups, 8, affine=affine)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x = 3 + 2 * torch.randn(len(frames), 8, max(frames))  # noise behind the utterances
    padded = PaddedGroupNorm(norm)
    assert torch.equal(padded(x), norm(x))
    padded.frames = tuple(frames)
    for b, count in enumerate(frames):
        alone = norm(x[b : b + 1, :, :count])
        torch.testing.assert_close(padded(x)[b, :, :count], alone[0], atol=1e-5, rtol=1e-5)


@settings(deadline=None, derandomize=True)
@given(frame_counts)
def test_padded_convolutions_are_those_of_each_utterance(frames):
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Conv1d(8, 8, 5, padding=2, groups=2), nn.GELU()) for _ in range(3)]
    padded = [PaddedConvolution(block) for block in blocks]
    x = torch.randn(len(frames), 8, max(frames))
    for block in padded:
        block.frames = tuple(frames)
    together = nn.Sequential(*padded)(x)
    for b, count in enumerate(frames):
        alone = nn.Sequential(*blocks)(x[b : b + 1, :, :count])
        torch.testing.assert_close(together[b, :, :count], alone[0], atol=1e-6, rtol=1e-5)
