"""Prefix and suffix together are S3PRL's own forward."""

import copy

import pytest
import torch
from checkpoints import NUM_LAYERS

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import (
    MIXERS,
    FrozenPrefix,
    LayerWeights,
    WsmConfig,
    cut_upstream,
    load_upstream,
    prepare_suffix,
    replace_attention,
)
from espnet_wsm.upstream.config import TRAINABLE
from espnet_wsm.upstream.families.hf import HfMixer
from espnet_wsm.upstream.stored_cut import cut_of


@pytest.fixture
def s3prl_wavs() -> list[torch.Tensor]:
    """Three waveforms of lengths at which S3PRL's HuBERT, which rounds its padding mask up, does not err."""
    generator = torch.Generator().manual_seed(7)
    return [0.1 * torch.randn(n, generator=generator) for n in (16000, 9700, 4880)]


def replace_in_place(expert, family, config: WsmConfig) -> None:
    """Surgery on the whole upstream, which then still runs as S3PRL's own."""
    layers = family.encoder(expert).layers[NUM_LAYERS - config.num_replaced :]
    replace_attention(layers, family, family.dim(expert), config)
    if config.mixer == "lora":  # it starts as the attention it adds to: give it a part in the result
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


@pytest.mark.parametrize("num_replaced", [1, 2, 3])
@pytest.mark.parametrize("mixer", sorted(MIXERS))
def test_prefix_and_suffix_equal_the_upstream_after_surgery(
    upstream_path, family_name, pre_norm, s3prl_wavs, mixer, num_replaced
):
    path = upstream_path(family_name, pre_norm)
    config = WsmConfig(path, num_replaced=num_replaced, mixer=mixer, window=3)
    expert, checkpoint = load_upstream(path)
    family = checkpoint.family
    original = s3prl_forward(expert, s3prl_wavs)
    replace_in_place(expert, family, config)
    expected = s3prl_forward(expert, s3prl_wavs)
    assert len(expected) == len(original) == NUM_LAYERS + 1

    num_below = NUM_LAYERS - num_replaced
    prefix, suffix = cut_upstream(expert, family, num_below, exact_padding=False)
    hidden, padding_mask = prefix(s3prl_wavs)
    assert (~padding_mask).sum(dim=1).tolist() == [49, 30, 15]
    # Below the cut nothing was touched (at k = L the state below is the encoder's input). But for rounding:
    # the same product of matrices is not the same bit for bit on every processor, and transformers' feature
    # extractor has float32 sums where ours has float64 ones.
    below = original[num_below][~padding_mask]
    torch.testing.assert_close(hidden[~padding_mask], below, atol=1e-5, rtol=1e-4)
    out = suffix.eval()(hidden, padding_mask)[~padding_mask]
    torch.testing.assert_close(out, expected[-1][~padding_mask], atol=1e-5, rtol=1e-4)
    changed = mixer != "attention"
    assert torch.allclose(out, original[-1][~padding_mask], atol=1e-3) != changed


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


def test_the_prefix_stays_in_eval_mode_and_without_graph(upstream_path, family_name, pre_norm, wavs):
    path = upstream_path(family_name, pre_norm)
    expert, checkpoint = load_upstream(path)
    family = checkpoint.family
    replace_in_place(expert, family, WsmConfig(path))
    model = torch.nn.ModuleList(cut_upstream(expert, family, NUM_LAYERS - 2))
    model.train()
    prefix, suffix = model
    assert not any(module.training for module in prefix.modules())
    assert all(module.training for module in suffix.modules())
    wavs = [wav.requires_grad_() for wav in wavs]  # so that a graph would show
    first, second = prefix(wavs)[0], prefix(wavs)[0]
    assert torch.equal(first, second) and not first.requires_grad and first.grad_fn is None
    assert not list(prefix.expert.model.encoder._forward_hooks)


@pytest.mark.parametrize("layers", [[2, 3], [2]], ids=["both layers", "the lower of two layers"])
@pytest.mark.parametrize("trainable", TRAINABLE)
def test_one_step_changes_exactly_what_trains(upstream_path, family_name, pre_norm, wavs, trainable, layers):
    path = upstream_path(family_name, pre_norm)
    config = WsmConfig(path, layers=layers, trainable=trainable)
    expert, checkpoint = load_upstream(path)
    family, dim = checkpoint.family, checkpoint.family.dim(expert)
    model = torch.nn.ModuleList(cut_of(expert, family, config))
    prepare_suffix(model[1], range(len(layers)), dim, config)
    model.train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    out = model[1](*model[0](wavs))
    (out * torch.randn(out.shape)).sum().backward()  # a squared sum has no gradient through a norm
    optimizer.step()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    replaced = tuple(f"1.layers.{place}." for place in range(len(layers)))
    expected = {k for k, _ in model[1].named_parameters(prefix="1")}
    if trainable == "layer":
        expected = {k for k in expected if k.startswith((*replaced, "1.final_norm."))}
    elif trainable == "mixer":
        expected = {k for k in expected if k.startswith(replaced) and f".{family.attention}." in k}
    # A softmax takes no notice of a bias of all keys: its gradient is rounding error.
    assert {k for k in changed ^ expected if not k.endswith(".k_proj.bias")} == set()
    assert changed <= expected


