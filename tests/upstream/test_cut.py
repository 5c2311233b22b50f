"""Prefix and suffix together are S3PRL's own forward."""

import copy

import pytest
import torch

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import MIXERS, WsmConfig, cut_upstream, load_upstream, replace_last_attention
from espnet_wsm.upstream.families.hf import HfMixer

LAYERS = 3


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


@pytest.mark.parametrize("num_replaced", [1, 2, 3])
@pytest.mark.parametrize("mixer", sorted(MIXERS))
def test_prefix_and_suffix_equal_the_upstream_after_surgery(
    upstream_path, family_name, pre_norm, wavs, mixer, num_replaced
):
    name, path = upstream_path(family_name, pre_norm)
    config = WsmConfig(name, path, num_replaced=num_replaced, mixer=mixer, window=3)
    expert, family = load_upstream(name, path)
    original = s3prl_forward(expert, wavs)
    replace_last_attention(expert, family, config)
    expected = s3prl_forward(expert, wavs)
    assert len(expected) == len(original) == LAYERS + 1

    prefix, suffix = cut_upstream(expert, family, num_replaced)
    hidden, padding_mask = prefix(wavs)
    valid = torch.ones(hidden.shape[:2], dtype=torch.bool) if padding_mask is None else ~padding_mask
    # Below the cut nothing was touched: bit for bit. (At k = L the state below is the encoder's input.)
    assert torch.equal(hidden[valid], original[LAYERS - num_replaced][valid])
    out = suffix.eval()(hidden, padding_mask)
    torch.testing.assert_close(out[valid], expected[-1][valid], atol=2e-6, rtol=1e-5)
    changed = mixer != "attention"
    assert torch.allclose(out[valid], original[-1][valid], atol=1e-3) != changed


@pytest.mark.parametrize("family_name", ["hubert", "wav2vec2"])
def test_the_cut_is_exact_in_float64(upstream_path, family_name, pre_norm, wavs):
    """Native upstreams run in float64; S3PRL's Hugging Face experts always feed float32."""
    name, path = upstream_path(family_name, pre_norm)
    expert, family = load_upstream(name, path)
    replace_last_attention(expert, family, WsmConfig(name, path, window=3))
    expert.double()
    wavs = [wav.double() for wav in wavs]
    expected = s3prl_forward(expert, wavs)[-1]
    prefix, suffix = cut_upstream(expert, family, 2)
    hidden, padding_mask = prefix(wavs)
    out = suffix.eval()(hidden, padding_mask)
    torch.testing.assert_close(out[~padding_mask], expected[~padding_mask], atol=1e-10, rtol=0)


def test_the_prefix_stays_in_eval_mode_and_without_graph(upstream_path, family_name, pre_norm, wavs):
    name, path = upstream_path(family_name, pre_norm)
    expert, family = load_upstream(name, path)
    replace_last_attention(expert, family, WsmConfig(name, path))
    model = torch.nn.ModuleList(cut_upstream(expert, family, 2))
    model.train()
    prefix, suffix = model
    assert not any(module.training for module in prefix.modules())
    assert all(module.training for module in suffix.modules())
    wavs = [wav.requires_grad_() for wav in wavs]  # so that a graph would show
    first, second = prefix(wavs)[0], prefix(wavs)[0]
    assert torch.equal(first, second) and not first.requires_grad and first.grad_fn is None
    assert not list(prefix.expert.model.encoder._forward_hooks)


def test_one_step_changes_exactly_what_trains(upstream_path, family_name, pre_norm, wavs):
    name, path = upstream_path(family_name, pre_norm)
    for trainable in ("layer", "mixer"):
        expert, family = load_upstream(name, path)
        report = replace_last_attention(expert, family, WsmConfig(name, path, trainable=trainable))
        model = torch.nn.ModuleList(cut_upstream(expert, family, 2))
        model.train()
        before = copy.deepcopy(model.state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        out = model[1](*model[0](wavs))
        (out * torch.randn(out.shape)).sum().backward()  # a squared sum has no gradient through a norm
        optimizer.step()
        changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        block = f".{family.attention}."
        expected = {k for k, _ in model[1].named_parameters(prefix="1")}
        if trainable == "mixer":
            expected = {k for k in expected if block in k}
        assert changed == expected
        assert report.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_attention_masks_of_every_backend_reach_the_mixer(upstream_path, wavs):
    """The replaced upstream also runs inside transformers, whichever attention the other layers use."""
    name, path = upstream_path("hf_hubert", True)
    outs = {}
    for backend in ("sdpa", "eager"):
        torch.manual_seed(0)
        expert, family = load_upstream(name, path)
        expert.model.set_attn_implementation(backend)
        replace_last_attention(expert, family, WsmConfig(name, path, window=3))
        assert isinstance(expert.model.encoder.layers[-1].attention, HfMixer)
        outs[backend] = s3prl_forward(expert, wavs)[-1]
    valid = torch.arange(49).unsqueeze(0) < torch.tensor([[49], [29], [14]])
    torch.testing.assert_close(outs["sdpa"][valid], outs["eager"][valid], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family_name", ["hf_hubert", "hf_wav2vec2", "wav2vec2"])
def test_layer_norm_upstreams_do_not_depend_on_their_neighbours(upstream_path, family_name, wavs):
    """S3PRL's native HuBERT rounds its padding mask up (fairseq), so it is not in this list."""
    name, path = upstream_path(family_name, True)
    torch.manual_seed(0)
    expert, family = load_upstream(name, path)
    replace_last_attention(expert, family, WsmConfig(name, path, window=3))
    prefix, suffix = cut_upstream(expert, family, 2)
    suffix.eval()
    hidden, mask = prefix(wavs)
    together = suffix(hidden, mask)
    for b, wav in enumerate(wavs):
        alone = suffix(*prefix([wav]))[0]
        torch.testing.assert_close(together[b, : alone.size(0)], alone, atol=1e-5, rtol=1e-4)
        assert int((~mask[b]).sum()) == alone.size(0)


def test_cutting_more_layers_than_there_are_is_refused(upstream_path):
    expert, family = load_upstream(*upstream_path("hf_hubert", True))
    with pytest.raises(UserError, match="cannot cut 4 layers off an upstream of 3"):
        cut_upstream(expert, family, 4)