def count_saved_bytes(compute) -> int:
    """Bytes of the distinct tensors, parameters included, that autograd keeps for a backward pass."""
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = compute()
    assert out.requires_grad
    return sum(saved.values())


def test_autograd_keeps_nothing_from_below_the_cut(upstream_path, family_name, pre_norm, wavs):
    """Also in train mode, where transformers makes the output of the convolutions require a gradient."""
    path = upstream_path(family_name, pre_norm)
    expert, checkpoint = load_upstream(path)
    family = checkpoint.family
    dim = family.dim(expert)
    model = torch.nn.ModuleList(cut_upstream(expert, family, NUM_LAYERS - 1))
    prepare_suffix(model[1], [0], dim, WsmConfig(path, num_replaced=1))
    model.train()
    hidden, mask = model[0](wavs)
    torch.manual_seed(0)
    suffix_alone = count_saved_bytes(lambda: model[1](hidden, mask))
    torch.manual_seed(0)
    assert count_saved_bytes(lambda: model[1](*model[0](wavs))) == suffix_alone


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_half_precision_prefix_stays_so_and_hands_on_the_precision_of_its_input(
    upstream_path, family_name, pre_norm, wavs, dtype
):
    def make_prefix(dtype: torch.dtype | None = None) -> FrozenPrefix:
        expert, checkpoint = load_upstream(upstream_path(family_name, pre_norm))
        return cut_upstream(expert, checkpoint.family, NUM_LAYERS - 2, dtype)[0]

    full, mask = make_prefix()(wavs)
    half = make_prefix(dtype)
    for prefix in (half, half.to(torch.float32)):  # as ESPnet's trainer does
        assert {p.dtype for n, p in prefix.named_parameters() if "pos_conv" not in n} == {dtype}
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden, _ = prefix(wavs)
        assert hidden.dtype == torch.float32
        error = (hidden - full)[~mask].norm() / full[~mask].norm()
        assert 0 < error < 0.05


def test_autocast_around_the_prefix_changes_nothing(upstream_path, family_name, pre_norm, wavs):
    expert, checkpoint = load_upstream(upstream_path(family_name, pre_norm))
    prefix, _ = cut_upstream(expert, checkpoint.family, NUM_LAYERS - 2)
    plain = prefix(wavs)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prefix(wavs)[0], plain)


@pytest.mark.parametrize("num_replaced", [1, 3])
def test_the_running_sum_is_the_weighted_sum_of_all_hidden_states(
    upstream_path, family_name, pre_norm, s3prl_wavs, num_replaced
):
    expert, checkpoint = load_upstream(upstream_path(family_name, pre_norm))
    states = s3prl_forward(expert, s3prl_wavs)
    num_below = NUM_LAYERS - num_replaced
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


def test_an_utterance_does_not_depend_on_its_neighbours(upstream_path, family_name, pre_norm, wavs):
    """Whatever S3PRL rounds up (the padding mask of HuBERT) or leaves in (padding, in group norms)."""
    path = upstream_path(family_name, pre_norm)
    torch.manual_seed(0)
    expert, checkpoint = load_upstream(path)
    replace_in_place(expert, checkpoint.family, WsmConfig(path, window=3))
    prefix, suffix = cut_upstream(expert, checkpoint.family, NUM_LAYERS - 2)
    suffix.eval()
    hidden, mask = prefix(wavs)
    together = suffix(hidden, mask)
    for b, wav in enumerate(wavs):
        alone = suffix(*prefix([wav]))[0]
        torch.testing.assert_close(together[b, : alone.size(0)], alone, atol=1e-5, rtol=1e-4)
        assert int((~mask[b]).sum()) == alone.size(0)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"num_replaced": 4}, "num_replaced is 4, but the upstream has only 3 layers"),
        ({"layers": [1, 4]}, "layers names layer 4, but the upstream has only 3 layers"),
    ],
)
def test_cutting_more_layers_than_there_are_is_refused(upstream_path, conf, message):
    path = upstream_path("hf_hubert", True)
    expert, checkpoint = load_upstream(path)
    with pytest.raises(UserError, match=message):
        cut_of(expert, checkpoint.family, WsmConfig(path, **conf))


@pytest.mark.parametrize(
    ("conf", "place"),
    [
        ({}, (1, (0, 1))),
        ({"num_replaced": 0}, (3, ())),
        ({"num_replaced": 3}, (0, (0, 1, 2))),
        ({"layers": [3, 1]}, (0, (0, 2))),
        ({"layers": [2], "num_replaced": 9}, (1, (0,))),
    ],
)
def test_the_cut_is_below_the_lowest_replaced_layer(conf, place):
    assert WsmConfig("x", **conf).place_cut(3) == place


def test_exact_padding_renames_no_weight_of_a_group_norm_upstream(upstream_path, family_name):
    """Full checkpoints of before hold the prefix under S3PRL's names."""
    expert, checkpoint = load_upstream(upstream_path(family_name, False))
    checkpoint.family.release(expert)
    names = set(expert.state_dict())
    prefix, _ = cut_upstream(expert, checkpoint.family, len(checkpoint.family.encoder(expert).layers))
    assert {name.removeprefix("expert.") for name in prefix.state_dict()} == names
